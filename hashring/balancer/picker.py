"""Which host serves this request? Preference, then placement, then strategy, else ``NoHostsError``.

Everything here reads one immutable ``ActiveState``. The caller holds the tracker's lock where
loads decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmh3 import mmh3_32_uintdigest

from hashring.balancer.reports import Decision, LoadGap, Reason
from hashring.balancer.state import ActiveState
from hashring.errors import NoCapacityError, NoHostsError, SessionUnavailableError
from hashring.hosts import Host, total_weight
from hashring.keys import Key
from hashring.load import LoadTracker, LoadView
from hashring.ring import RingTable

NO_NAMES: frozenset[str] = frozenset()

Choose = Callable[[Any], Host]


def is_anonymous(client_id: object) -> bool:
    """Whether this is not a client ID: None, an empty str or empty bytes; 0 is a client ID.

    >>> is_anonymous(""), is_anonymous(0)
    (True, False)
    """
    return client_id is None or (isinstance(client_id, (str, bytes)) and not client_id)


def preferred_host(
    active: ActiveState, prefer: str | Host | None, excluded: frozenset[str]
) -> Host | None:
    """The host that a pin, a token or an operator names, if it may serve a known client."""
    if prefer is None:
        return None
    name = prefer.name if isinstance(prefer, Host) else prefer
    if name in excluded:
        return None
    host = active.serving.get(name)
    if host is not None:
        return host
    member = active.snapshot.members.get(name)
    if member is None or member.state(active.clock()) == "down":
        return None
    return member.host


class Picker:
    """Chooses the host for one request. It keeps no state of its own but the strategy's.

    ``choose_fallback`` is the strategy, ``fallback_reason`` the reason of its choices.
    ``load_factor`` and ``load_floor`` bound the requests in flight of a host in relation to the
    others, ``max_in_flight`` (per weight) in any case. ``patience`` bounds the queue that a known
    client waits in. A known client whose host is down is refused where the picker ``refuses``,
    and keeps its host where it ``lends`` clients to others.
    """

    def __init__(
        self,
        tracker: LoadTracker,
        choose_fallback: Choose,
        fallback_reason: Reason,
        load_factor: float | None,
        load_floor: int,
        patience: float | None,
        max_in_flight: float | None = None,
        *,
        refuses: bool = False,
        lends: bool = False,
    ) -> None:
        self._tracker = tracker
        self._choose_fallback = choose_fallback
        self._fallback_reason = fallback_reason
        self._load_factor = load_factor
        self._load_floor = load_floor
        self._patience = patience
        self._max_in_flight = max_in_flight
        self._is_bounded = load_factor is not None or max_in_flight is not None
        self._refuses, self._lends = refuses, lends

    def choose(
        self,
        active: ActiveState,
        client_id: Any,
        prefer: str | Host | None,
        excluded: frozenset[str],
        *,
        pin: str | None = None,
        lease_size: float | None = None,
        group: str | bytes | None = None,
        assigned: bool = False,
        remembered: bool = True,
    ) -> tuple[Host, Reason]:
        """The host and the reason. Raises ``NoHostsError``.

        ``prefer`` and ``pin`` name the client's host. ``lease_size`` is the size of a request that
        counts, None for a pick. ``assigned`` clients never leave a queue. ``remembered`` is False
        where no store will keep the choice, so that the placement must make it.
        """
        if prefer is not None or pin is not None:
            choice = self._choose_known(active, prefer, excluded, pin, lease_size, group, assigned)
            if choice is not None:
                return choice
            if self._lends and (self.is_lent(active, prefer) or self.is_lent(active, pin)):
                remembered = False
        elif not excluded and not (self._is_bounded and lease_size is not None):
            index = active.owner_index
            if index is not None and client_id.__class__ is str and client_id:
                try:
                    # a copy of Index.find: a call would cost 3 % of a lease
                    position = mmh3_32_uintdigest(client_id.encode(), index.seed)
                    code = index.cells[position >> index.shift]
                    if code < 0:
                        packed = index.packed
                        at = index.starts[position >> index.block] + ~code
                        position <<= 24  # layout.CODE_BITS
                        while packed[at] < position:
                            at += 1
                        code = packed[at] & 0xFFFFFF
                    return index.labels[code], "owner"
                except UnicodeEncodeError:  # a lone surrogate: the table encodes it
                    pass
        return self._choose_new(
            active, client_id, prefer, excluded, lease_size is not None, group, remembered
        )

    def _choose_known(
        self,
        active: ActiveState,
        prefer: str | Host | None,
        excluded: frozenset[str],
        pin: str | None,
        lease_size: float | None,
        group: str | bytes | None,
        assigned: bool,
    ) -> tuple[Host, Reason] | None:
        """The host of a known client; None if that cannot serve it."""
        home = preferred_host(active, prefer, excluded)
        if home is None and pin is not None:
            home = preferred_host(active, pin, excluded)
        if home is None:
            if self._refuses:
                _check_available(active, prefer, excluded)
                _check_available(active, pin, excluded)
            return None
        if self._patience is not None and lease_size is not None and not assigned:
            other = self._shorter_queue(active, home, excluded, lease_size, group)
            if other is not None and not self._is_full(active, other):
                return other, "spill"
        if lease_size is not None and self._is_full(active, home):
            raise NoCapacityError(host=home.name)
        return home, "pinned"

    def is_lent(self, active: ActiveState, known: str | Host | None) -> bool:
        """Whether a client of the host ``known``, which is down, will go back to it."""
        if not self._lends or known is None:
            return False
        member = active.snapshot.members.get(known.name if isinstance(known, Host) else known)
        return member is not None and bool(member.down)

    def _choose_new(
        self,
        active: ActiveState,
        client_id: Any,
        prefer: str | Host | None,
        excluded: frozenset[str],
        is_lease: bool,
        group: str | bytes | None,
        remembered: bool,
    ) -> tuple[Host, Reason]:
        """The host of a client without one that can serve it."""
        limit = self._max_in_flight if is_lease else None
        is_bounded = is_lease and self._is_bounded
        has_room = self._capacity_check(active, excluded) if is_bounded else None
        # A client that comes with a host's name is not new, and no store keeps where a retry went:
        # the walk of its ID decides, the same way in every router.
        by_strategy = active.by_strategy and remembered and prefer is None and not excluded
        choice = self._place(active, client_id, excluded, has_room, by_strategy, group)
        if limit is None or not self._is_full(active, choice[0]):
            return choice
        full = {host.name for host in active.usable if self._is_full(active, host)}
        if full.issuperset({host.name for host in active.usable} - excluded):
            raise NoCapacityError
        return self._place(active, client_id, excluded | full, None, by_strategy, group)

    def _is_full(self, active: ActiveState, host: Host) -> bool:
        limit = self._max_in_flight
        if limit is None:
            return False
        return active.loads[host.name].in_flight >= max(1, int(limit * host.weight))

    def _place(
        self,
        active: ActiveState,
        client_id: Any,
        excluded: frozenset[str],
        has_room: Callable[[Host], bool] | None,
        by_strategy: bool,
        group: str | bytes | None = None,
    ) -> tuple[Host, Reason]:
        view, snapshot = active.view, active.snapshot
        if view is None or (excluded and excluded.issuperset(host.name for host in view.hosts)):
            raise no_hosts_error(active, excluded)
        usable = snapshot.usable_table
        if usable is not None and not by_strategy and not is_anonymous(client_id):
            first = usable.lookup(client_id)
            if first is not None:
                host = active.hosts[first]
                if first in excluded or (has_room is not None and not has_room(host)):
                    return _next_host(active, client_id, first, excluded, has_room)
                if not snapshot.away or first == _owner(active, client_id):
                    return host, "owner"
                return host, "next"
        if excluded:
            view = view.excluding(excluded)
        if group is not None:
            view = view.for_group(group)
        return self._choose_fallback(view), self._fallback_reason

    def _shorter_queue(
        self,
        active: ActiveState,
        home: Host,
        excluded: frozenset[str],
        size: float,
        group: str | bytes | None,
    ) -> Host | None:
        """The host to which a known client leaves the queue of ``home``; None: it stays."""
        gap = self.gap(active, home, excluded, group)
        if gap is None or self._patience is None:
            return None
        return gap.best if gap.gap > self._patience * size / gap.best.weight else None

    def gap(
        self,
        active: ActiveState,
        home: Host,
        excluded: frozenset[str],
        group: str | bytes | None = None,
    ) -> LoadGap | None:
        """The outstanding work per weight of ``home`` and of the best other host."""
        best = self._tracker.least_outstanding(excluded | {home.name}, group, takes_turn=False)
        if best is None or best.name not in active.loads:
            return None
        loads = active.loads
        here, there = loads[home.name], loads[best.name]
        return LoadGap(
            home,
            (here.outstanding + here.remote) / home.weight,
            best,
            (there.outstanding + there.remote) / best.weight,
        )

    def _capacity_check(
        self, active: ActiveState, excluded: frozenset[str]
    ) -> Callable[[Host], bool]:
        """The test "below its bound": ``in_flight < max(floor, ceil(c * (L + 1) * w / W))``.

        L and W are the sums of in-flight and weight over the usable hosts that are not excluded, so
        the bounds sum to more than L and some host is always below its bound.
        Source: Mirrokni, Thorup and Zadimoghaddam 2016, with weights and a floor.
        """
        tracker, loads, floor = self._tracker, active.loads, self._load_floor
        is_limited = self._max_in_flight is not None
        total, weight = tracker.in_flight, tracker.weight
        if excluded:
            left = [load for name, load in loads.items() if load.usable and name not in excluded]
            total = sum(load.in_flight for load in left)
            weight = total_weight(load.host for load in left)
        room = (self._load_factor or math.inf) * (total + 1)

        def has_room(host: Host) -> bool:
            if is_limited and self._is_full(active, host):
                return False
            # for a whole number, being below the ceiling of x is being below x
            in_flight = loads[host.name].in_flight
            return in_flight < floor or in_flight < room * host.weight / weight

        return has_room

    def walk(
        self, active: ActiveState, client_id: Any, known: Iterable[str | None]
    ) -> Iterator[Host]:
        """The hosts that serve a client, in the order in which retries would take them."""
        given = set[str]()
        for name in known:
            host = preferred_host(active, name, NO_NAMES)
            if host is not None and host.name not in given:
                given.add(host.name)
                yield host
        view, snapshot = active.view, active.snapshot
        usable = snapshot.usable_table
        if view is None:
            return
        if usable is not None and not is_anonymous(client_id):
            first = usable.lookup(client_id)
            if first is not None:
                if first not in given:
                    yield active.hosts[first]
                for host in _walk_after(active, client_id, first, frozenset(given)):
                    yield host
                return
        for host in view.hosts:
            if host.name not in given:
                yield host

    def explain(
        self,
        active: ActiveState,
        client_id: Any,
        known: Iterable[str | Host | None],
        excluded: frozenset[str],
        by_strategy: bool,
    ) -> Decision:
        """What a pick would return, and which hosts were skipped; ``known`` names its host."""
        snapshot = active.snapshot
        table = None if is_anonymous(client_id) else snapshot.table
        position = table.position(client_id) if isinstance(table, RingTable) else None
        owner = active.hosts.get(_owner(active, client_id) or "") if table is not None else None
        hosts = (preferred_host(active, name, excluded) for name in known)
        host = next(filter(None, hosts), None)
        reason: Reason | None = "pinned"
        gap = None
        if host is not None:
            if self._patience is not None:
                gap = self.gap(active, host, excluded)
        else:
            undecided = Picker(
                self._tracker, _no_choice, self._fallback_reason, None, self._load_floor, None
            )
            try:
                host, reason = undecided._place(active, client_id, excluded, None, by_strategy)
            except NoHostsError:
                reason = None
        walk = table.walk(client_id) if table is not None and reason in _BY_WALK else ()
        skipped = _skipped_hosts(active, walk, host, excluded)
        return Decision(client_id, position, owner, skipped, host, reason, snapshot.epoch, gap)


def spread_over(hosts: Iterable[Host], field: str) -> list[Host]:
    """``hosts`` in rounds, each with one host of each value of ``meta[field]``; order is kept.

    >>> hosts = [Host(name, meta={"zone": name[0]}) for name in ("a1", "a2", "b1", "a3", "b2")]
    >>> [host.name for host in spread_over(hosts, "zone")]
    ['a1', 'b1', 'a2', 'b2', 'a3']
    """
    seen: dict[object, int] = {}
    rounds: list[tuple[int, Host]] = []
    for host in hosts:
        value = host.meta.get(field)
        seen[value] = number = seen.get(value, 0) + 1
        rounds.append((number, host))
    return [host for _, host in sorted(rounds, key=lambda each: each[0])]


def _check_available(
    active: ActiveState, known: str | Host | None, excluded: frozenset[str]
) -> None:
    """Raise ``SessionUnavailableError`` where a client's host is a member and cannot serve it."""
    name = known.name if isinstance(known, Host) else known
    member = active.snapshot.members.get(name or "")
    if member is None:
        return
    holder, why = member.why(active.clock()) or ("caller", "excluded")
    if member.down or member.host.name in excluded:
        raise SessionUnavailableError(member.host.name, holder, why)


