"""The state of a balancer: which hosts are members, which may serve, and how that changes.

``ActiveState`` is what one request reads: immutable, replaced as a whole. ``BalancerState`` makes
the next one under one lock and publishes it by one assignment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any
from weakref import WeakSet

from hashring import pool as changes
from hashring.balancer.events import Event, EventBus
from hashring.balancer.reports import Movement
from hashring.forks import watch
from hashring.hosts import Host
from hashring.load import HostLoad, LoadTracker, LoadView
from hashring.locks import GUARD
from hashring.pool import Edited, Pool, Snapshot
from hashring.ring import RingTable
from hashring.ring.index import Index


class ActiveState:
    """A snapshot prepared for picks.

    ``new_index`` returns the ``Host`` itself for a new client; it is None unless the native ring
    places new clients by public positions and a host is usable. ``index`` is the same where no
    store or assignment comes first, ``owner_index`` the same while no host is away. ``view`` is
    what strategies see, None when no host is usable. ``serving`` are the hosts that serve known
    clients without a deadline.
    """

    __slots__ = (
        "by_strategy",
        "clock",
        "hosts",
        "index",
        "loads",
        "new_index",
        "owner_index",
        "serving",
        "snapshot",
        "usable",
        "view",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        loads: dict[str, HostLoad],
        tracker: LoadTracker,
        old: ActiveState | None,
        *,
        inlines_pick: bool = True,
        by_strategy: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self.loads = loads
        self.clock = tracker.clock
        self.by_strategy = by_strategy
        self.hosts = {host.name: host for host in snapshot.hosts}
        usable: tuple[Host, ...] = snapshot.usable
        if old is not None and _are_same(old.usable, usable):
            usable = old.usable  # the same tuple, so that strategies keep what they derived
        self.usable: tuple[Host, ...] = usable
        self.view: LoadView | None = LoadView(usable, loads, tracker) if usable else None
        self.new_index: Index[Host] | None = None
        table = snapshot.usable_table
        # a keyed ring has no public index: its table places, because only it has the secret
        if (
            isinstance(table, RingTable)
            and table.public_index is not None
            and usable
            and not by_strategy
        ):
            # no vnode leads to the labels of free places and of hosts that are away
            spare = usable[0]
            self.new_index = table.index.with_labels(
                [self.hosts.get(name, spare) for name in table.index.labels]
            )
        self.index = self.new_index if inlines_pick else None
        self.owner_index = None if snapshot.away else self.new_index
        self.serving: dict[str | None, Host] = {
            name: member.host
            for name, member in snapshot.members.items()
            if not member.down and all(end is None for end in member.drains.values())
        }


def _are_same(old: tuple[Host, ...], new: tuple[Host, ...]) -> bool:
    return len(old) == len(new) and all(map(Host.same, old, new))


_numbers = count()
_states: WeakSet[BalancerState] = WeakSet()  # of all balancers of this process


class BalancerState:
    """Publishes one ``ActiveState`` after the other. Any thread may call every method.

    A change works on the members of the active state, builds the next state aside, and publishes
    it by one assignment. A change that changes nothing publishes nothing. A change that raises, or
    that an exception from outside interrupts, leaves the pool as it was, or has taken place.
    """

    active: ActiveState

    def __init__(
        self, pool: Pool, tracker: LoadTracker, *, asks_store: bool, prefers_strategy: bool
    ) -> None:
        self.lock = threading.RLock()
        self._number = next(_numbers)
        self._pool = pool
        self._tracker = tracker
        self.bus = EventBus(lambda: self.active.snapshot.epoch)
        self._asks_store = asks_store
        self._prefers_strategy = prefers_strategy
        self._inlines_pick = not asks_store  # whether LoadBalancer.pick may use the index itself
        self.keeps_sessions = asks_store  # does a store or a layer above remember clients?
        self.active = ActiveState(pool.empty(), {}, tracker, None)
        watch(self)
        _states.add(self)

    def after_fork(self) -> None:
        """In a child process: a lock that no thread holds, and no request of the parent."""
        self.lock = threading.RLock()
        self.bus.after_fork()
        active = self.active
        # a lease that outlives the fork keeps its old load object, so that it does not count here
        active.loads = {name: load.idle_copy() for name, load in active.loads.items()}
        self._publish(active.snapshot, [])

    def apply(self, edit: Callable[..., Edited], *args: Any) -> tuple[Snapshot, Snapshot]:
        """Publish ``edit(members, *args)`` as one snapshot: see ``LoadBalancer.apply``."""
        if self._must_defer():
            # what it refuses is refused here, the rest takes place afterwards
            snapshot = self.active.snapshot
            edit(snapshot.members, *args)
            GUARD.defer(self.apply, edit, *args)
            return snapshot, snapshot
        try:
            with self.lock:
                old = self.active.snapshot
                members, made = edit(old.members, *args)
                new = self._pool.advance(old, members)
                if new is not old:
                    events: list[Event] = []
                    if self.bus.has_subscribers:
                        movement = Movement(old.usable_table, new.usable_table)
                        events = [Event.of(change, new.epoch, movement) for change in made]
                    self._publish(new, events)
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
            self.bus.deliver()
        return old, new

    def update(self, change: Callable[[], object]) -> None:
        """Call ``change`` as a change that makes no snapshot: of options, or of assignments."""
        if self._must_defer():
            GUARD.defer(self.update, change)
            return
        try:
            with self.lock:
                change()
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
            self.bus.deliver()

    def announce(self, kind: str, host: Host, holder: str | None, cause: str) -> None:
        """Deliver an event that is not a change."""
        self.update(lambda: self._post(kind, host, holder, cause))

    def set_keeps_sessions(self, value: bool) -> None:
        """Whether a layer above knows its clients and gives ``prefer``."""
        self.update(lambda: self._set_keeps_sessions(value))

    def set_inlined(self, value: bool) -> None:
        """Whether ``LoadBalancer.pick`` may use the index: no client is assigned to a host.

        The caller holds the lock.
        """
        value = value and not self._asks_store
        if value != self._inlines_pick:
            self._inlines_pick = value
            self._publish(self.active.snapshot, [])

    def plan(
        self, change: Callable[[changes.Members], changes.Members]
    ) -> tuple[Snapshot, Snapshot]:
        """The snapshots before and after a change that is not made."""
        try:
            with self.lock:
                old, pool = self.active.snapshot, self._pool.fork()
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
        return old, pool.advance(old, change(old.members))

    def _must_defer(self) -> bool:
        """Whether a wait for the lock could be one for ever.

        So it is in the middle of a change of its own pool or of a choice, as in a signal handler
        or a finalizer. In the middle of another pool's change, a thread waits only for pools that
        are newer than that one: two threads never wait for each other's.
        """
        if GUARD.is_held():
            return True
        while True:
            try:
                return any(
                    # private, but what threading.Condition uses
                    state._number >= self._number and state.lock._is_owned()  # type: ignore[attr-defined]
                    for state in _states
                )
            except RuntimeError:  # another thread made a balancer: again
                continue

    def _post(self, kind: str, host: Host, holder: str | None, cause: str) -> None:
        epoch = self.active.snapshot.epoch
        self.bus.post([Event(epoch, kind, host, holder, cause, Movement(None, None))])

    def _set_keeps_sessions(self, value: bool) -> None:
        self.keeps_sessions = value or self._asks_store
        self._publish(self.active.snapshot, [])

    def _publish(self, snapshot: Snapshot, events: list[Event]) -> None:
        tracker, old = self._tracker, self.active
        loads: dict[str, HostLoad] = {}
        for name, member in snapshot.members.items():
            load = old.loads.get(name)
            is_same_machine = load is not None and load.host.address == member.host.address
            loads[name] = load if load is not None and is_same_machine else HostLoad(member.host)
        active = ActiveState(
            snapshot,
            loads,
            tracker,
            old,
            inlines_pick=self._inlines_pick,
            # a choice by load must be remembered; until a layer does, the walk decides
            by_strategy=self._prefers_strategy and self.keeps_sessions,
        )
        self.bus.post(events)  # delivered once the epoch is published
        with tracker.lock:  # leases choose and count under it, so they see all or nothing
            self.active = active  # the one assignment that readers see
            # after an interrupt here, the next lease does it
            tracker.synchronize(loads, active.usable)
