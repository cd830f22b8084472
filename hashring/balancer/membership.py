"""Who is in, and who may serve?  Every change of a pool: one lock, one new state, its events."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

from hashring import pool as changes
from hashring.balancer.choosing import Live
from hashring.balancer.events import Bus, Callback, Event
from hashring.balancer.options import seconds_from_now
from hashring.balancer.reports import DrainReport, Movement
from hashring.forks import watch
from hashring.hosts import Host, HostLike, HostsLike, as_host, as_hosts, as_weight
from hashring.load import Ledger, LoadCell, Outcome
from hashring.pool import Edited, Pool, Snapshot

__all__ = ["Membership", "name_of"]


def name_of(host: str | Host) -> str:
    """The name of a host given by name or as a ``Host``.

    >>> name_of(Host("a")), name_of("b")
    ('a', 'b')
    """
    return host.name if isinstance(host, Host) else host


class Membership:
    """The part of ``LoadBalancer`` that changes. Every method may be called by any thread.

    A change works on the members of the state that is live, builds the next state off the read
    path, and publishes it by one assignment. A change that changes nothing publishes nothing;
    one that raises leaves the pool as it was.
    """

    _keeps_sessions = False  # does anybody remember clients?
    _asks_store = False  # must a pick ask whether the client is known?
    _by_strategy = False  # does the strategy place new clients?

    def __init__(self, pool: Pool, ledger: Ledger, hosts: HostsLike) -> None:
        self._lock = threading.RLock()
        self._pool = pool
        self._ledger = ledger
        self._bus = Bus()
        self._warned = False
        empty = pool.empty()
        self._live = Live(empty, {}, ledger, None)
        members, _ = changes.reconciled(empty.members, as_hosts(hosts))
        self._go_live(pool.advance(empty, members))
        watch(self)

    def after_fork(self) -> None:
        """In a child: no lock of a lost thread, and no request in flight that ends elsewhere."""
        self._lock = threading.RLock()
        self._bus.after_fork()
        self._ledger.after_fork()  # its lock first
        live = self._live
        # a lease that outlives the fork holds its old cell, so that it counts nowhere here
        live.cells = {name: cell.idle() for name, cell in live.cells.items()}
        self._go_live(live.snapshot)

    # -- who is in --------------------------------------------------------------------------------

    def register(self, host: HostLike, *, weight: float | None = None) -> Host:
        """A host comes in; it takes its share of the clients from all others, and no others move.

        Raises ``DuplicateHostError``, ``PoolFullError``, ``InvalidWeightError``, ``ConfigError``;
        the pool is then as it was. Cost: O(hosts + its vnodes) plus a copy of the index.
        """
        settled = as_host(host)
        if weight is not None:
            settled = settled.with_weight(as_weight(weight, settled.name))
        self.apply(changes.registered, settled)
        return settled

    def unregister(self, name: str | Host) -> Host:
        """A host goes; its clients go to the others. Raises ``UnknownHostError``."""
        old, _ = self.apply(changes.unregistered, name_of(name))
        return old.members[name_of(name)].host

    def set_weight(self, name: str | Host, weight: float) -> None:
        """Another share for a host: clients move to it only, or from it only.

        Raises ``UnknownHostError`` and ``InvalidWeightError``.
        """
        known = name_of(name)
        self.apply(changes.reweighted, known, as_weight(weight, known))

    def replace(self, name: str | Host, *, address: str) -> None:
        """Another machine takes the name: no client moves.

        Weight, drain and the marks on the name (the operator's, discovery's) stay; what probes and
        outlier detection said of the old machine is forgotten, and its load counts start anew.
        The address that it has already changes nothing. Raises ``UnknownHostError``.
        """
        self.apply(changes.replaced, name_of(name), address)

    def set_hosts(self, hosts: HostsLike) -> None:
        """Make ``hosts`` the members, in one snapshot; hosts that stay keep marks, drain and load.

        A new address under an old name is a ``replace``. Raises as ``register``; the pool is then
        as it was.

        >>> from hashring import LoadBalancer
        >>> lb = LoadBalancer(["a", "b"])
        >>> lb.set_hosts({"b": 2, "c": 1})
        >>> [(host.name, host.weight) for host in lb.hosts], lb.snapshot.epoch
        ([('b', 2.0), ('c', 1.0)], 2)
        """
        self.apply(changes.reconciled, as_hosts(hosts))

    # -- who may serve ----------------------------------------------------------------------------

    def mark_down(self, name: str | Host, reason: str, *, by: str = "operator") -> None:
        """``by`` holds a host down for ``reason``; it is down while anybody does.

        Raises ``UnknownHostError`` and, for ``by="*"``, ``ConfigError``.
        """
        self.apply(changes.marked, name_of(name), reason, by)

    def mark_up(self, name: str | Host, *, by: str = "operator") -> None:
        """``by`` holds a host down no longer; ``by="*"`` clears everybody's mark."""
        self.apply(changes.unmarked, name_of(name), by)

    def drain(
        self, name: str | Host, *, deadline: float | None = None, by: str = "operator"
    ) -> DrainReport:
        """Known clients (by ``prefer`` or a pin) stay on the host, new ones go elsewhere.

        ``deadline`` is in seconds from now; then the host counts as down. Without tokens or pins
        the balancer cannot tell known clients from new ones: it moves all at once, and the report's
        ``keeps_sessions`` says so, with one warning a balancer. Raises ``UnknownHostError``,
        ``ConfigError``.
        """
        seconds = seconds_from_now(deadline)
        host = changes.member(self.snapshot.members, name_of(name)).host
        if not self._keeps_sessions and not self._warned:
            self._warned = True
            warnings.warn(  # before the change, for a warning may be made an error
                f"draining {host.name!r} moves its clients at once: without tokens or pins known "
                "clients cannot be told from new ones",
                stacklevel=2,
            )
        end = None if seconds is None else self._ledger.clock() + seconds
        old, new = self.apply(changes.drained, host.name, end, by)
        movement = Movement(old.usable_table, new.usable_table)
        return DrainReport(host, self._keeps_sessions, seconds, movement)

    def resume(self, name: str | Host, *, by: str = "operator") -> None:
        """``by`` drains a host no longer; ``by="*"`` ends everybody's drain."""
        self.apply(changes.undrained, name_of(name), by)

    # -- what it looks like -----------------------------------------------------------------------

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were registered."""
        return self._live.snapshot.hosts

    @property
    def snapshot(self) -> Snapshot:
        """The state of the pool now; it never changes, the next change publishes another."""
        return self._live.snapshot

    @property
    def fingerprint(self) -> str:
        """The table's fingerprint, a dot, and ``up`` or a digest of who is down or draining.

        Two balancers with equal fingerprints send every client ID to the same host.

        >>> from hashring import LoadBalancer
        >>> LoadBalancer(["a", "b"]).fingerprint == LoadBalancer(["b", "a"]).fingerprint
        True
        """
        return self._live.snapshot.fingerprint(self._ledger.clock())

    def state(self, name: str | Host) -> changes.State:
        """``up``, ``draining`` or ``down``, now. Raises ``UnknownHostError``."""
        return changes.member(self.snapshot.members, name_of(name)).state(self._ledger.clock())

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` after each later change, in order; the answer unsubscribes.

        It is called outside the lock, by a thread that makes a change; it may call the balancer,
        and what it raises is logged under ``hashring``.

        >>> from hashring import LoadBalancer
        >>> lb, seen = LoadBalancer(["a"]), []
        >>> stop = lb.subscribe(lambda event: seen.append(str(event)))
        >>> lb.mark_down("a", "reboot"); stop(); lb.mark_up("a")
        >>> seen
        ['epoch 2: mark_down a by operator: reboot']
        """
        return self._bus.subscribe(callback)

    def on_outcome(self, callback: Outcome) -> Callable[[], None]:
        """Call ``callback(host, failed, why, seconds)`` at each lease's end; the answer ends that.

        Neutral ends are not told, nor those on a host that is gone since or was replaced. It is
        called outside every lock, by the thread that ends the lease, so keep it short; what it
        raises is logged under ``hashring``.

        >>> from hashring import LoadBalancer
        >>> lb, seen = LoadBalancer(["a"], clock=lambda: 0.0), []
        >>> stop = lb.on_outcome(lambda *outcome: seen.append(outcome))
        >>> with lb.lease("x") as lease:
        ...     lease.failed("503")
        >>> seen
        [(Host('a'), True, '503', 0.0)]
        """
        return self._ledger.on_outcome(callback)

    def __len__(self) -> int:
        return len(self._live.snapshot.members)

    def __contains__(self, host: object) -> bool:
        return getattr(host, "name", host) in self._live.snapshot.members

    def __repr__(self) -> str:
        snapshot = self._live.snapshot
        size = len(snapshot.members)
        return f"<LoadBalancer of {size} hosts, epoch {snapshot.epoch}, {self.fingerprint}>"

    # -- how a change is made ---------------------------------------------------------------------

    def apply(self, edit: Callable[..., Edited], *args: Any) -> tuple[Snapshot, Snapshot]:
        """Publish ``edit(members, *args)`` as one snapshot; the snapshots before and after.

        For a layer that changes several hosts at once: ``edit`` is a function of ``hashring.pool``,
        or one that answers as those do, with the new members and what changed for whom. It runs
        under the lock, so it must not wait. What it raises leaves the pool as it was.

        >>> from hashring import LoadBalancer, pool
        >>> lb = LoadBalancer(["a", "b"])
        >>> _, after = lb.apply(pool.marked, "a", "reboot", "operator")
        >>> lb.state("a"), after.epoch
        ('down', 2)
        """
        with self._lock:
            old = self._live.snapshot
            members, made = edit(old.members, *args)
            new = self._pool.advance(old, members)
            if new is not old:
                self._go_live(new)
                if self._bus.wanted:
                    movement = Movement(old.usable_table, new.usable_table)
                    for change in made:
                        self._bus.post(Event.of(change, new.epoch, movement))
        self._bus.deliver()
        return old, new

    def _go_live(self, snapshot: Snapshot) -> None:
        old = self._live
        cells: dict[str, LoadCell] = {}
        for name, member in snapshot.members.items():
            cell = old.cells.get(name)
            same_machine = cell is not None and cell.host.address == member.host.address
            cells[name] = cell if cell is not None and same_machine else LoadCell(member.host)
        live = Live(
            snapshot,
            cells,
            self._ledger,
            old,
            asks_store=self._asks_store,
            by_strategy=self._by_strategy,
        )
        with self._ledger.lock:  # leases choose and count under it, so they see all or nothing
            for name, cell in cells.items():
                cell.host = snapshot.members[name].host
            for name, cell in old.cells.items():
                cell.current = cells.get(name) is cell
            self._ledger.publish([cells[host.name] for host in snapshot.usable])
            self._live = live  # the one assignment that readers see
