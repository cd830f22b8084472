"""Who probes whom, when?  One task for each host, one that publishes, all in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hashring.balancer import Event, LoadBalancer
from hashring.health.probe_state import HealthChange
from hashring.health.probes import Probe, Void, ask
from hashring.health.table import HealthTable, Marks, apply_marks
from hashring.hosts import Host
from hashring.listeners import Listeners
from hashring.load import UnreachableReason
from hashring.locks import GUARD
from hashring.strategies import Rng

_log = logging.getLogger("hashring")

_BAD_NEWS = frozenset({"down", "ejected", "lost", "panic"})
_RENEWING = frozenset({"register", "unregister", "replace"})


class ProbeRunner:
    """Probes the hosts of ``lb`` and listens to its leases, from ``run``'s beginning to its end.

    ``listeners`` are called with each change, in the event loop's thread. Only the counting of a
    lease's outcome happens elsewhere, in the thread that ends the lease, under one short lock.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        probe: Probe,
        table: HealthTable,
        clock: Callable[[], float],
        rng: Rng,
    ) -> None:
        self._lb, self._probe, self._table = lb, probe, table
        self._clock, self._rng = clock, rng
        self.listeners: Listeners[HealthChange] = Listeners()
        self.forked = False  # in a child process, which has these objects but not this loop
        self._hosts: dict[str, Host] = {}  # who is probed, as they are now
        self._probers: dict[str, asyncio.Task[None]] = {}
        self._renewed: deque[str] = deque()
        self._changes: deque[HealthChange] = deque()  # changes that listeners have not heard
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._marker = ThreadPoolExecutor(1, "hashring health marks")  # starts no thread yet

    async def run(self, started: Callable[[], object]) -> None:
        """Watch until cancelled; ``started`` is called when every host has its prober."""
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        ends = [self._lb.subscribe(self._on_change), self._lb.on_outcome(self._heard)]
        try:
            self._follow()
            started()
            while True:
                self._news.clear()
                self._follow()
                await self._publish()
                await self._pause()
        except Exception:
            _log.exception("the health monitor ends by a fault and takes its marks back")
            raise
        finally:
            for end in ends:
                end()
            self._loop = None
            await self._stop()

    # -- what is heard from outside, by any thread ------------------------------------------------

    def _on_change(self, event: Event) -> None:
        if self.forked:
            return
        if event.kind in _RENEWING:
            self._renewed.append(event.host.name)
        self._wake()

    def _heard(self, host: Host, failed: bool, why: str | None, took: float) -> None:
        table = self._table
        if self.forked or not (failed or host.name in table.suspects):
            return  # the way of nearly every request
        now = self._clock()
        changes = GUARD.run(
            table.record_response,
            host.name,
            (why or "failed") if failed else None,
            now - took,
            now,
            unreachable=isinstance(why, UnreachableReason),
        )
        if changes:
            self._changes.extend(changes)
            self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # closed between the look and the call
                loop.call_soon_threadsafe(self._news.set)

    # -- what happens in the loop -----------------------------------------------------------------

    def _follow(self) -> None:
        """A prober for each host that is in, none for others, a new one for another machine."""
        renewed = {self._renewed.popleft() for _ in range(len(self._renewed))}
        members = self._lb.snapshot.members
        for name, host in list(self._hosts.items()):
            if name not in members or members[name].host.address != host.address:
                renewed.add(name)
            if name in renewed:
                del self._hosts[name]
                self._probers.pop(name).cancel()
        self._changes.extend(GUARD.run(self._table.follow, members, self._clock(), renewed))
        for name, member in members.items():
            self._hosts[name] = member.host  # its weight and meta may be new
            if name not in self._probers:
                prober = self._probe_on(name)
                self._probers[name] = asyncio.create_task(prober, name=f"probe {name}")

    async def _probe_on(self, name: str) -> None:
        """Probe a host for as long as it is in.

        The first probe comes soon, and the second at a random moment of the interval: so the
        probes of a thousand hosts that came together are spread over it.
        """
        table, rules = self._table, self._table.rules
        wait, spread = rules.fast * self._rng.random(), self._rng.random()
        while True:
            await asyncio.sleep(wait)
            began = self._clock()
            try:
                why = await ask(self._probe, self._hosts[name], rules.timeout)
            except Void as void:
                if not table.stats["probes_void"]:  # once: it will not be the only one
                    _log.warning("a probe of %s could not be made: %s", name, void)
                table.stats["probes_void"] += 1
            else:
                now = self._clock()
                changes = GUARD.run(table.record_probe, name, why, began, now)
                if changes:
                    self._changes.extend(changes)
                    self._news.set()
            delay = rules.delay(table.health[name], self._rng.random()) * spread
            wait, spread = max(0.0, began + delay - self._clock()), 1.0

    async def _publish(self) -> None:
        """Apply the marks to the pool, then notify the listeners."""
        # drained first: changes that arrive meanwhile are in the next round
        earlier = [self._changes.popleft() for _ in range(len(self._changes))]
        marks, changes = GUARD.run(self._table.settle, self._clock())
        await self._put(marks)
        for change in (*earlier, *changes):
            self._notify(change)

    async def _put(self, marks: Marks) -> None:
        """Make ``marks`` ours in the pool, all in one snapshot.

        In a thread: a pool of 1,000 hosts with half of them away takes seconds to build, in which
        the event loop must go on; what changes meanwhile is in the next snapshot. In one of its
        own: those of the loop may all be waiting for the names or the answers of hosts that hang.
        """
        addresses = {name: host.address for name, host in self._hosts.items()}
        if not apply_marks(self._lb.snapshot.members, marks, addresses)[1]:
            return
        # host by host, by the public calls, each would be a snapshot of its own
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._marker, self._lb.apply, apply_marks, marks, addresses)
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await job  # what is begun must end before the marks are taken back
            raise

    async def _pause(self) -> None:
        """Wait for news, or for the end of the next ejection."""
        due = GUARD.run(self._table.due)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._news.wait()

    def _notify(self, change: HealthChange) -> None:
        level = logging.WARNING if change.kind in _BAD_NEWS else logging.INFO
        _log.log(level, "health: %s", change)
        self.listeners.notify(change)

    async def _stop(self) -> None:
        """End the probers and release every host that this monitor holds down."""
        for prober in self._probers.values():
            prober.cancel()
        await asyncio.gather(*self._probers.values(), return_exceptions=True)
        try:
            await self._put(Marks({}, {}))
        finally:
            self._marker.shutdown(wait=False)
