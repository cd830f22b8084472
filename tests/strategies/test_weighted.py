"""Do the weighted rotation and the weighted lot give each host its share?"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.hosts import Host
from hashring.strategies import Random, WeightedRandom, WeightedRoundRobin, create, find, names
from tests.strategies.views import CountedView, counts, pool, take


def view_of(weights: list[float]) -> CountedView:
    return CountedView(pool([(f"h{i:02}", weight) for i, weight in enumerate(weights)]))


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=8),
    st.integers(0, 500),
    st.sampled_from([1.0, 10.0, 0.5, 0.1, 0.001]),
    st.randoms(use_true_random=False),
)
def test_any_full_cycle_is_exact(
    whole: list[int], before: int, unit: float, rng: random.Random
) -> None:
    # rounded, so that the weights are the decimals that a person writes
    view = view_of([round(weight * unit, 3) for weight in whole])
    strategy = WeightedRoundRobin(rng=rng)
    take(strategy, view, before)
    common = gcd(*whole)
    expected = {f"h{i:02}": weight // common for i, weight in enumerate(whole)}
    assert counts(take(strategy, view, sum(whole) // common)) == expected


@pytest.mark.parametrize(
    "weights",
    [
        [5, 1, 1],
        [3, 2, 1],
        [100, 1],
        [385, 239, 881, 938, 370, 724, 148],  # with the nearest step: 27 turns off
        [0.007, 0.046, 0.176, 8.715],  # 26 off
        [0.001, 1000],
        [0.1, 0.2, 0.3],
        [1 / 3, 2 / 3, 7 / 11],
        [1, 2**0.5, 3.14159],
    ],
)
def test_at_no_moment_is_a_host_far_from_its_share(weights: list[float]) -> None:
    # 5 is the worst of 28,500 random sets (4.1), rounded up; a lot strays by sqrt(2000/4) = 22
    view = view_of(weights)
    strategy = WeightedRoundRobin(rng=random.Random(9))
    seen: Counter[str] = Counter()
    for turn in range(1, 2001):
        seen[strategy.choose(view).name] += 1
        for host in view.hosts:
            assert abs(seen[host.name] - turn * host.weight / sum(weights)) < 5


def test_five_one_one_in_every_rotation_of_one_order() -> None:
    taken = "".join(take(WeightedRoundRobin(), CountedView(pool({"a": 5, "b": 1, "c": 1})), 7))
    assert taken in "abaacaa" * 2


def test_threads_share_one_exact_weighted_cycle() -> None:
    view = view_of([5, 2.5, 0.5])  # 10, 5, 1: a cycle of 16
    strategy = WeightedRoundRobin()
    with ThreadPoolExecutor(4) as threads:
        parts = threads.map(lambda _: take(strategy, view, 16 * 200), range(4))
    total = sum((Counter(part) for part in parts), Counter())
    assert total == {"h00": 8000, "h01": 4000, "h02": 800}


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0], [0.001, 1000.0]])
@pytest.mark.parametrize("kind", [Random, WeightedRandom])
def test_a_lot_has_the_right_odds(
    kind: type[Random] | type[WeightedRandom], weights: list[float]
) -> None:
    # 20,000 draws stray by at most sqrt(1/4 / 20000) = 0.35 %; 1.8 % is five times that
    draws = 20_000
    seen = Counter(take(kind(rng=random.Random(4)), view_of(weights), draws))
    odds = weights if kind.USES_WEIGHT else [1.0] * len(weights)
    for i, each in enumerate(odds):
        assert seen[f"h{i:02}"] / draws == pytest.approx(each / sum(odds), abs=0.018)


@pytest.mark.parametrize("name", [name for name in names() if find(name).USES_WEIGHT])
def test_a_weight_that_changes_counts_from_the_next_choice(name: str) -> None:
    # The two tuples are equal, for hosts are equal by name, and each is dropped before the next is
    # made, so that the next may get its place in memory. The light host's chance is one in 10^9.
    strategy = create(name, rng=random.Random(3))
    light, heavy = 1e-3, 1e6
    for i in range(200):
        view = CountedView(
            (Host("a", heavy if i % 2 else light), Host("b", light if i % 2 else heavy)),
            {"a": 1, "b": 1},
            {"a": 0.01, "b": 0.01},
        )
        assert strategy.choose(view).weight == heavy
        del view


class Fixed:
    """An rng that always draws one number."""

    def __init__(self, drawn: float) -> None:
        self._drawn = drawn

    def random(self) -> float:
        return self._drawn

    def randrange(self, stop: int, /) -> int:
        return int(self._drawn * stop)


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=30))
def test_the_ends_of_the_rng_are_the_first_and_the_last_host(weights: list[float]) -> None:
    view = view_of(weights)
    for kind in (Random, WeightedRandom):
        assert kind(rng=Fixed(0.0)).choose(view) == view.hosts[0]
        assert kind(rng=Fixed(1 - 2**-53)).choose(view) == view.hosts[-1]
