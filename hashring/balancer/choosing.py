"""The order of one request: prefer, then the placement, then the fallback, then NoHostsError."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hashring.balancer.reports import Decision, Reason
from hashring.errors import NoHostsError
from hashring.hosts import Host, total_weight
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
    "explained",
    "nobody",
    "preferred",
    "roomy",
]

NO_NAMES: frozenset[str] = frozenset()


class Live:
    """A snapshot made ready for picks: what one request reads, once.

    ``newcomers`` answers with the ``Host`` itself where new clients go, and is None unless the
    native ring places them by public positions and a host is usable. ``index`` is the same, where
    nobody need be asked whether the client is known. ``view`` is what strategies see; None when no
    host is usable. ``serving`` are the hosts that serve known clients without a deadline.
    """

    __slots__ = ("cells", "clock", "hosts", "index", "newcomers", "serving", "snapshot", "view")

    def __init__(
        self,
        snapshot: Snapshot,
        cells: dict[str, LoadCell],
        ledger: Ledger,
        old: Live | None,
        *,
        asks_store: bool = False,
        by_strategy: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self.cells = cells
        self.clock = ledger.clock
        self.hosts = {host.name: host for host in snapshot.hosts}
        usable = snapshot.usable
        if old is not None and old.view is not None and _all_same(old.view.hosts, usable):
            usable = old.view.hosts  # the same tuple, so that strategies keep what they derived
        self.view: LoadView | None = LoadView(usable, cells, ledger) if usable else None
        self.newcomers: Index[Host] | None = None
        table = snapshot.usable_table
        # a keyed ring has no public index: its table places, for only it knows the secret
        if (
            isinstance(table, RingTable)
            and table.public_index is not None
            and usable
            and not by_strategy
        ):
            # no vnode leads to the labels of free places and of hosts that are away
            anyone = usable[0]
            self.newcomers = table.index.relabelled(
                [self.hosts.get(name, anyone) for name in table.index.labels]
            )
        self.index = None if asks_store else self.newcomers
        self.serving: dict[str | None, Host] = {
            name: member.host
            for name, member in snapshot.members.items()
            if not member.down and all(end is None for end in member.drains.values())
        }


def _all_same(old: tuple[Host, ...], new: tuple[Host, ...]) -> bool:
    return len(old) == len(new) and all(map(Host.same, old, new))


def anonymous(client_id: object) -> bool:
    """Whether this is no client ID: None, an empty str or empty bytes; 0 is a client.

    >>> anonymous(""), anonymous(0)
    (True, False)
    """
    return client_id is None or (isinstance(client_id, (str, bytes)) and not client_id)


def preferred(live: Live, prefer: str | Host | None, gone: frozenset[str]) -> Host | None:
    """The host that a pin, a token or an operator names, if it may serve a known client."""
    if prefer is None:
        return None
    name = prefer.name if isinstance(prefer, Host) else prefer
    member = live.snapshot.members.get(name)
    if member is None or member.host.name in gone or member.state(live.clock()) == "down":
        return None
    return member.host


def choose(
    live: Live,
    client_id: Any,
    gone: frozenset[str],
    strategy: Callable[[Any], Host],
    has_room: Callable[[Host], bool] | None,
    by_strategy: bool = False,
) -> tuple[Host, Reason]:
    """The host for a request that prefers none: by placement, else by strategy.

    ``has_room`` is the load bound of a lease; ``by_strategy`` leaves the placement out. Raises
    ``NoHostsError``.
    """
    view, snapshot = live.view, live.snapshot
    if view is None or (gone and gone.issuperset(host.name for host in view.hosts)):
        raise nobody(live, gone)
    usable = snapshot.usable_table
    if usable is not None and not by_strategy and not anonymous(client_id):
        first = usable.lookup(client_id)
        if first is not None:
            host = live.hosts[first]
            if first in gone or (has_room is not None and not has_room(host)):
                return _further(live, client_id, first, gone, has_room)
            return host, _reason(live, client_id, first)
    return strategy(view.excluding(gone) if gone else view), "fallback"


def _reason(live: Live, key: Key, name: str) -> Reason:
    if not live.snapshot.away:
        return "owner"  # the table of usable hosts is the whole one
    return "owner" if name == _owner(live, key) else "next"


def _owner(live: Live, key: Key) -> str | None:
    table = live.snapshot.table
    return None if table is None else table.lookup(key)


def _further(
    live: Live,
    key: Key,
    first: str,
    gone: frozenset[str],
    has_room: Callable[[Host], bool] | None,
) -> tuple[Host, Reason]:
    """The host after ``first``, which is excluded or full; choose() saw that there is one."""
    left = candidates(live, key, first, gone)
    full = live.hosts[first] if first not in gone else None
    for host in left:
        if has_room is None or has_room(host):
            # without an answer of its own, the table may go on with the owner: hash % n does
            owned = full is None and host.name == _owner(live, key)
            return host, "overflow" if full else "owner" if owned else "next"
        full = full or host
    # the bounds sum to more than the load, so only rounding can end here
    return full or live.hosts[first], "overflow"


def candidates(live: Live, key: Key, first: str, gone: frozenset[str]) -> Iterator[Host]:
    """The usable hosts for ``key`` after ``first``, the answer of the table of usable hosts.

    They come in the walk of the whole table, so a retry and an overflow find the same heirs.
    """
    table = live.snapshot.table
    skip = live.snapshot.away | gone | {first}
    for name in table.walk(key) if table is not None else ():
        if name not in skip:
            yield live.hosts[name]


def roomy(
    live: Live, ledger: Ledger, gone: frozenset[str], factor: float, floor: int
) -> Callable[[Host], bool]:
    """The test "below its bound": ``in_flight < max(floor, ceil(c * (L + 1) * w / W))``.

    L and W are the in-flight and weight sums of the usable hosts without those in ``gone``, so the
    bounds sum to more than L and some host is always below. Call it under the ledger's lock.
    Source: Mirrokni, Thorup and Zadimoghaddam 2016, with weights and a floor.
    """
    total, weight = ledger.in_flight, ledger.weight
    if gone:
        left = [cell for name, cell in live.cells.items() if cell.usable and name not in gone]
        total = sum(cell.in_flight for cell in left)
        weight = total_weight(cell.host for cell in left)
    room = factor * (total + 1)

    def has_room(host: Host) -> bool:
        # for a whole number, being below the ceiling of x is being below x
        in_flight = live.cells[host.name].in_flight
        return in_flight < floor or in_flight < room * host.weight / weight

    return has_room


def explained(
    live: Live,
    client_id: Any,
    known: Iterable[str | Host | None],
    gone: frozenset[str],
    by_strategy: bool,
) -> Decision:
    """What a pick would answer, and who stood before that host; ``known`` is who says so."""
    snapshot = live.snapshot
    table = None if anonymous(client_id) else snapshot.table
    position = table.position(client_id) if isinstance(table, RingTable) else None
    owner = live.hosts.get(_owner(live, client_id) or "") if table is not None else None
    host = next(filter(None, (preferred(live, name, gone) for name in known)), None)
    reason: Reason | None = "pinned"
    if host is None:
        try:
            host, reason = choose(live, client_id, gone, _undecided, None, by_strategy)
        except NoHostsError:
            reason = None
    walk = (
        table.walk(client_id) if table is not None and reason not in ("pinned", "fallback") else ()
    )
    skipped = _skipped(live, walk, host, gone)
    return Decision(client_id, position, owner, skipped, host, reason, snapshot.epoch)


def _undecided(view: LoadView) -> Any:
    """In the place of a strategy: to ask one would be to take its turn."""


def _skipped(
    live: Live, walk: Iterable[str], host: Host | None, gone: frozenset[str]
) -> tuple[tuple[Host, str, str], ...]:
    skipped = []
    for name in walk:
        if host is not None and name == host.name:
            break
        why = live.snapshot.members[name].why(live.clock()) or (
            ("caller", "excluded") if name in gone else None
        )
        if why is not None:
            skipped.append((live.hosts[name], *why))
    return tuple(skipped)


def nobody(live: Live, gone: frozenset[str]) -> NoHostsError:
    """The error that says of at most five hosts who or what keeps them from serving."""
    reasons: list[tuple[str, str, str]] = []
    for name, member in live.snapshot.members.items():
        if len(reasons) == NoHostsError.SHOWN:
            break
        holder, why = member.why(live.clock()) or ("caller", "excluded")
        reasons.append((name, holder, why))
    return NoHostsError(reasons=reasons, total=len(live.snapshot.members))
