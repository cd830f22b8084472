"""The members of a pool: immutable snapshots, and the changes from one to the next.

A ``Snapshot`` is one state of the pool: its epoch, its members with their marks, the table over
all of them and the table without those that take no new clients. Functions here take members and
return members; ``Pool.advance`` turns them into the next snapshot. Nothing here locks or waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal, TypeAlias

from hashring.errors import ConfigError, DuplicateHostError, PoolFullError, UnknownHostError
from hashring.hosts import Host, ReadOnlyDict
from hashring.placement import Recipe, Table, adapt_table
from hashring.ring import RingTable

State = Literal["up", "draining", "down"]

EVERY_HOLDER = "*"
MACHINE_HOLDERS = frozenset({"probe", "outlier"})
"""Holders that judge a machine, not a name: their marks end when another machine has the name.

``outlier`` drains a host that it ejects, so that it keeps its known clients, and holds it down only
where no connection can be made."""

_NO_MARKS: Mapping[str, str] = ReadOnlyDict()
_NO_DRAINS: Mapping[str, float | None] = ReadOnlyDict()


@dataclass(frozen=True, slots=True)
class Member:
    """One host of the pool with the holders that hold it down or drain it.

    ``down`` maps holder -> reason; ``drains`` maps holder -> deadline, a reading of the balancer's
    clock, or None for no deadline.

    >>> Member(Host("a")).state(now=0.0)
    'up'
    >>> Member(Host("a"), drains={"operator": 5.0}).state(now=5.0)
    'down'
    """

    host: Host
    down: Mapping[str, str] = field(default_factory=lambda: _NO_MARKS)
    drains: Mapping[str, float | None] = field(default_factory=lambda: _NO_DRAINS)

    @property
    def takes_new(self) -> bool:
        """Whether new clients may come: no holder holds it down or drains it."""
        return not self.down and not self.drains

    def state(self, now: float) -> State:
        """``up``, ``draining`` (known clients only) or ``down``; a passed deadline is down."""
        if self.down:
            return "down"
        if not self.drains:  # as most hosts are at most times
            return "up"
        passed = any(end is not None and end <= now for end in self.drains.values())
        return "down" if passed else "draining"

    def why(self, now: float) -> tuple[str, str] | None:
        """(holder, reason) why it takes no new clients; None if it does."""
        for holder, reason in self.down.items():
            return holder, reason
        for holder, end in self.drains.items():
            if holder in MACHINE_HOLDERS:
                return holder, "ejected"
            return holder, "drain deadline passed" if end is not None and end <= now else "draining"
        return None


Members: TypeAlias = Mapping[str, Member]


@dataclass(frozen=True, slots=True)
class HostChange:
    """One host's part of a change: ``kind`` is the name of the call that would do it alone."""

    kind: str
    host: Host
    holder: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable state of the pool.

    ``table`` places over all hosts, ``usable_table`` over those that take new clients; both are
    None without hosts or without a placement. ``away`` are the names that take no new clients.
    """

    epoch: int
    members: Members
    table: Table | None
    usable_table: Table | None
    away: frozenset[str]

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were registered."""
        return tuple(member.host for member in self.members.values())

    @property
    def usable(self) -> tuple[Host, ...]:
        """The hosts that take new clients, sorted by name."""
        return tuple(self.members[name].host for name in sorted(self.members.keys() - self.away))

    def states(self, now: float) -> dict[str, State]:
        """name -> state at the clock's reading ``now``."""
        return {name: member.state(now) for name, member in self.members.items()}

    def fingerprint(self, now: float) -> str:
        """The table's fingerprint, a dot, and ``up`` or a digest of the hosts that are not up."""
        away = tuple(sorted(item for item in self.states(now).items() if item[1] != "up"))
        placed = self.table.fingerprint if self.table is not None else _digest(self._plain(), 8)
        return f"{placed}.{_digest(away, 4) if away else 'up'}"

    def _plain(self) -> tuple[tuple[str, float], ...]:
        return tuple(sorted((host.name, host.weight) for host in self.hosts))


