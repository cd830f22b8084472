"""Reports: why a host was chosen, what a drain did, what a change would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import Table
from hashring.ring import Diff, RingTable
from hashring.ring.arcs import NO_HOST

Reason = Literal["pinned", "owner", "next", "overflow", "fallback", "least", "spill"]
"""Why a host: ``pinned`` (a pin, token or operator names it), ``owner`` by the placement, ``next``
after a host that is away or excluded, ``overflow`` after one at its bound, ``fallback`` by the
strategy, ``least`` outstanding work, ``spill`` from a longer queue."""

_SAMPLE = 10_000  # the standard error of a fraction measured on 10,000 keys is at most 0.5 %


class Movement:
    """What moves between two tables, worked out when it is first read.

    Exact by arcs between two states of one ring; otherwise measured on 10,000 fixed keys.
    """

    __slots__ = ("_answer", "exact")

    def __init__(self, old: Table | None, new: Table | None) -> None:
        # the two tables until the first read: a kept event must not keep them for ever
        self._answer: tuple[Table | None, Table | None] | Diff = (old, new)
        ends = [table for table in (old, new) if table is not None]
        self.exact = old is new or all(isinstance(table, RingTable) for table in ends)

    @property
    def diff(self) -> Diff:
        """The fraction moved and its flows."""
        answer = self._answer
        if not isinstance(answer, Diff):
            answer = self._answer = _diff(*answer)
        return answer


def _diff(old: Table | None, new: Table | None) -> Diff:
    if old is new:
        return Diff(0.0, MappingProxyType({}))
    if isinstance(old, RingTable) and isinstance(new, RingTable):
        return old.diff(new)
    flows: dict[tuple[str, str], int] = {}
    for number in range(_SAMPLE):
        # addresses, because some placements hash nothing else
        key = f"10.{number % 100}.{number // 100}.1"
        pair = (old and old.lookup(key)) or NO_HOST, (new and new.lookup(key)) or NO_HOST
        if pair[0] != pair[1]:
            flows[pair] = flows.get(pair, 0) + 1
    fractions = {pair: count / _SAMPLE for pair, count in sorted(flows.items())}
    return Diff(sum(flows.values()) / _SAMPLE, MappingProxyType(fractions))


@dataclass(frozen=True, slots=True)
class LoadGap:
    """A known client's host beside the best other one, by outstanding work per weight."""

    home: Host
    home_load: float
    best: Host
    best_load: float

    @property
    def gap(self) -> float:
        """How much more work waits on ``home``."""
        return self.home_load - self.best_load

    def __str__(self) -> str:
        loads = f"{self.home} {self.home_load:.2f}, {self.best} {self.best_load:.2f}"
        return f"outstanding: {loads}, gap {self.gap:.2f}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a client ID goes where it goes.

    ``position`` is that of its key (None unless the placement is the native ring), ``owner`` the
    host it belongs to while all are up, ``skipped`` the (host, holder, why) before ``host`` in the
    walk. ``host`` is None when no host can serve, and for a request that the strategy decides each
    time. ``gap`` compares the queues where ``patience`` is set and the client is known.
    """

    client_id: object
    position: int | None
    owner: Host | None
    skipped: tuple[tuple[Host, str, str], ...]
    host: Host | None
    reason: Reason | None
    epoch: int
    gap: LoadGap | None = None

    def __str__(self) -> str:
        parts = [f"{self.client_id!r}"]
        if self.position is not None:
            parts.append(f"at {self.position}")
        if self.owner is not None:
            parts.append(f"belongs to {self.owner}")
        parts += [f"not {host} ({holder}: {why})" for host, holder, why in self.skipped]
        if self.host is not None:
            parts.append(f"goes to {self.host} ({self.reason})")
        else:
            by = "goes to the least outstanding work" if self.reason == "least" else None
            parts.append(by or ("goes by the fallback" if self.reason else "no host can serve it"))
        if self.gap is not None:
            parts.append(str(self.gap))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What ``drain`` did: ``keeps_sessions``: known clients stay on the host.

    ``deadline`` is in seconds from the call, None without one.
    """

    host: Host
    keeps_sessions: bool
    deadline: float | None
    movement: Movement
    _count: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def moved(self) -> float:
        """The fraction of all client IDs that the placement now sends elsewhere."""
        return self.movement.diff.moved

    def sessions_left(self) -> int:
        """How many clients are pinned to the host now.

        Raises ``ConfigError`` without a store that counts, and for one that must be awaited.

        >>> from hashring import LoadBalancer
        >>> from hashring.affinity import PinTable
        >>> lb = LoadBalancer(["a"], pins=PinTable())
        >>> lb.pick("x").name, lb.drain("a").sessions_left()
        ('a', 1)
        """
        left = self._counter()(self.host.name)
        if not isinstance(left, int):
            left.close()  # a coroutine
            raise ConfigError(
                "this store of pins must be awaited: use 'await report.asessions_left()'",
                option="pins",
            )
        return left

    async def asessions_left(self) -> int:
        """As ``sessions_left``, with any store."""
        left = self._counter()(self.host.name)
        return left if isinstance(left, int) else int(await left)

    def _counter(self) -> Callable[[str], Any]:
        if self._count is None:
            raise ConfigError(
                "only a store of pins with count() has the number of sessions: PinTable or "
                "RedisPins",
                option="pins",
            )
        return self._count

    def __str__(self) -> str:
        until = "" if self.deadline is None else f" for {self.deadline:g} s"
        if self.keeps_sessions:
            return f"{self.host} is draining{until}: known clients stay, new ones go elsewhere"
        return (
            f"{self.host} is draining: without tokens or pins known clients cannot be "
            f"distinguished from new ones, so all of them ({self.moved:.1%} of all clients) go "
            "elsewhere now"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change would do: the hosts before and after, and what moves.

    ``moved`` and ``flows`` are fractions of all client IDs: exact by arcs when ``exact`` is true,
    else measured on 10,000 keys. Hosts that are down or draining stay so.
    """

    before: tuple[Host, ...]
    after: tuple[Host, ...]
    movement: Movement
    exact: bool

    @property
    def moved(self) -> float:
        """The fraction of all client IDs that change their host."""
        return self.movement.diff.moved

    @property
    def flows(self) -> Mapping[tuple[str, str], float]:
        """(from, to) -> fraction of all client IDs."""
        return self.movement.diff.flows

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        hosts = f"{len(self.before)} -> {len(self.after)} hosts"
        lines = [f"{hosts}: {about}{self.moved:.2%} of all clients move"]
        lines += [
            f"  {old or '(none)'} -> {new or '(none)'}  {part:.2%}"
            for (old, new), part in sorted(self.flows.items(), key=lambda item: -item[1])
        ]
        return "\n".join(lines)
