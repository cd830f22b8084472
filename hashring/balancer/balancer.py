"""``LoadBalancer``: one request -> one host, from one immutable state at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from mmh3 import mmh3_32_uintdigest

from hashring import pool as changes
from hashring.balancer import choosing, options
from hashring.balancer.choosing import NO_NAMES
from hashring.balancer.deciding import Deciding
from hashring.balancer.lease import Lease
from hashring.balancer.membership import name_of
from hashring.balancer.options import Fallback, Placement
from hashring.balancer.pins import AsyncPinStore, PinStore
from hashring.balancer.reports import Decision, Movement, Plan
from hashring.hosts import Host, HostsLike, as_hosts, as_names, as_weight
from hashring.keys import Key
from hashring.load import Ledger, Load
from hashring.pool import Pool
from hashring.strategies import Rng
from hashring.validators import COUNT

__all__ = ["LoadBalancer"]


class LoadBalancer(Deciding):
    """Sends each client ID to its host and everybody else where the fallback strategy says.

    ``placement`` is a name (see ``hashring.placement.names()``), a recipe ``hosts -> table``, an
    empty ``HashRing`` whose options are taken, or None: a plain load balancer. ``fallback`` is a
    strategy object, or any callable ``view -> Host`` that leaves the balancer alone (a lease
    calls it under a lock); None makes a ``RoundRobin``. ``capacity``
    bounds the hosts. ``load_factor`` (above 1) bounds each host's leases to that multiple of its
    fair share, never below ``load_floor`` at once. ``failures`` are the exceptions that a lease
    counts against its host. ``clock`` reads seconds that never run backwards.

    ``pins`` is a store that remembers each client's host (``hashring.affinity``): growth then
    moves no known client, and one whose host is down or gone is placed anew and stays there.
    ``new_clients`` says how a client without a host is placed where somebody remembers it, by a
    pin or a token: ``"walk"``, by the placement, alike in all routers even before the store has
    answered, or ``"fallback"``, by the strategy, so by load.

    Any number of threads may use it. ``pick`` reads one snapshot and takes no lock but the
    store's own; changes take one lock, build aside and publish by one assignment.

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
        placement: Placement = "ring",
        fallback: Fallback | None = None,
        capacity: int | None = options.BalancerOptions.capacity,
        load_factor: float | None = options.BalancerOptions.load_factor,
        load_floor: int = options.BalancerOptions.load_floor,
        failures: tuple[type[BaseException], ...] = (OSError, TimeoutError),
        pins: PinStore | AsyncPinStore | None = None,
        new_clients: str = options.BalancerOptions.new_clients,
        rng: Rng | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load_factor = options.load_bound(load_factor)
        self._load_floor = COUNT(load_floor, "load_floor")
        self._failures = options.failure_types(failures)
        most = None if capacity is None else COUNT(capacity, "capacity")
        chance = options.source_of_chance(rng)
        ledger = Ledger(options.clock_of_seconds(clock), chance.randrange)
        super().__init__(Pool(options.placed_by(placement), most), ledger, hosts, pins, new_clients)
        # last, so that a refused host list leaves a strategy object free
        self._choose_fallback = options.bound_fallback(fallback, rng)
        if self._plain is not None and type(self).pick is LoadBalancer.pick:
            # to ask in pick() which of the two it is would cost each other balancer 5 %
            self.pick = self._pick_known  # type: ignore[method-assign]  # it is that method, faster

    # -- one request ------------------------------------------------------------------------------

    def pick(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Host:
        """The host for one request: ``prefer``, a pin, the client's owner, else the fallback.

        ``prefer`` names the host that a token or an operator says; it holds while that host is up
        or draining. ``exclude`` names the hosts that a retry has tried; a retry writes no pin.
        None, ``""`` and ``b""`` are no client ID. Cost: about 0.25 us with a str client ID, and
        0.3 us and the store's own with pins; O(1) at any pool size.

        Raises ``NoHostsError`` (with who holds which host down), ``InvalidKeyError``, and
        ``ConfigError`` for a client ID where the store of pins must be awaited: ``apick``.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> lb.pick("x").name, lb.pick("x", exclude=["a"]).name, lb.pick("x", prefer="b").name
        ('a', 'b', 'b')
        """
        live = self._live
        if prefer is None and not exclude:
            index = live.index
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
                except UnicodeEncodeError:  # a lone surrogate: the table knows
                    pass
            if client_id is None and live.view is not None:
                return self._choose_fallback(live.view)
        return self._pick(live, client_id, prefer, exclude)

    def lease(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Lease:
        """One request in flight: the host is chosen and counted when the lease is entered.

        As ``pick``, and with a ``load_factor`` the first host of the walk below its bound, but
        for pinned clients. Cost: about 2 us from entering to leaving, under one short lock, and
        1.5 us more with pins. A store that must be awaited is asked by ``async with``.

        >>> lb = LoadBalancer(["a", "b", "c"], load_factor=1.25)
        >>> with lb.lease("x") as one, lb.lease("x") as two:
        ...     (one.host.name, one.reason), (two.host.name, two.reason)
        (('a', 'owner'), ('b', 'overflow'))
        """
        asked = (client_id, prefer, exclude)
        enter_async = None if self._awaited is None else self._enter_async
        return Lease(self._enter, asked, self._ledger, self._failures, enter_async)

    async def apick(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Host:
        """As ``pick``, awaiting the store of pins where it must be awaited. Works with any."""
        if self._awaited is None:
            return self.pick(client_id, prefer=prefer, exclude=exclude)
        return (await self._seat_async(client_id, prefer, exclude, None)).host

    def explain(
        self,
        client_id: Key | None = None,
        *,
        prefer: str | Host | None = None,
        exclude: Iterable[str | Host] = (),
    ) -> Decision:
        """Why ``pick`` would answer as it does, without picking. Cost: about 10 us.

        A plain store of pins is asked; of one that must be awaited give its answer as ``prefer``.

        >>> lb = LoadBalancer(["a", "b", "c"])
        >>> lb.mark_down("a", "reboot")
        >>> print(lb.explain("x"))
        'x', at 1050319643, belongs to a, not a (operator: reboot), goes to b (next)
        """
        gone = as_names(exclude, "exclude") if exclude else NO_NAMES
        known = prefer, None if choosing.anonymous(client_id) else self._pin_of(client_id)
        by_strategy = self._by_strategy and prefer is None and not gone
        return choosing.explained(self._live, client_id, known, gone, by_strategy)

    def load(self, name: str | Host) -> Load:
        """What this process's leases do on one host. Raises ``UnknownHostError``."""
        live = self._live
        changes.member(live.snapshot.members, name_of(name))
        return self._ledger.read(live.cells[name_of(name)])

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
        comers, leavers = as_hosts(add), as_names(remove, "remove")
        with self._lock:
            old, pool = self._live.snapshot, self._pool.fork()
        members = old.members
        for name in sorted(leavers):
            members, _ = changes.unregistered(members, name)
        for name, weight in (weights or {}).items():
            members, _ = changes.reweighted(members, name, as_weight(weight, name))
        for host in comers:
            members, _ = changes.registered(members, host)
        new = pool.advance(old, members)
        movement = Movement(old.usable_table, new.usable_table)
        return Plan(old.hosts, new.hosts, movement, movement.exact)
