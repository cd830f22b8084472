"""Does this source keep the contract?  ``check_discovery`` changes its world and watches it."""

from __future__ import annotations

import asyncio
import itertools

from hashring.balancer import LoadBalancer
from hashring.discovery import Discovery, Notice, Source
from hashring.errors import DiscoveryError
from hashring.testing._world import Trial, World, describe_hosts, descriptors, settle, watching

WITHIN = 15.0
"""Seconds that a law may wait for what must come: more than any source's silence, heartbeat and
backoff together. A law that holds is quicker; nothing is judged by how quick."""

_BURST = 5  # rounds of three changes without a wait
_HELD = 4  # hosts before the fall to one, which is less than half
_CANCELLED_AFTER = (0.0, *(n * n / 1000 for n in range(1, 18)))  # seconds, to 0.3: most are early
_AWAY = 0.3  # seconds a stopped source is watched: some retries


def check_discovery(world: World, *, within: float = WITHIN) -> None:
    """Check that ``world.source()`` keeps the contract of ``hashring.discovery.Source``.

    The full state comes first; no change is lost, repeated or out of order; a source
    that died is read again, and until then the last good pool serves; an answer without most of
    the hosts is held; cancelling leaves no task and no socket. ``within`` is how many seconds a law
    waits for what must come. Leaves in the world whatever the last law put there.

    Cost: seconds, as quick as the source is. Raises ``AssertionError`` that names the law.

    >>> from hashring.hosts import Host
    >>> from hashring.discovery.static import StaticSource
    >>> class Typed:
    ...     names, can_change, can_stop = (), False, False
    ...     def source(self): return StaticSource(["a", "b"])
    ...     def hosts(self): return [Host("a"), Host("b")]
    >>> check_discovery(Typed())
    """
    laws = [_full_state_first, _cancel]
    if world.can_change:
        laws += [_no_lost_change, _order, _hold_back]
    if world.can_change and world.can_stop:
        laws.append(_recovery)
    for law in laws:
        asyncio.run(law(Trial(world, law.__name__.strip("_"), within)))


async def _full_state_first(trial: Trial) -> None:
    if trial.world.can_change:
        await trial.reset(3)
    for _ in range(2):  # each watch() reads from the beginning
        async with watching(trial.world.source()) as memberships:
            first = await trial.next(memberships)
            if wrong := trial.differs(first.hosts):
                trial.fail(f"at first {wrong}")


async def _no_lost_change(trial: Trial) -> None:
    world = trial.world
    await trial.reset(3)
    one, two, three, four = world.names[:4]
    async with watching(world.source()) as memberships:
        await trial.settles(memberships)
        await trial.do(world.put, four, 2)
        await trial.settles(memberships)
        await trial.do(world.remove, two)
        await trial.settles(memberships)
        for number in range(_BURST):  # without a wait
            await trial.do(world.put, one, 10 + number)
            await trial.do(world.put, three, 10 + number)
            await trial.do(world.remove, three)
        await trial.do(world.put, two, 1)  # so that the end differs from the beginning
        await trial.settles(memberships)


async def _order(trial: Trial) -> None:
    """Hosts come one after the other: a membership may leave steps out, but never goes back."""
    await trial.reset(1)
    async with watching(trial.world.source()) as memberships:
        told = (await trial.settles(memberships))[-1:]
        adding = asyncio.create_task(_add(trial))
        while len(told[-1].hosts) < len(trial.world.names):
            told.append(await trial.next(memberships))
        await adding
    sizes = [len(membership.hosts) for membership in told]
    if any(after <= before for before, after in itertools.pairwise(sizes)):
        trial.fail(f"hosts were added one by one, and it returned pools of {sizes}")
    for membership in told:
        names, wanted = {host.name for host in membership.hosts}, len(membership.hosts)
        if names != set(trial.world.names[:wanted]):
            trial.fail(f"{sorted(names)} was never all there was")


async def _add(trial: Trial) -> None:
    for name in trial.world.names[1:]:
        await trial.do(trial.world.put, name, 1)


async def _hold_back(trial: Trial) -> None:
    await trial.reset(_HELD)
    lb, notices = LoadBalancer(), list[Notice]()
    async with Discovery(trial.world.source(), lb, hold=1000.0, wait=trial.within) as discovery:
        discovery.subscribe(notices.append)
        await trial.until(lambda: not trial.differs(lb.hosts), lambda: trial.differs(lb.hosts))
        before = lb.hosts
        for name in trial.world.names[1:_HELD]:
            await trial.do(trial.world.remove, name)
        await trial.until(lambda: discovery.held is not None, lambda: f"no notice of {notices}")
        if len(lb.hosts) * 2 < len(before):
            trial.fail(
                f"a fall to {len(lb.hosts)} of {len(before)} hosts was accepted without a hold"
            )
        for name in trial.world.names[1:_HELD]:
            await trial.do(trial.world.put, name, 1)
        await trial.until(
            lambda: discovery.held is None and not trial.differs(lb.hosts),
            lambda: f"{discovery.held} is held, {trial.differs(lb.hosts)}",
        )


async def _recovery(trial: Trial) -> None:
    await trial.reset(3)
    world, lb = trial.world, LoadBalancer()
    async with Discovery(world.source(), lb, wait=trial.within) as discovery:
        await trial.until(lambda: not trial.differs(lb.hosts), lambda: trial.differs(lb.hosts))
        before = lb.hosts
        await trial.do(world.stop)
        try:
            await trial.until(
                lambda: discovery.last_error is not None, lambda: "its death is unseen"
            )
            await asyncio.sleep(_AWAY)
            lb.pick("a client")
            if describe_hosts(lb.hosts) != describe_hosts(before):
                trial.fail(f"while it was down, the pool became {lb.hosts}")
        finally:
            await trial.do(world.start)
        await trial.do(world.put, world.names[3], 1)
        await trial.until(lambda: not trial.differs(lb.hosts), lambda: trial.differs(lb.hosts))
        await trial.until(lambda: discovery.last_error is None, lambda: discovery.last_error)


async def _cancel(trial: Trial) -> None:
    """At any step of a watch: before its first answer, and while it waits for the second."""
    async with watching(trial.world.source()) as memberships:
        await trial.next(memberships)  # what is made once (threads, contexts) is made now
    await settle()
    tasks, sockets = asyncio.all_tasks(), descriptors()
    for wait in _CANCELLED_AFTER:
        running = asyncio.create_task(_watch(trial.world.source()))
        await asyncio.sleep(wait)
        running.cancel()
        await asyncio.wait((running,), timeout=trial.within)
        if not running.done():
            trial.fail(f"cancelled after {wait:g} s, it went on for {trial.within:g} s")
        await settle()
        if left := asyncio.all_tasks() - tasks:
            trial.fail(f"cancelled after {wait:g} s, it left the tasks {left}")
        await trial.until(
            lambda: descriptors() <= sockets,
            lambda: f"it left {descriptors() - sockets} file descriptors open",
        )


async def _watch(source: Source) -> None:
    async with watching(source) as memberships:
        try:
            async for _ in memberships:
                pass
        except DiscoveryError:
            await asyncio.Event().wait()  # the cancellation is what is tested
