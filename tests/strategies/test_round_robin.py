"""Is the rotation exact, also under threads, and out of step after a fork?"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import LoadBalancer
from hashring.locks import GUARD
from hashring.strategies import (
    RoundRobin,
    SmoothWeightedRoundRobin,
    Strategy,
    WeightedRoundRobin,
)
from tests.strategies.views import CountedView, counts, pool, take

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
MANY = CountedView(pool([f"h{i:02}" for i in range(64)]))


def view_of(n: int) -> CountedView:
    return CountedView(pool([f"h{i:02}" for i in range(n)]))


def in_child(task: Callable[[], str]) -> str:
    """What ``task`` answers in a forked worker; empty if it dies or hangs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # ends a child that waits for a lock that nobody frees
            os.write(writer, task().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@given(
    st.integers(1, 40), st.integers(0, 100), st.integers(1, 3), st.randoms(use_true_random=False)
)
def test_each_host_comes_exactly_k_times_in_any_k_rounds(
    n: int, before: int, k: int, rng: random.Random
) -> None:
    view = view_of(n)
    strategy = RoundRobin(rng=rng)
    take(strategy, view, before)
    assert counts(take(strategy, view, k * n)) == {host.name: k for host in view.hosts}


def test_the_order_is_that_of_the_view() -> None:
    taken = take(RoundRobin(rng=random.Random(1)), view_of(5), 11)
    order = [host.name for host in view_of(5).hosts]
    start = order.index(taken[0])
    assert taken == [order[(start + i) % 5] for i in range(11)]


def test_it_starts_anywhere() -> None:
    # 400 starts miss one of 8 hosts with a chance of 8 * (7/8)^400 < 10^-22
    assert {RoundRobin().choose(view_of(8)).name for _ in range(400)} == {
        host.name for host in view_of(8).hosts
    }


@pytest.mark.parametrize("kind", [RoundRobin, WeightedRoundRobin])
def test_threads_share_one_exact_rotation(kind: type[Strategy]) -> None:
    view = view_of(7)
    strategy = kind()
    with ThreadPoolExecutor(4) as threads:
        parts = threads.map(lambda _: take(strategy, view, 7 * 500), range(4))
    total = sum((Counter(part) for part in parts), Counter())
    assert total == {host.name: 4 * 500 for host in view.hosts}


@pytest.mark.parametrize("kind", [RoundRobin, WeightedRoundRobin, SmoothWeightedRoundRobin])
def test_a_retry_does_not_make_the_failing_host_first(
    kind: type[Strategy],
) -> None:
    both, rest = view_of(2), CountedView(view_of(2).hosts[1:])
    strategy = kind()
    first = []
    for _ in range(10):
        first.append(strategy.choose(both).name)
        if first[-1] == "h00":
            strategy.choose(rest)
    assert counts(first) == {"h00": 5, "h01": 5}


@pytest.mark.parametrize("kind", [RoundRobin, WeightedRoundRobin, SmoothWeightedRoundRobin])
@pytest.mark.parametrize("n", [3, 4, 5])
def test_retries_neither_shift_first_tries_nor_favour_a_host(kind: type[Strategy], n: int) -> None:
    lb = LoadBalancer([host.name for host in view_of(n).hosts], fallback=kind())
    first, served = Counter[str](), Counter[str]()
    rounds = n * (n - 1) * 20
    for _ in range(rounds):
        host = lb.pick()
        first[host.name] += 1
        if host.name == "h00":
            host = lb.pick(exclude=[host])
        served[host.name] += 1
    assert first["h00"] == rounds / n
    assert set(served.values()) == {rounds // (n - 1)}


def test_many_sets_of_excluded_hosts_are_not_remembered_for_ever() -> None:
    strategy = RoundRobin()
    hosts = view_of(16).hosts
    for a, b in combinations(hosts, 2):
        left = tuple(host for host in hosts if host not in (a, b))
        assert strategy.choose(CountedView(left, excluded=[a.name, b.name])) in left
    assert len(strategy._apart) <= 64


@needs_fork
@pytest.mark.parametrize("kind", [RoundRobin, WeightedRoundRobin])
def test_forked_workers_leave_the_step(kind: type[Strategy]) -> None:
    strategy = kind()
    strategy.choose(MANY)
    # six workers agree by luck with a chance of 64^-5 = 10^-9
    assert len({in_child(lambda: strategy.choose(MANY).name) for _ in range(6)}) > 1


@needs_fork
def test_a_forked_worker_with_a_given_rng_repeats_its_run() -> None:
    strategy, twin = RoundRobin(rng=random.Random(5)), RoundRobin(rng=random.Random(5))
    assert in_child(lambda: strategy.choose(MANY).name) == twin.choose(MANY).name


@needs_fork
def test_a_forked_worker_does_not_inherit_a_held_lock() -> None:
    strategy = SmoothWeightedRoundRobin()
    with GUARD.lock:
        assert in_child(lambda: strategy.choose(MANY).name) == "h00"
