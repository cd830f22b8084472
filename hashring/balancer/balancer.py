"""``LoadBalancer``: one request -> one host, from one immutable state at a time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmh3 import mmh3_32_uintdigest

from hashring import pool as changes
from hashring.balancer import options, saved
from hashring.balancer.drains import DrainWatch
from hashring.balancer.events import Callback
from hashring.balancer.lease import Lease
from hashring.balancer.options import Fallback, PlacementLike
from hashring.balancer.picker import NO_NAMES, Picker, spread_over
from hashring.balancer.pin_flow import Assignment, PinFlow
from hashring.balancer.pin_table import PinTable
from hashring.balancer.pins import AsyncPinStore, PinStore
from hashring.balancer.rebalance import Rebalancer, RebalanceReport, as_counted
from hashring.balancer.reports import Decision, DrainReport, Movement, Plan
from hashring.balancer.state import BalancerState
from hashring.hosts import Host, HostLike, HostsLike, as_host, as_hosts, as_names, as_weight
from hashring.keys import Key
from hashring.load import Load, LoadTracker, OutcomeCallback
from hashring.placement import check_order
from hashring.pool import Edited, Pool, Snapshot
from hashring.strategies import LeastOutstanding, Rng
from hashring.validators import COUNT, FLAG, SECONDS, SECONDS_OR_ZERO, WHOLE, choice

if TYPE_CHECKING:
    from hashring.balancer.waiting import WaitingLine

_NUMBERS, _LARGE = (float, int), 1e300  # a cost that needs no closer look


class LoadBalancer:
    """Sends each client ID to its host and all other requests where the fallback strategy chooses.

    ``placement`` is a name (see ``hashring.placement.names()``), a recipe ``hosts -> table``, an
    empty ``HashRing`` whose options are taken, or None: a plain load balancer. ``fallback`` is a
    strategy object, or any callable ``view -> Host`` that leaves the balancer alone (a lease
    calls it under a lock); None makes a ``RoundRobin``. ``capacity`` bounds the number of hosts.
    ``load_factor`` (above 1) bounds each host's leases to that multiple of its fair share, never
    below ``load_floor``. ``max_in_flight`` is a hard limit of a host's leases, times its weight:
    above it a lease raises ``NoCapacityError``, or waits (``aacquire``).
    ``failures`` are the exceptions that a lease counts against its host.
    ``clock`` reads seconds that never run backwards.

    ``pins`` is a store that remembers each client's host (``hashring.affinity``): growth then
    moves no known client, and one whose host is down or gone is placed again and stays there.
    ``new_clients`` is who places a client without a host, where a pin or a token remembers it:
    ``"walk"``, the placement, the same in all routers even before the store has answered, or
    ``"fallback"``, the strategy, so by load. ``patience`` (with ``LeastOutstanding``; 5 is a good
    value) lets a known client leave a queue that is longer than another host's by more than that
    many times its own request; None: a known client stays. ``on_unavailable`` is what happens to a
    known client whose host is down: ``"move"``, or ``"refuse"``: ``SessionUnavailableError``. With
    ``return_home`` such a client is only lent to another host, and goes back.

    Any number of threads may use it. ``pick`` reads one snapshot and takes no lock but the
    store's own; changes take one lock, build aside and publish by one assignment. Signal handlers
    and finalizers may call ``forget``, ``mark_down``, ``mark_up``, ``drain``, ``unregister`` and a
    lease's ``release``: in the middle of a change of their own thread the call takes effect after
    that change.

    >>> lb = LoadBalancer(["web1", "web2", "web3"])
    >>> lb.pick("session-42").name
    'web3'
    >>> lb.register("web4").name, lb.unregister("web4").name, lb.pick("session-42").name
    ('web4', 'web4', 'web3')
    """

    def __init__(
        self,
        hosts: HostsLike = (),
        *,
        placement: PlacementLike = "ring",
        fallback: Fallback | None = None,
        capacity: int | None = None,
        load_factor: float | None = None,
        load_floor: int = 1,
        max_in_flight: float | None = None,
        failures: tuple[type[BaseException], ...] | type[BaseException] = (OSError, TimeoutError),
        pins: PinStore | AsyncPinStore | None = None,
        new_clients: str = "walk",
        patience: float | None = None,
        on_unavailable: str = "move",
        return_home: bool = False,
        rng: Rng | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        load_factor = options.check_load_factor(load_factor)
        load_floor = COUNT(load_floor, "load_floor")
        if max_in_flight is not None:
            max_in_flight = options.MAX_IN_FLIGHT(max_in_flight, "max_in_flight")
        failures = options.as_failures(failures)
        most = None if capacity is None else COUNT(capacity, "capacity")
        chance = options.as_rng(rng)
        patience = options.check_patience(patience, fallback, new_clients, load_factor)
        prefers_strategy = options.prefers_strategy(new_clients)
        choice("move", "refuse")(on_unavailable, "on_unavailable")
        self.returns_home = FLAG(return_home, "return_home")
        self._tracker = LoadTracker(options.check_clock(clock), chance.randrange)
        self._pins = pins
        self._given = {
            "placement": placement,
            "fallback": fallback,
            "capacity": most,
            "load_factor": load_factor,
            "load_floor": load_floor,
            "max_in_flight": max_in_flight,
            "new_clients": new_clients,
            "patience": patience,
            "on_unavailable": on_unavailable,
            "return_home": return_home,
        }
        self._unsaved = {"failures": failures, "rng": rng, "clock": clock}
        self._warned = False
        self._rebalancer = Rebalancer(clock)
        self._line: WaitingLine | None = None
        self._state = BalancerState(
            Pool(options.as_recipe(placement), most),
            self._tracker,
            asks_store=pins is not None,
            prefers_strategy=prefers_strategy,
        )
        check_order(placement, hosts)
        self._state.apply(changes.reconcile_members, as_hosts(hosts))
        options.check_ring_options(hosts, self.snapshot.table)
        # last, so that a refused host list leaves a strategy object free
        self._choose_fallback = options.bind_fallback(fallback, rng)
        self._picker = Picker(
            self._tracker,
            self._choose_fallback,
            getattr(fallback, "REASON", "fallback"),
            load_factor,
            load_floor,
            patience,
            max_in_flight,
            refuses=on_unavailable == "refuse",
            lends=return_home,
        )
        self._flow = PinFlow(self._state, self._picker, self._tracker, pins, failures)
        self._drains = DrainWatch(self._state, pins, self._tracker.clock)
        if hasattr(self._flow.store, "sessions"):
            self._tracker.sessions = lambda: pins.sessions  # type: ignore[union-attr]  # as just seen
        if self._flow.store is not None and type(self).pick is LoadBalancer.pick:
            # to decide in pick() which of the two it is would cost each other balancer 5 %
            self.pick = self._flow.pick_pinned  # type: ignore[method-assign]  # the same, faster

    @classmethod
    def sticky_by_load(
        cls, hosts: HostsLike = (), *, patience: float | None = None, **options: Any
    ) -> LoadBalancer:
        """A balancer that remembers sessions and places new ones by outstanding work.

        Short for ``pins=PinTable(), new_clients="fallback", fallback=LeastOutstanding()`` with
        this ``patience``. ``options`` are those of ``LoadBalancer``. Give a lease the ``cost`` of
        its request where it is known, and call its ``started()`` when the response begins.

        >>> lb = LoadBalancer.sticky_by_load(["a", "b"])
        >>> with lb.lease("x", cost=900) as one, lb.lease("y", cost=100) as two:
        ...     one.reason, one.host != two.host
        ('least', True)
        """
        given = {
            "pins": PinTable(),
            "new_clients": "fallback",
            "fallback": LeastOutstanding(),
            **options,
        }
        return cls(hosts, patience=patience, **given)

    # -- one request ------------------------------------------------------------------------------

    def pick(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Host:
        """The host for one request: ``prefer``, a pin, the client's owner, else the fallback.

        ``prefer`` names the host of a token or an operator; it holds while that host is up or
        draining. ``exclude`` names the hosts that a retry has tried; a retry writes no pin.
        Without a client ID (None, ``""``, ``b""``) the strategy chooses. Cost: about
        0.25 us with a str client ID, and 0.3 us and the store's own with pins; O(1) at any pool
        size.

        Raises ``NoHostsError`` (with the holder and reason of each host's state),
        ``InvalidKeyError``, and ``ConfigError`` for a client ID where the store of pins must be
        awaited: ``apick``.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> lb.pick("x").name, lb.pick("x", exclude=["a"]).name, lb.pick("x", prefer="b").name
        ('a', 'b', 'b')
        """
        active = self._state.active
        if prefer is None and not exclude:
            index = active.index
            # a copy of Index.find: a call would cost a third of the whole pick
            if index is not None and client_id.__class__ is str and client_id:
                try:
                    position = mmh3_32_uintdigest(client_id.encode(), index.seed)
                    code = index.cells[position >> index.shift]
                    if code < 0:
                        packed = index.packed
                        at = index.starts[position >> index.block] + ~code
                        position <<= 24  # layout.CODE_BITS
                        while packed[at] < position:
                            at += 1
                        code = packed[at] & 0xFFFFFF
                    return index.labels[code]
                except UnicodeEncodeError:  # a lone surrogate: the table encodes it
                    pass
            if client_id is None and active.view is not None:
                return self._choose_fallback(active.view)
        return self._flow.pick(client_id, prefer, exclude)

    def lease(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
        cost: float | None = None,
        group: str | bytes | None = None,
        remember: bool = True,
    ) -> Lease:
        """One request in flight: the host is chosen and counted when the lease is entered.

        As ``pick``, and with a ``load_factor`` the first host of the walk below its bound, but
        for pinned clients. ``cost`` is the work of the request in any unit (tokens, bytes, ms), at
        least 0; None counts as average. ``group`` names what requests share (a prompt, a data set):
        new clients of a group prefer hosts that served it. ``remember`` False skips the store
        of pins: something else remembers the client. Cost: about 2 us from entering to
        leaving, under one short lock, and 1.5 us more with pins. A store that must be awaited is
        asked by ``async with``.

        >>> lb = LoadBalancer(["a", "b", "c"], load_factor=1.25)
        >>> with lb.lease("x") as one, lb.lease("x") as two:
        ...     (one.host.name, one.reason), (two.host.name, two.reason)
        (('a', 'owner'), ('b', 'overflow'))
        """
        if cost is not None and not (cost.__class__ in _NUMBERS and 0 <= cost < _LARGE):
            cost = options.COST(cost, "cost")
        return Lease(self._flow, client_id, prefer, exclude, cost, group, remember)

    async def aacquire(
        self,
        client_id: Key | None = None,
        *,
        wait: float = 0.0,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
        cost: float | None = None,
        group: str | bytes | None = None,
        remember: bool = True,
    ) -> Lease:
        """An acquired lease; where ``max_in_flight`` leaves no room, within ``wait`` seconds.

        Requests wait in order of arrival, each until there is room on a host that can take it: a
        known client for its own host. A plain ``lease`` does not wait, so it may be faster. Release
        the lease, or use it by ``async with``. Raises as ``lease``, and ``NoCapacityError`` when
        the time is over.

        >>> import asyncio
        >>> lb = LoadBalancer(["a"], max_in_flight=1)
        >>> async def main():
        ...     async with await lb.aacquire("x"):
        ...         try:
        ...             await lb.aacquire("y", wait=0.001)
        ...         except LookupError as error:
        ...             return type(error).__name__
        >>> asyncio.run(main())
        'NoCapacityError'
        """
        options.check_deadline(wait)
        lease = self.lease(
            client_id, prefer=prefer, exclude=exclude, cost=cost, group=group, remember=remember
        )
        line = self._line
        if line is None:
            from hashring.balancer.waiting import WaitingLine  # which imports asyncio

            line = self._line = WaitingLine()
        return await line.acquire(lease, self._tracker, wait)

    async def apick(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Host:
        """As ``pick``, awaiting the store of pins where it must be awaited. Works with any."""
        if self._flow.awaited is None:
            return self.pick(client_id, prefer=prefer, exclude=exclude)
        return await self._flow.pick_async(client_id, prefer, exclude)

    def explain(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Decision:
        """Why ``pick`` would return what it does, without picking. Cost: about 10 us.

        A plain store of pins is asked; of one that must be awaited give its answer as ``prefer``.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> lb.mark_down("a", "reboot")
        >>> print(lb.explain("x"))
        'x', at 1050319643, belongs to a, not a (operator: reboot), goes to b (next)
        """
        excluded = as_names(exclude, "exclude") if exclude else NO_NAMES
        known = prefer, self._flow.assigned_host(client_id) or self._flow.pin_of(client_id)
        active = self._state.active
        by_strategy = active.by_strategy and prefer is None and not excluded
        return self._picker.explain(active, client_id, known, excluded, by_strategy)

    def walk(
        self,
        client_id: Key | None,
        n: int | None = None,
        *,
        prefer: str | Host | None = None,
        spread: str | None = None,
    ) -> list[Host]:
        """The first ``n`` hosts that ``pick`` takes when each before is excluded; None: all.

        For retries, replicas and ranks. ``spread`` is a key of ``Host.meta``, such as "zone": the
        hosts then come from as many different values of it as there are. Cost: some us, and about
        1 us for each host; O(hosts) with ``spread``.

        >>> lb = LoadBalancer([Host(name, meta={"zone": name[0]}) for name in ("e1", "e2", "w1")])
        >>> [host.name for host in lb.walk("a")]
        ['e2', 'e1', 'w1']
        >>> [host.name for host in lb.walk("a", 2, spread="zone")]
        ['e2', 'w1']
        """
        remembered = self._flow.assigned_host(client_id) or self._flow.pin_of(client_id)
        known = name_of(prefer) if prefer is not None else None, remembered
        hosts = self._picker.walk(self._state.active, client_id, known)
        if n is not None:
            n = COUNT(n, "n")
        if spread is None:
            return list(islice(hosts, n))
        return spread_over(hosts, spread)[:n]

    def load(self, name: str | Host) -> Load:
        """What this process's leases do on one host. Raises ``UnknownHostError``."""
        active = self._state.active
        changes.member(active.snapshot.members, name_of(name))
        return self._tracker.read(active.loads[name_of(name)])

    def outstanding(self) -> dict[str, float]:
        """The outstanding work of this router's leases by host name, for other routers.

        Idle hosts are left out. Cost: O(hosts).
        """
        return self._tracker.outstanding()

    def set_remote_load(
        self, router: str, outstanding: Mapping[str, float], *, expires: float = 5.0
    ) -> None:
        """What another router reports as its ``outstanding()``; replaces its last report.

        ``LeastOutstanding`` and ``patience`` then choose by the load of all routers. A report ends
        ``expires`` seconds later, so that a dead router's load does not stay. Every 0.5 s is often
        enough. Cost: O(hosts).

        >>> one, two = (LoadBalancer.sticky_by_load(["a", "b"]) for _ in range(2))
        >>> with one.lease("x") as lease:
        ...     two.set_remote_load("one", one.outstanding())
        ...     with two.lease("y") as other:
        ...         lease.host != other.host
        True
        """
        self._tracker.set_remote(router, outstanding, SECONDS(expires, "expires"))

    @property
    def pins(self) -> PinStore | AsyncPinStore | None:
        """The store of pins that it was made with; None without one."""
        return self._pins

    # -- remembered clients -----------------------------------------------------------------------

    def pin(self, client_id: Key, host: str | Host) -> bool:
        """Pin a client to a host, wherever it was; False if other writers won every race.

        A host that is down keeps its pins only until their clients' next requests. Raises
        ``UnknownHostError``, ``InvalidKeyError``, ``ConfigError`` without a plain store, and the
        ``OSError`` of a store that cannot answer.

        >>> from hashring import LoadBalancer
        >>> from hashring.affinity import PinTable
        >>> lb = LoadBalancer(["a", "b", "c"], pins=PinTable())
        >>> lb.pick("x").name, lb.pin("x", "c"), lb.pick("x").name
        ('a', True, 'c')
        """
        return self._flow.pin(client_id, self._member(host).host.name)

    def forget(self, client_id: Key) -> bool:
        """Forget a client's pin: its next request is that of a new client. Raises as ``pin``."""
        return self._flow.pin(client_id, None)

    async def apin(self, client_id: Key, host: str | Host) -> bool:
        """As ``pin``, with any store."""
        return await self._flow.pin_async(client_id, self._member(host).host.name)

    async def aforget(self, client_id: Key) -> bool:
        """As ``forget``, with any store."""
        return await self._flow.pin_async(client_id, None)

    def assign(self, client_id: Key, host: str | Host, *, strict: bool = False) -> None:
        """Assign a client to a host until ``unassign``, however long it is away.

        A pin ends with idle time, and when its host is down the client is placed again. An
        assigned client comes back: while its host is down or gone the walk of its ID serves it,
        or no host if ``strict`` (``NoHostsError``). A ``prefer`` that can serve comes first.
        Assignments are kept in this process; ``to_dict`` has them. Cost: O(assignments), and some
        1 us for each pick while there are any. Raises ``UnknownHostError``.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> lb.assign("x", "c"); lb.pick("x").name
        'c'
        >>> lb.mark_down("c", "reboot"); lb.pick("x").name
        'a'
        >>> lb.mark_up("c"); lb.pick("x").name, dict(lb.assignments)
        ('c', {b'x': Assignment(host='c', strict=False)})
        """
        self._flow.assign(client_id, Assignment(self._member(host).host.name, strict))

    def unassign(self, client_id: Key) -> bool:
        """End a client's assignment; whether it had one."""
        return self._flow.assign(client_id, None)

    @property
    def assignments(self) -> Mapping[bytes, Assignment]:
        """The assigned clients, by the bytes of their IDs."""
        return MappingProxyType(self._flow.assigned)

    def rebalance(
        self,
        *,
        max_moves: int | None = None,
        per_minute: int | None = None,
        idle: float = 0.0,
    ) -> RebalanceReport:
        """Move pinned sessions to hosts that have fewer than their share, as after a host joined.

        Moves at most ``max_moves``, and with those of earlier calls at most ``per_minute`` in any
        60 s: call it regularly. Sessions that are idle the longest go first, none that is idle for
        less than ``idle`` seconds, and none with a lease in flight in this process. Cost: O(pins).
        Raises ``ConfigError`` without a plain store that counts.

        >>> from hashring.affinity import PinTable
        >>> lb = LoadBalancer(["a"], pins=PinTable())
        >>> hosts = {lb.pick(f"session-{n}").name for n in range(10)}
        >>> lb.register("b").name, str(lb.rebalance(max_moves=3))
        ('b', '3 sessions moved, a -> b: 3; 2 left to move, 0 busy')
        """
        pins = as_counted(self._flow.store)
        if max_moves is not None:
            max_moves = WHOLE(max_moves, "max_moves")
        if per_minute is not None:
            per_minute = COUNT(per_minute, "per_minute")
        idle = SECONDS_OR_ZERO(idle, "idle")
        usable, in_flight = self._state.active.usable, self._flow.clients_in_flight
        return self._rebalancer.run(pins, usable, in_flight, max_moves, per_minute, idle)

    def keeps_sessions(self, value: bool) -> None:
        """Whether a layer above knows its clients and gives ``prefer``; drains report it.

        A balancer with ``pins`` keeps sessions in any case.
        """
        self._state.set_keeps_sessions(bool(value))

    # -- members ----------------------------------------------------------------------------------

    def register(self, host: HostLike, *, weight: float | None = None) -> Host:
        """Add a host; it takes its share of the clients from all others, and no others move.

        Raises ``DuplicateHostError``, ``PoolFullError``, ``InvalidWeightError``, ``ConfigError``;
        the pool is then as it was. Cost: O(hosts + its vnodes) plus a copy of the index.
        """
        new = as_host(host)
        if weight is not None:
            new = new.with_weight(as_weight(weight, new.name))
        self.apply(changes.add_member, new)
        return new

    def unregister(self, name: str | Host) -> Host:
        """Remove a host; its clients go to the others. Raises ``UnknownHostError``."""
        old, _ = self.apply(changes.remove_member, name_of(name))
        return old.members[name_of(name)].host

    def set_weight(self, name: str | Host, weight: float) -> None:
        """Another share for a host: clients move to it only, or from it only.

        Raises ``UnknownHostError`` and ``InvalidWeightError``.
        """
        known = name_of(name)
        self.apply(changes.set_member_weight, known, as_weight(weight, known))

    def replace(self, name: str | Host, *, address: str) -> None:
        """Another machine takes the name: no client moves.

        Weight, drain and the marks on the name (the operator's, discovery's) stay; the results of
        probes and outlier detection for the old machine are dropped, and its load counts start
        again. The address that it has already changes nothing. Raises ``UnknownHostError``.
        """
        self.apply(changes.replace_member, name_of(name), address)

    def set_hosts(self, hosts: HostsLike) -> None:
        """Make ``hosts`` the members, in one snapshot; unchanged hosts keep marks, drain and load.

        A new address under an old name is a ``replace``. Raises as ``register``; the pool is then
        as it was.

        >>> from hashring import LoadBalancer
        >>> lb = LoadBalancer(["a", "b"])
        >>> lb.set_hosts({"b": 2, "c": 1})
        >>> [(host.name, host.weight) for host in lb.hosts], lb.snapshot.epoch
        ([('b', 2.0), ('c', 1.0)], 2)
        """
        check_order(self._given["placement"], hosts)
        options.check_ring_options(hosts, self.snapshot.table)
        self.apply(changes.reconcile_members, as_hosts(hosts))

    def plan(
        self,
        *,
        add: HostsLike = (),
        remove: Iterable[str | Host] = (),
        weights: Mapping[str, float] | None = None,
    ) -> Plan:
        """What a change would move, without doing it. Cost: that of the change and O(V).

        Raises what the change itself would raise.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> plan = lb.plan(add=["d"])
        >>> {to for _, to in plan.flows}, len(lb.hosts)
        ({'d'}, 3)
        """
        options.check_ring_options(add, self.snapshot.table)
        added, removed = as_hosts(add), as_names(remove, "remove")

        def change(members: changes.Members) -> changes.Members:
            for name in sorted(removed):
                members, _ = changes.remove_member(members, name)
            for name, weight in (weights or {}).items():
                members, _ = changes.set_member_weight(members, name, as_weight(weight, name))
            for host in added:
                members, _ = changes.add_member(members, host)
            return members

        old, new = self._state.plan(change)
        movement = Movement(old.usable_table, new.usable_table)
        return Plan(old.hosts, new.hosts, movement, movement.exact)

    # -- states -----------------------------------------------------------------------------------

    def mark_down(self, name: str | Host, reason: str, *, by: str = "operator") -> None:
        """``by`` holds a host down for ``reason``; it is down while any holder does.

        Raises ``UnknownHostError`` and, for ``by="*"``, ``ConfigError``.
        """
        self.apply(changes.add_mark, name_of(name), reason, by)

    def mark_up(self, name: str | Host, *, by: str = "operator") -> None:
        """``by`` holds a host down no longer; ``by="*"`` clears every holder's mark."""
        self.apply(changes.remove_mark, name_of(name), by)

    def drain(
        self, name: str | Host, *, deadline: float | None = None, by: str = "operator"
    ) -> DrainReport:
        """Known clients (by ``prefer`` or a pin) stay on the host, new ones go elsewhere.

        ``deadline`` is in seconds from now; then the host counts as down. Without tokens or pins
        the balancer cannot distinguish known clients from new ones: it moves all of them, and the
        report's ``keeps_sessions`` is False, with one warning a balancer. Raises
        ``UnknownHostError``, ``ConfigError``.
        """
        seconds = options.check_deadline(deadline)
        host = self._member(name).host
        keeps_sessions = self._state.keeps_sessions
        if not keeps_sessions and not self._warned:
            self._warned = True
            warnings.warn(  # before the change, because a warning may be made an error
                f"draining {host.name!r} moves all its clients now: without tokens or pins known "
                "clients cannot be distinguished from new ones",
                stacklevel=2,
            )
        end = None if seconds is None else self._tracker.clock() + seconds
        old, new = self.apply(changes.add_drain, host.name, end, by)
        movement = Movement(old.usable_table, new.usable_table)
        count = getattr(self._pins, "count", None)
        return DrainReport(host, keeps_sessions, seconds, movement, count)

    def check_drains(self) -> dict[str, int | None]:
        """The sessions left on each draining host, and the events that are due.

        The balancer has no thread of its own, so call this regularly, once a second for instance.
        Subscribers get ``drain_empty`` once a drain has no session left, and ``drain_deadline``
        once its deadline has passed. The number is None where the store of pins does not count,
        does not answer or must be awaited. Cost: a ``count`` of the store for each draining host.

        >>> from hashring.affinity import PinTable
        >>> lb, seen = LoadBalancer(["a", "b"], pins=PinTable()), []
        >>> report = lb.drain("a")
        >>> stop = lb.subscribe(lambda event: seen.append(str(event)))
        >>> lb.check_drains(), seen
        ({'a': 0}, ['epoch 2: drain_empty a: no session left'])
        """
        return self._drains.check()

    async def acheck_drains(self) -> dict[str, int | None]:
        """As ``check_drains``, also with a store of pins that must be awaited.

        >>> import asyncio
        >>> from hashring.affinity import PinTable
        >>> lb = LoadBalancer(["a", "b"], pins=PinTable())
        >>> report = lb.drain("a")
        >>> asyncio.run(lb.acheck_drains())
        {'a': 0}
        """
        return await self._drains.acheck()

    def resume(self, name: str | Host, *, by: str = "operator") -> None:
        """``by`` drains a host no longer; ``by="*"`` ends every holder's drain."""
        self.apply(changes.remove_drain, name_of(name), by)

    def apply(self, edit: Callable[..., Edited], *args: Any) -> tuple[Snapshot, Snapshot]:
        """Publish ``edit(members, *args)`` as one snapshot; the snapshots before and after.

        For a layer that changes several hosts in one step: ``edit`` is a function of
        ``hashring.pool``, or one with the same result, the new members and the changes made. It
        runs under the lock, so it must not wait. What it raises leaves the pool as it was.

        >>> from hashring import LoadBalancer, pool
        >>> lb = LoadBalancer(["a", "b"])
        >>> _, after = lb.apply(pool.add_mark, "a", "reboot", "operator")
        >>> lb.state("a"), after.epoch
        ('down', 2)
        """
        return self._state.apply(edit, *args)

    # -- queries ----------------------------------------------------------------------------------

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were registered."""
        return self._state.active.snapshot.hosts

    @property
    def snapshot(self) -> Snapshot:
        """The state of the pool now; it never changes, the next change publishes another."""
        return self._state.active.snapshot

    @property
    def fingerprint(self) -> str:
        """The table's fingerprint, a dot, and ``up`` or a digest of the hosts that are not up.

        Two balancers with equal fingerprints place every client ID on the same host. Pins and
        assignments are not part of it, nor the choices of the strategy: all of them without a
        placement, and those for the client IDs that a placement leaves to it (``nginx-ip-hash``
        places addresses only).

        >>> from hashring import LoadBalancer
        >>> LoadBalancer(["a", "b"]).fingerprint == LoadBalancer(["b", "a"]).fingerprint
        True
        """
        return self.snapshot.fingerprint(self._tracker.clock())

    def state(self, name: str | Host) -> changes.State:
        """``up``, ``draining`` or ``down``, now. Raises ``UnknownHostError``."""
        return self._member(name).state(self._tracker.clock())

    def _member(self, name: str | Host) -> changes.Member:
        return changes.member(self.snapshot.members, name_of(name))

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` after each later change, in order; the result unsubscribes.

        It is called outside the lock, by a thread that makes a change; it may call the balancer,
        and what it raises is logged under ``hashring``. Raises ``ConfigError`` for what cannot be
        called or must be awaited.

        >>> from hashring import LoadBalancer
        >>> lb, seen = LoadBalancer(["a"]), []
        >>> stop = lb.subscribe(lambda event: seen.append(str(event)))
        >>> lb.mark_down("a", "reboot"); stop(); lb.mark_up("a")
        >>> seen
        ['epoch 2: mark_down a by operator: reboot']
        """
        return self._state.bus.subscribe(callback)

    def on_outcome(self, callback: OutcomeCallback) -> Callable[[], None]:
        """Call ``callback(host, failed, why, seconds)`` at each lease's end; the result ends that.

        There is no call for a lease without an outcome, nor for one on a host that was removed or
        replaced since. It is called outside every lock, by the thread that ends the lease, so keep
        it short; what it raises is logged under ``hashring``.

        >>> from hashring import LoadBalancer
        >>> lb, seen = LoadBalancer(["a"], clock=lambda: 0.0), []
        >>> stop = lb.on_outcome(lambda *outcome: seen.append(outcome))
        >>> with lb.lease("x") as lease:
        ...     lease.failed("503")
        >>> seen
        [(Host('a'), True, '503', 0.0)]
        """
        return self._tracker.on_outcome(callback)

    # -- copies -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Hosts, weights, placement, options, marks and drains as plain data.

        A drain is saved with the seconds that are left. Pins are saved by their own store, and
        load, subscribers, ``failures``, ``rng`` and ``clock`` not at all. Raises ``ConfigError``
        for what has no name: a recipe, a callable fallback, a keyed ring.

        >>> lb = LoadBalancer({"a": 1, "b": 2})
        >>> lb.mark_down("a", "reboot")
        >>> twin = LoadBalancer.from_dict(lb.to_dict())
        >>> twin.state("a"), twin.fingerprint == lb.fingerprint
        ('down', True)
        """
        assigned = [
            [key.hex(), each.host, each.strict] for key, each in self._flow.assigned.items()
        ]
        data = saved.save(self._given, self.snapshot, self._tracker.clock())
        return {**data, "assignments": assigned}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **options: Any) -> LoadBalancer:
        """The balancer that ``to_dict`` saved. ``options`` are those of ``LoadBalancer``.

        Give ``pins``, ``failures``, ``rng`` and ``clock`` here, or any other in the place of a
        saved one. Raises ``ConfigError`` for other data.
        """
        lb = cls(**{**saved.options_of(data), **options})
        lb.apply(saved.restore_members, data, lb._tracker.clock())
        for key, host, strict in data["assignments"]:
            lb._flow.assign(bytes.fromhex(key), Assignment(host, strict))
        return lb

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.to_dict(), {"pins": self._pins, **self._unsaved})

    def __len__(self) -> int:
        return len(self.snapshot.members)

    def __contains__(self, host: object) -> bool:
        return getattr(host, "name", host) in self.snapshot.members

    def __repr__(self) -> str:
        epoch = self.snapshot.epoch
        return f"<LoadBalancer of {len(self)} hosts, epoch {epoch}, {self.fingerprint}>"


def _rebuild(cls: type[LoadBalancer], data: dict[str, Any], parts: dict[str, Any]) -> LoadBalancer:
    return cls.from_dict(data, **parts)


def name_of(name: str | Host) -> str:
    """The name of a host given by name or as a ``Host``.

    >>> name_of(Host("a")), name_of("b")
    ('a', 'b')
    """
    return name.name if isinstance(name, Host) else name
