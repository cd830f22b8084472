"""Loads are exact after any order of starts, ends, retries, cancels and interrupts of threads."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

import pytest

from hashring.balancer import Lease, LoadBalancer
from hashring.errors import HashringError
from tests.balancer.test_interrupts import PACKAGE, in_finalizer
from tests.threads.test_balancer_threads import together

HOSTS = ("a", "b", "c", "d")
TURNS = 1_500


class InterruptedByTestError(Exception):
    """What the signal handler raises."""


def lease(lb: LoadBalancer, chance: random.Random, **more: Any) -> Lease:
    cost = chance.choice([None, 0.0, chance.expovariate(0.001)])
    return lb.lease(f"client-{chance.randrange(40)}", cost=cost, group="g", **more)


def use(lb: LoadBalancer, chance: random.Random, elsewhere: SimpleQueue[Lease]) -> None:
    """One request in one of the ways in which requests begin and end."""
    way = chance.randrange(6)
    if way == 0:  # a retry on another host, which may not exist
        with lease(lb, chance) as first, lease(lb, chance, exclude=[first.host]) as second:
            second.started()
            first.failed("refused")
    elif way == 1:  # an error, after the response has begun or before
        with lease(lb, chance) as failing:
            if chance.random() < 0.5:
                failing.started()
            raise OSError("reset")
    elif way == 2:  # ended by another thread, and twice
        elsewhere.put(lease(lb, chance).acquire())
        try:
            other = elsewhere.get_nowait()
        except Empty:
            return
        other.started()
        other.release()
        other.release()
    elif way == 3:  # forgotten: it ends when it is collected
        lease(lb, chance).acquire()
    elif way == 4:  # withdrawn, and begun again
        again = lease(lb, chance).acquire()
        again.withdraw()
        again.acquire()
        again.release()
    else:
        with lease(lb, chance) as plain:
            for _ in range(chance.randrange(3)):
                plain.started()


def serve(lb: LoadBalancer, elsewhere: SimpleQueue[Lease], seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(TURNS):
        try:
            use(lb, chance, elsewhere)
        except (OSError, HashringError, LookupError):  # its own, or no host is left
            continue


def cancel(lb: LoadBalancer) -> None:
    async def request(number: int) -> None:
        async with lb.lease(number, cost=number):
            await asyncio.sleep(0.001 * (number % 3))

    async def main() -> None:
        for turn in range(TURNS // 20):
            tasks = [asyncio.create_task(request(number)) for number in range(10)]
            await asyncio.sleep(0.0005 * (turn % 4))
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def change(lb: LoadBalancer, seed: int) -> None:
    chance = random.Random(seed)
    acts: list[Callable[[str], object]] = [
        lambda name: lb.mark_down(name, "x"),
        lb.mark_up,
        lb.drain,
        lb.resume,
        lambda name: lb.set_weight(name, chance.choice([0.5, 1.0, 2.0])),
        lb.unregister,
        lb.register,
        lambda name: lb.set_hosts([*HOSTS]),
    ]
    for _ in range(TURNS // 4):
        try:
            chance.choice(acts)(chance.choice(HOSTS))
        except HashringError:  # not a member, or one already
            continue
    lb.set_hosts([*HOSTS])
    for name in HOSTS:
        lb.mark_up(name)
        lb.resume(name)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.filterwarnings("ignore:a lease on .* was not released:ResourceWarning")
@pytest.mark.parametrize("patience", [None, 1.0])
def test_loads_are_0_when_nothing_is_open(patience: float | None) -> None:
    lb = LoadBalancer.sticky_by_load(HOSTS, patience=patience)
    elsewhere: SimpleQueue[Lease] = SimpleQueue()
    together(*(partial(serve, lb, elsewhere, seed) for seed in range(3)), partial(cancel, lb),
             partial(change, lb, 9))  # fmt: skip

    def interrupt(_: int, frame: FrameType | None) -> None:
        inside = frame is not None and frame.f_code.co_filename.startswith(PACKAGE)
        if inside and frame is not None and not in_finalizer(frame):
            raise InterruptedByTestError

    before = signal.signal(signal.SIGALRM, interrupt)
    chance, interrupts = random.Random(5), 0
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while interrupts < 200:
            try:
                use(lb, chance, elsewhere)
            except InterruptedByTestError:
                interrupts += 1
            except (OSError, HashringError):
                continue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    while not elsewhere.empty():
        elsewhere.get().release()
    gc.collect()
    loads = [lb.load(name) for name in HOSTS]
    assert [(load.in_flight, load.pending, load.outstanding) for load in loads] == [(0, 0, 0.0)] * 4
    assert lb._tracker.in_flight == 0
    with lb.lease("a new client") as last:
        assert lb.load(last.host).in_flight == 1
