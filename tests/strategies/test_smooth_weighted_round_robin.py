"""Is it nginx's order, and fair while hosts come and go?"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.strategies import SmoothWeightedRoundRobin
from tests.strategies.views import CountedView, counts, pool, take


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ({"a": 5, "b": 1, "c": 1}, "aabacaa"),  # the example of nginx's own change log
        ({"a": 0.5, "b": 0.125, "c": 0.125}, "aabaca"),
        ({"a": 1, "b": 2, "c": 3}, "cbacbc"),
        ({"a": 1, "b": 1, "c": 1}, "abc"),
        ({"a": 2, "b": 1}, "aba"),
        ({"a": 1e308, "b": 1e308, "c": 1e308}, "abc"),  # their sum is no float
    ],
)
def test_the_order_is_nginx_s(weights: dict[str, float], order: str) -> None:
    taken = take(SmoothWeightedRoundRobin(), CountedView(pool(weights)), 2 * len(order))
    assert "".join(taken) == 2 * order


@given(st.lists(st.integers(1, 60), min_size=2, max_size=8), st.integers(0, 3))
def test_each_cycle_of_whole_weights_is_exact(whole: list[int], cycles: int) -> None:
    weights = {f"h{i}": weight for i, weight in enumerate(whole)}
    view = CountedView(pool(weights))
    strategy = SmoothWeightedRoundRobin()
    take(strategy, view, cycles * sum(whole))
    assert counts(take(strategy, view, sum(whole))) == weights


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=8))
def test_no_host_is_ever_a_full_turn_ahead(weights: list[float]) -> None:
    view = CountedView(pool([(f"h{i}", weight) for i, weight in enumerate(weights)]))
    strategy = SmoothWeightedRoundRobin()
    seen: Counter[str] = Counter()
    for turn in range(1, 201):
        name = strategy.choose(view).name
        seen[name] += 1
        share = weights[int(name[1:])] / sum(weights)
        assert seen[name] - turn * share < 1 + 1e-9  # 200 roundings of 2^-53 are far below


def test_hosts_that_stay_keep_their_credit() -> None:
    strategy = SmoothWeightedRoundRobin()
    assert take(strategy, CountedView(pool(["a", "b", "c"])), 1) == ["a"]
    # a has had its turn: a newcomer does not start the rotation anew
    assert "a" not in take(strategy, CountedView(pool(["a", "b", "c", "d"])), 3)


@pytest.mark.parametrize(
    ("weights", "flapping"),
    [({"a": 5, "b": 1, "c": 1}, "c"), ({"a": 5, "b": 4, "c": 3, "d": 1}, "d")],
)
def test_a_flapping_host_waits_no_longer_than_a_cycle(
    weights: dict[str, float], flapping: str
) -> None:
    strategy = SmoothWeightedRoundRobin()
    every = CountedView(pool(weights))
    rest = CountedView(tuple(host for host in every.hosts if host.name != flapping))
    for _ in range(300):
        turns = 1
        while strategy.choose(every).name != flapping:
            turns += 1
        assert turns <= sum(weights.values())
        strategy.choose(rest)  # it is away for one request


def test_threads_lose_no_turn() -> None:
    view = CountedView(pool({"a": 5, "b": 1, "c": 1}))
    strategy = SmoothWeightedRoundRobin()
    with ThreadPoolExecutor(4) as threads:
        parts = threads.map(lambda _: take(strategy, view, 7 * 300), range(4))
    total = sum((Counter(part) for part in parts), Counter())
    assert total == {"a": 6000, "b": 1200, "c": 1200}