def _digest(parts: object, size: int) -> str:
    return blake2b(ascii(parts).encode(), digest_size=size).hexdigest()


class Pool:
    """What makes snapshots: the recipe of the placement and the capacity.

    >>> from hashring.placement import recipe
    >>> pool = Pool(recipe("ring"), capacity=None)
    >>> members, _ = add_member({}, Host("a"))
    >>> one = pool.advance(pool.empty(), members)
    >>> one.epoch, one.table.hosts
    (1, ('a',))
    """

    def __init__(self, recipe: Recipe | None, capacity: int | None) -> None:
        self._recipe = recipe
        self._capacity = capacity

    def empty(self) -> Snapshot:
        """Epoch 0: no host."""
        return Snapshot(0, ReadOnlyDict(), None, None, frozenset())

    def fork(self) -> Pool:
        """A pool to try a change with: what it builds leaves this one's recipe alone."""
        copy: Callable[[], Recipe] | None = getattr(self._recipe, "copy", None)
        return Pool(copy() if copy else self._recipe, self._capacity)

    def advance(self, old: Snapshot, members: Members) -> Snapshot:
        """The snapshot after ``old`` with these members; ``old`` itself if nothing differs.

        Builds a table only when hosts differ, ``without`` only when other hosts are away. Raises
        ``PoolFullError`` above the capacity, and what the recipe raises.
        """
        self._check_capacity(len(members))
        hosts = tuple(member.host for member in members.values())
        same_hosts = len(hosts) == len(old.members) and all(map(Host.same, hosts, old.hosts))
        table = old.table if same_hosts else self._table(hosts, old.table)
        away = frozenset(name for name, member in members.items() if not member.takes_new)
        if table is old.table and away == old.away:
            usable = old.usable_table
        else:
            usable = table and _usable_part(table, away, old.usable_table)
        if table is old.table and _equal(old.members, members):
            return old
        return Snapshot(old.epoch + 1, ReadOnlyDict(members), table, usable, away)

    def _check_capacity(self, size: int) -> None:
        if self._capacity is not None and size > self._capacity:
            raise PoolFullError(
                f"the pool holds at most {self._capacity} hosts, and this would be {size}: "
                "unregister one first, or raise the capacity",
                capacity=self._capacity,
            )

    def _table(self, hosts: tuple[Host, ...], old: Table | None) -> Table | None:
        if self._recipe is None or not hosts:
            return None
        table: Table = adapt_table(self._recipe(hosts), hosts)
        return old if old is not None and old.fingerprint == table.fingerprint else table


def _usable_part(table: Table, away: frozenset[str], last: Table | None) -> Table:
    """``table`` without the hosts that are away, patched from the last such table.

    A ring then pays for the hosts whose state changes, not for all that are away.
    """
    if not away:
        return table
    if isinstance(table, RingTable) and isinstance(last, RingTable):
        options = table.vnodes, table.seed, table.key_check
        if options == (last.vnodes, last.seed, last.key_check):
            left = {name: count for name, count in table.counts.items() if name not in away}
            return last.over(left)
    return table.without(away)


def _equal(old: Members, new: Members) -> bool:
    # members compare by name and marks; the rest of a host is compared here
    return old == new and all(old[name].host.same(member.host) for name, member in new.items())


# -- changes: members in, members out, with what changed for whom ----------------------------------

Edited: TypeAlias = tuple[Members, list[HostChange]]


def member(members: Members, name: str) -> Member:
    """The member of this name. Raises ``UnknownHostError``."""
    try:
        return members[name]
    except (KeyError, TypeError):
        raise UnknownHostError(name, known=members) from None


def _put(members: Members, new: Member, kind: str, *said: str) -> Edited:
    return {**members, new.host.name: new}, [HostChange(kind, new.host, *said)]


def add_member(members: Members, host: Host) -> Edited:
    """Add ``host``. Raises ``DuplicateHostError``.

    >>> list(add_member({}, Host("a"))[0])
    ['a']
    """
    if host.name in members:
        raise DuplicateHostError(host.name)
    return _put(members, Member(host), "register")


