"""The order of one request: prefer, then the placement, then the fallback, then NoHostsError."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hashring.balancer.reports import Decision, Reason
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host
from hashring.keys import Key
from hashring.load import Ledger, LoadCell, LoadView
from hashring.pool import Snapshot
from hashring.ring import RingTable
from hashring.ring.index import Index

__all__ = [
    "NO_NAMES",
    "Live",
    "anonymous",
    "candidates",
    "choose",
    "excluded",
    "explained",
    "nobody",
    "preferred",
    "roomy",
]

NO_NAMES: frozenset[str] = frozenset()


class Live:
    """A snapshot made ready for picks: what one request reads, once.

    ``index`` answers with the ``Host`` itself, and is None unless the native ring places and a
    host is usable. ``view`` is what strategies see; None when no host is usable.
    """

    __slots__ = ("cells", "hosts", "index", "snapshot", "view")

    def __init__(
        self, snapshot: Snapshot, cells: dict[str, LoadCell], ledger: Ledger, old: Live | None
    ) -> None:
        self.snapshot = snapshot
        self.cells = cells
        self.hosts = {host.name: host for host in snapshot.hosts}
        usable = snapshot.usable
        if old is not None and old.view is not None and _all_same(old.view.hosts, usable):
            usable = old.view.hosts  # the same tuple, so that strategies keep what they derived
        self.view: LoadView | None = LoadView(usable, cells, ledger) if usable else None
        self.index: Index[Host] | None = None
        table = snapshot.usable_table
        if isinstance(table, RingTable) and usable:
            # a place that is free keeps a label, and no vnode leads to it
            anyone = usable[0]
            self.index = table.index.relabelled(
                [self.hosts.get(name, anyone) for name in table.index.labels]
            )


def _all_same(old: tuple[Host, ...], new: tuple[Host, ...]) -> bool:
    return len(old) == len(new) and all(map(Host.same, old, new))


def anonymous(client_id: object) -> bool:
    """Whether this is no client ID: None, an empty str or empty bytes; 0 is a client.

    >>> anonymous(""), anonymous(0)
    (True, False)
    """
    return client_id is None or (isinstance(client_id, (str, bytes)) and not client_id)


def excluded(exclude: Iterable[str | Host]) -> frozenset[str]:
    """The names in ``exclude``; a bare str, bytes or Host is a ``ConfigError``.

    >>> sorted(excluded([Host("a"), "b"]))
    ['a', 'b']
    """
    if isinstance(exclude, (str, bytes, Host)):
        raise ConfigError(
            f"exclude takes several names, got {exclude!r}: did you mean [{exclude!r}]?",
            option="exclude",
        )
    return frozenset(host.name if isinstance(host, Host) else host for host in exclude)


def preferred(
    live: Live, prefer: str | Host | None, gone: frozenset[str], clock: Callable[[], float]
) -> Host | None:
    """The host that a pin, a token or an operator names, if it may serve a known client."""
    if prefer is None:
        return None
    name = prefer.name if isinstance(prefer, Host) else prefer
    member = live.snapshot.members.get(name)
    if member is None or member.host.name in gone or member.state(clock()) == "down":
        return None
    return member.host


def candidates(live: Live, key: Key, gone: frozenset[str]) -> Iterator[Host] | None:
    """The usable hosts for ``key`` in order; None where the placement does not hash this key.

    First the answer of the table without those that are away, then the walk of the whole table.
    """
    usable = live.snapshot.usable_table
    first = usable.lookup(key) if usable is not None else None
    if first is None:
        return None
    return _in_order(live, key, first, gone)


def _in_order(live: Live, key: Key, first: str, gone: frozenset[str]) -> Iterator[Host]:
    if first not in gone:
        yield live.hosts[first]
    table = live.snapshot.table
    if table is None:  # an index of usable hosts has a table of all hosts behind it
        return
    skip = live.snapshot.away | gone | {first}
    for name in table.walk(key):
        if name not in skip:
            yield live.hosts[name]


def choose(
    live: Live,
    client_id: Any,
    gone: frozenset[str],
    strategy: Callable[[Any], Host],
    has_room: Callable[[Host], bool] | None,
) -> tuple[Host, Reason]:
    """The host for a request that prefers none: by placement, else by strategy.

    ``has_room`` is the load bound of a lease. Raises ``NoHostsError``.
    """
    view = live.view
    if view is None or (gone and all(host.name in gone for host in view.hosts)):
        raise nobody(live, gone, 0.0)
    if not anonymous(client_id):
        found = candidates(live, client_id, gone)
        if found is not None:
            return _placed(live, client_id, found, has_room)
    return strategy(view.excluding(gone) if gone else view), "fallback"


def _placed(
    live: Live, key: Key, found: Iterator[Host], has_room: Callable[[Host], bool] | None
) -> tuple[Host, Reason]:
    first = next(found)  # choose() saw that some host is usable and not excluded
    if has_room is not None and not has_room(first):
        # one host is below its bound, always; the first one stands in for rounding
        return next(filter(has_room, found), first), "overflow"
    table = live.snapshot.table
    if live.snapshot.usable_table is table or table is None or table.lookup(key) == first.name:
        return first, "owner"
    return first, "next"


def roomy(
    live: Live, ledger: Ledger, gone: frozenset[str], factor: float, floor: int
) -> Callable[[Host], bool]:
    """The test "below its bound": ``in_flight < max(floor, ceil(c * (L + 1) * w / W))``.

    L and W are the in-flight and weight sums of the usable hosts without those in ``gone``, so the
    bounds sum to more than L and some host is always below. Call it under the ledger's lock.
    Source: Mirrokni, Thorup and Zadimoghaddam 2016, with weights and a floor.
    """
    total, weight = ledger.in_flight, ledger.weight
    for name in gone:
        cell = live.cells.get(name)
        if cell is not None and cell.usable:
            total -= cell.in_flight
            weight -= cell.host.weight
    room = factor * (total + 1)

    def has_room(host: Host) -> bool:
        bound = -(-room * host.weight // weight)  # the ceiling of a float, as a float
        return live.cells[host.name].in_flight < max(floor, bound)

    return has_room


def explained(
    live: Live, client_id: Any, prefer: str | Host | None, gone: frozenset[str], now: float
) -> Decision:
    """What ``choose`` would answer to a pick, and who stood before that host."""
    snapshot = live.snapshot
    table = None if anonymous(client_id) else snapshot.table
    position = table.position(client_id) if isinstance(table, RingTable) else None
    owner = live.hosts.get(table.lookup(client_id) or "") if table is not None else None
    pinned = preferred(live, prefer, gone, lambda: now)
    if pinned is not None:
        return Decision(client_id, position, owner, (), pinned, "pinned", snapshot.epoch)
    found = None if table is None else candidates(live, client_id, gone)
    host = None if found is None else next(found, None)
    reason: Reason | None = None
    if host is not None:
        reason = "owner" if host == owner else "next"
    elif (
        found is None
        and live.view is not None
        and not gone.issuperset(h.name for h in live.view.hosts)
    ):
        reason = "fallback"
    skipped = _skipped(live, table.walk(client_id) if table is not None else (), host, gone, now)
    return Decision(client_id, position, owner, skipped, host, reason, snapshot.epoch)


def _skipped(
    live: Live, walk: Iterable[str], host: Host | None, gone: frozenset[str], now: float
) -> tuple[tuple[Host, str, str], ...]:
    skipped = []
    for name in walk:
        if host is not None and name == host.name:
            break
        why = live.snapshot.members[name].why(now) or (
            ("caller", "excluded") if name in gone else None
        )
        if why is not None:
            skipped.append((live.hosts[name], *why))
    return tuple(skipped)


def nobody(live: Live, gone: frozenset[str], now: float) -> NoHostsError:
    """The error that says of at most five hosts who or what keeps them from serving."""
    reasons: list[tuple[str, str, str]] = []
    for name, member in live.snapshot.members.items():
        if len(reasons) == NoHostsError.SHOWN:
            break
        holder, why = member.why(now) or ("caller", "excluded")
        reasons.append((name, holder, why))
    return NoHostsError(reasons=reasons, total=len(live.snapshot.members))
