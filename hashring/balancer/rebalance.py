"""Moves idle pinned sessions to hosts that have fewer than their share, at a bounded rate."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from hashring.errors import ConfigError
from hashring.hosts import Host, total_weight

_MINUTE = 60.0


class CountedPins(Protocol):
    """A plain store of pins that counts: ``PinTable`` or ``BlockingRedisPins``."""

    def count(self, host: str, /) -> int:
        """The number of clients that are pinned to ``host``."""

    def items(self, host: str, /) -> Iterator[tuple[bytes, float]]:
        """The clients that are pinned to ``host`` with their idle seconds."""

    def replace(self, client_id: Any, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; the host that has the client now."""


@dataclass(frozen=True, slots=True)
class RebalanceReport:
    """What ``rebalance`` did.

    ``flows`` maps (from, to) to a number of sessions. ``left`` is the number of sessions that are
    still above the share of their host, ``busy`` how many of them were passed over because they
    have a lease in flight or were not idle for long enough.
    """

    flows: Mapping[tuple[str, str], int]
    left: int
    busy: int

    @property
    def moved(self) -> int:
        """The number of sessions that were moved."""
        return sum(self.flows.values())

    def __str__(self) -> str:
        each = "".join(f", {old} -> {new}: {n}" for (old, new), n in sorted(self.flows.items()))
        return f"{self.moved} sessions moved{each}; {self.left} left to move, {self.busy} busy"


class Rebalancer:
    """Keeps the times of its moves, so that calls together stay within ``per_minute``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moves: deque[float] = deque()

    def run(
        self,
        pins: CountedPins,
        usable: tuple[Host, ...],
        in_flight: Callable[[], set[bytes]],
        max_moves: int | None,
        per_minute: int | None,
        idle: float,
    ) -> RebalanceReport:
        """Move sessions from hosts above their share to those below. Cost: O(pins)."""
        budget = self._budget(max_moves, per_minute)
        counts = {host.name: pins.count(host.name) for host in usable}
        room = _room(usable, counts)
        excess = {name: -n for name, n in room.items() if n < 0}
        flows: dict[tuple[str, str], int] = {}
        busy = 0
        for name in sorted(excess, key=lambda name: -excess[name]):
            for client, seconds in pins.items(name):
                if not excess[name] or not budget:
                    break
                target = max(room, key=lambda other: room[other])
                if room[target] <= 0:
                    break
                if seconds < idle or client in in_flight():
                    busy += 1
                    continue
                if pins.replace(client, name, target) != target:
                    continue  # it moved by itself meanwhile
                self._moves.append(self._clock())
                flows[name, target] = flows.get((name, target), 0) + 1
                excess[name] -= 1
                room[target] -= 1
                budget -= 1
        return RebalanceReport(MappingProxyType(flows), sum(excess.values()), busy)

    def _budget(self, max_moves: int | None, per_minute: int | None) -> float:
        now = self._clock()
        while self._moves and now - self._moves[0] >= _MINUTE:
            self._moves.popleft()
        budget = float("inf") if max_moves is None else max_moves
        return budget if per_minute is None else min(budget, per_minute - len(self._moves))


def _room(usable: tuple[Host, ...], counts: Mapping[str, int]) -> dict[str, int]:
    """How many sessions each host lacks of its share by weight, in whole numbers of sum 0.

    >>> _room((Host("a"), Host("b"), Host("c", 2)), {"a": 7, "b": 0, "c": 0})
    {'a': -5, 'b': 2, 'c': 3}
    """
    sessions, weight = sum(counts.values()), total_weight(usable)
    exact = {host.name: sessions * host.weight / weight for host in usable}
    share = {name: int(part) for name, part in exact.items()}
    # the rest goes to the largest remainders, and of equals to the hosts that have the most
    order = sorted(exact, key=lambda name: (share[name] - exact[name], -counts[name]))
    for name in order[: sessions - sum(share.values())]:
        share[name] += 1
    return {name: share[name] - counts[name] for name in share}


def as_counted(pins: Any) -> CountedPins:
    """``pins`` if it is a plain store that counts. Raises ``ConfigError`` otherwise."""
    calls = [getattr(pins, name, None) for name in ("count", "items", "replace")]
    if not all(callable(call) and not inspect.iscoroutinefunction(call) for call in calls):
        raise ConfigError(
            "rebalance needs a plain store of pins with count() and items(): PinTable or "
            "BlockingRedisPins",
            option="pins",
        )
    counted: CountedPins = pins
    return counted