def remove_member(members: Members, name: str) -> Edited:
    """Remove the host ``name``. Raises ``UnknownHostError``."""
    gone = member(members, name)
    left = {known: kept for known, kept in members.items() if known != name}
    return left, [HostChange("unregister", gone.host)]


def set_member_weight(members: Members, name: str, weight: float) -> Edited:
    """The host gets another weight."""
    old = member(members, name)
    return _put(members, replace(old, host=old.host.with_weight(weight)), "set_weight")


def replace_member(members: Members, name: str, address: str) -> Edited:
    """Another machine takes the name: weight, drain and the marks on the name stay."""
    old = member(members, name)
    if old.host.address == address:
        return members, []
    return _put(members, _moved_in(old, replace(old.host, address=address)), "replace")


def _moved_in(old: Member, host: Host) -> Member:
    kept = {by: why for by, why in old.down.items() if by not in MACHINE_HOLDERS}
    drains = {by: end for by, end in old.drains.items() if by not in MACHINE_HOLDERS}
    return Member(host, kept, drains)


def add_mark(members: Members, name: str, reason: str, holder: str) -> Edited:
    """``holder`` holds the host down for ``reason``."""
    _check_holder(holder)
    old = member(members, name)
    new = replace(old, down={**old.down, holder: reason})
    return _put(members, new, "mark_down", holder, reason)


def remove_mark(members: Members, name: str, holder: str) -> Edited:
    """``holder`` holds the host down no longer; ``*`` clears every holder's mark."""
    old = member(members, name)
    left = {by: why for by, why in old.down.items() if holder not in (by, EVERY_HOLDER)}
    return _put(members, replace(old, down=left), "mark_up", holder)


def add_drain(members: Members, name: str, deadline: float | None, holder: str) -> Edited:
    """``holder`` drains the host until ``deadline``, a reading of the clock."""
    _check_holder(holder)
    old = member(members, name)
    return _put(members, replace(old, drains={**old.drains, holder: deadline}), "drain", holder)


def remove_drain(members: Members, name: str, holder: str) -> Edited:
    """``holder`` drains the host no longer; ``*`` ends every holder's drain."""
    old = member(members, name)
    left = {by: end for by, end in old.drains.items() if holder not in (by, EVERY_HOLDER)}
    return _put(members, replace(old, drains=left), "resume", holder)


def _check_holder(holder: str) -> None:
    if not isinstance(holder, str) or not holder or holder == EVERY_HOLDER:
        raise ConfigError(
            f"by must be the name of the holder, such as 'operator', got {holder!r}", option="by"
        )


def reconcile_members(members: Members, hosts: Iterable[Host]) -> Edited:
    """Make ``hosts`` the members; unchanged ones keep marks and drains.

    A new address is a replace.

    >>> after, changes = reconcile_members({"a": Member(Host("a"))}, [Host("a", 2), Host("b")])
    >>> [(change.kind, change.host.name) for change in changes]
    [('set_weight', 'a'), ('register', 'b')]
    """
    after: dict[str, Member] = {}
    changes: list[HostChange] = []
    for host in hosts:
        old = members.get(host.name)
        if old is None:
            after[host.name] = Member(host)
            changes.append(HostChange("register", host, cause=_SET_HOSTS))
            continue
        moved = old.host.address != host.address
        after[host.name] = _moved_in(old, host) if moved else replace(old, host=host)
        if moved:
            changes.append(HostChange("replace", host, cause=_SET_HOSTS))
        if old.host.weight != host.weight:
            changes.append(HostChange("set_weight", host, cause=_SET_HOSTS))
        elif not moved and not old.host.same(host):
            changes.append(HostChange("set_hosts", host, cause=_SET_HOSTS))
    gone = [old.host for name, old in members.items() if name not in after]
    return after, [HostChange("unregister", host, cause=_SET_HOSTS) for host in gone] + changes


_SET_HOSTS = "set_hosts"  # the cause of what a reconcile does
