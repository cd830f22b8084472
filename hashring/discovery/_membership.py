"""The answer of a source: a complete list of hosts, which of them drain, and its revision."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from hashring.errors import ConfigError, HashringError
from hashring.hosts import Host, as_host


@dataclass(frozen=True, slots=True)
class Membership:
    """The hosts of a pool, according to a source, at one revision.

    ``draining`` are the names that keep known clients and take no new ones. ``revision`` is the
    source's own name for this state (a number, an index, a serial), for people and logs; order is
    that of arrival. ``problems`` lists the entries that were left out, with reasons.

    >>> Membership((Host("a"), Host("b")), frozenset({"b"}), "7").usable
    1
    """

    hosts: tuple[Host, ...]
    draining: frozenset[str] = frozenset()
    revision: str = ""
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> int:
        """How many hosts take new clients."""
        return len(self.hosts) - len(self.draining)

    def same(self, other: Membership | None) -> bool:
        """Whether both have the same hosts and drains, whatever their revisions. Cost: O(n).

        >>> Membership((Host("a"),), revision="1").same(Membership((Host("a"),), revision="2"))
        True
        """
        return (
            other is not None
            and self.draining == other.draining
            and self.problems == other.problems
            and len(self.hosts) == len(other.hosts)
            and all(map(Host.same, self.hosts, other.hosts))
        )


class Entry(NamedTuple):
    """One host as a source has it: ``weight`` may be 0, and ``drain`` keeps it known anyway."""

    name: str
    address: str | None = None
    weight: float = 1.0
    drain: bool = False


def gather(
    entries: Iterable[Entry],
    revision: str = "",
    *,
    in_order: bool = False,
    problems: Iterable[str] = (),
) -> Membership:
    """A membership of ``entries``: sorted by name, unless they are ``in_order`` already.

    Sorted, because a placement may depend on the order of its hosts, and routers that read one
    source must agree. Weight 0 is a drain: such a host counts with weight 1 in the table of all
    hosts, in every router, and is not in the table that new clients are placed by. An entry
    that cannot be a host, or whose name came before, is left out and is one of ``problems``.
    Cost: O(n log n).

    >>> found = gather([Entry("b", "10.0.0.2:80", 0), Entry("a", "10.0.0.1:80", 2), Entry("")])
    >>> found.hosts, sorted(found.draining), len(found.problems)
    ((Host('a', 2.0, address='10.0.0.1:80'), Host('b', address='10.0.0.2:80')), ['b'], 1)
    """
    hosts: dict[str, Host] = {}
    draining: set[str] = set()
    wrong = list(problems)
    for name, address, weight, drain in entries:
        try:
            host = as_host({"name": name, "weight": weight or 1.0, "address": address})
        except HashringError as error:
            wrong.append(str(error))
            continue
        if name in hosts:
            wrong.append(f"host {name!r} is given twice: the first one counts")
            continue
        hosts[name] = host
        if drain or weight == 0:
            draining.add(name)
    ordered = list(hosts.values()) if in_order else [hosts[name] for name in sorted(hosts)]
    return Membership(tuple(ordered), frozenset(draining), revision, tuple(wrong))


def weight_from(value: object, where: str) -> float:
    """A weight from outside: a finite number, 0 (drain) or above; None reads as 1.

    Raises ``ConfigError``, which names ``where``.

    >>> weight_from(0, "web1"), weight_from("2.5", "web1"), weight_from(None, "web1")
    (0.0, 2.5, 1.0)
    """
    if value is None:
        return 1.0
    try:
        # TypeError for what cannot be a number
        weight = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(
            f"{where}: weight must be a finite number, 0 (drain) or above, got {value!r}",
            option="weight",
        )
    return weight


class Finding(NamedTuple):
    """One thing that ``hashring doctor`` has to say of a source."""

    level: Literal["ok", "warning", "error"]
    text: str


@runtime_checkable
class Source(Protocol):
    """Where a membership comes from. ``str(source)`` names it, without its secrets.

    A source may also have ``async def examine(self) -> list[Finding]``: what it sees and what is
    wrong (permissions, clock, hosts that are not ready); ``hashring doctor`` prints it.
    """

    def watch(self) -> AsyncIterator[Membership]:
        """Complete memberships: the state now first, then one after each change.

        Each call reads from the beginning, so nothing that changed in between is lost. Two in a row
        are never the ``same``. It waits for as long as nothing changes, never ends by itself, and
        raises ``DiscoveryError`` when the source cannot be read or falls silent; the caller calls
        it again. Closing or cancelling it leaves no task and no socket.
        """