_BY_WALK: tuple[Reason | None, ...] = ("owner", "next", "overflow", None)


def _no_choice(view: LoadView) -> Any:
    """In the place of a strategy: a strategy that is asked takes a turn."""


def _owner(active: ActiveState, key: Key) -> str | None:
    table = active.snapshot.table
    return None if table is None else table.lookup(key)


def _next_host(
    active: ActiveState,
    key: Key,
    first: str,
    excluded: frozenset[str],
    has_room: Callable[[Host], bool] | None,
) -> tuple[Host, Reason]:
    """The host after ``first``, which is excluded or full; the caller saw that there is one."""
    full = active.hosts[first] if first not in excluded else None
    for host in _walk_after(active, key, first, excluded):
        if has_room is None or has_room(host):
            # a table with its own answer for down hosts may go on with the owner: hash % n does
            owned = full is None and host.name == _owner(active, key)
            return host, "overflow" if full else "owner" if owned else "next"
        full = full or host
    # the bounds sum to more than the load, so only rounding can end here
    return full or active.hosts[first], "overflow"


def _walk_after(
    active: ActiveState, key: Key, first: str, excluded: frozenset[str]
) -> Iterator[Host]:
    """The usable hosts for ``key`` after ``first``, the answer of the table of usable hosts.

    They come in the walk of the whole table, so a retry and an overflow find the same successors.
    """
    table = active.snapshot.table
    skip = active.snapshot.away | excluded | {first}
    for name in table.walk(key) if table is not None else ():
        if name not in skip:
            yield active.hosts[name]


def _skipped_hosts(
    active: ActiveState, walk: Iterable[str], host: Host | None, excluded: frozenset[str]
) -> tuple[tuple[Host, str, str], ...]:
    skipped = []
    for name in walk:
        if host is not None and name == host.name:
            break
        why = active.snapshot.members[name].why(active.clock()) or (
            ("caller", "excluded") if name in excluded else None
        )
        if why is not None:
            skipped.append((active.hosts[name], *why))
    return tuple(skipped)


def no_hosts_error(active: ActiveState, excluded: frozenset[str]) -> NoHostsError:
    """The error that names, for at most five hosts, the holder and reason of its state."""
    reasons: list[tuple[str, str, str]] = []
    for name, member in active.snapshot.members.items():
        if len(reasons) == NoHostsError.SHOWN:
            break
        holder, why = member.why(active.clock()) or ("caller", "excluded")
        reasons.append((name, holder, why))
    return NoHostsError(reasons=reasons, total=len(active.snapshot.members))
