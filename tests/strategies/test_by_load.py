"""Do the strategies that look at load and latency take the host that they should?"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.hosts import Host
from hashring.strategies import LeastConnections, PeakEwma, PowerOfTwoChoices
from tests.strategies.views import CountedView, pool, take

PAIR = pool(["a", "b"])


def chosen_of_two(
    in_flight: dict[str, int], latency: dict[str, float], hosts: tuple[Host, ...] = PAIR
) -> set[str]:
    """With two hosts the pair is always both, so that the cheaper one wins each time."""
    return set(take(PeakEwma(), CountedView(hosts, in_flight, latency), 30))


class InOrder(CountedView):
    """A view that has an order of its own."""

    def least_loaded(self) -> Host:
        return self.hosts[-1]


def test_least_connections_asks_the_view_and_scans_nothing() -> None:
    view = InOrder(pool(["a", "b", "c"]), {"c": 9})
    assert take(LeastConnections(), view, 3) == ["c", "c", "c"]


def test_least_connections_divides_by_weight() -> None:
    view = CountedView(pool([("a", 1), ("b", 4)]), {"a": 1, "b": 3})
    assert LeastConnections().choose(view).name == "b"


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([0.5, 1.0, 2.0])), min_size=2, max_size=9
    ),
    st.randoms(use_true_random=False),
)
def test_two_choices_never_take_the_one_most_loaded_host(
    states: list[tuple[int, float]], rng: random.Random
) -> None:
    hosts = pool([(f"h{i}", weight) for i, (_, weight) in enumerate(states)])
    loads = {f"h{i}": load for i, (load, _) in enumerate(states)}
    relative = {host.name: loads[host.name] / host.weight for host in hosts}
    most = max(relative.values())
    taken = take(PowerOfTwoChoices(rng=rng), CountedView(hosts, loads), 50)
    if list(relative.values()).count(most) == 1:
        assert all(relative[name] < most for name in taken)


def test_every_pair_is_as_likely_as_any() -> None:
    # of the 6 pairs of 4 hosts, the host of rank r is the better one in 3 - r;
    # 12,000 draws stray by at most sqrt(1/4 / 12000) = 0.46 %; 2.3 % is five times that
    draws = 12_000
    view = CountedView(pool("abcd"[i] for i in range(4)), {"a": 2, "b": 0, "c": 3, "d": 1})
    seen = Counter(take(PowerOfTwoChoices(rng=random.Random(6)), view, draws))
    for rank, name in enumerate("bdac"):
        assert seen[name] / draws == pytest.approx((3 - rank) / 6, abs=0.023)
    assert seen["c"] == 0


@pytest.mark.parametrize("kind", [PowerOfTwoChoices, PeakEwma])
@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_equal_costs_are_settled_in_proportion_to_the_weights(
    kind: type[PowerOfTwoChoices] | type[PeakEwma], weight: float
) -> None:
    # 12,000 draws, five times sqrt(1/4 / 12000)
    view = CountedView(pool([("a", weight), ("b", 1)]))
    seen = Counter(take(kind(rng=random.Random(8)), view, 12_000))
    assert seen["a"] / 12_000 == pytest.approx(weight / (weight + 1), abs=0.023)


def test_peak_ewma_takes_the_lower_latency() -> None:
    assert chosen_of_two({}, {"a": 0.02, "b": 0.01}) == {"b"}


def test_peak_ewma_counts_the_request_that_is_to_come() -> None:
    assert chosen_of_two({"b": 1}, {"a": 0.019, "b": 0.01}) == {"a"}
    assert chosen_of_two({"b": 1}, {"a": 0.021, "b": 0.01}) == {"b"}


def test_peak_ewma_divides_by_weight() -> None:
    assert chosen_of_two({}, {"a": 0.03, "b": 0.01}, pool([("a", 4), ("b", 1)])) == {"a"}


def test_peak_ewma_tries_an_idle_host_that_never_answered() -> None:
    assert chosen_of_two({}, {"a": 1e-6}) == {"b"}


def test_peak_ewma_waits_for_the_first_answer() -> None:
    assert chosen_of_two({"b": 1}, {"a": 3600.0}) == {"a"}
    assert chosen_of_two({"a": 500, "b": 1}, {"a": 60.0}) == {"a"}


def test_peak_ewma_of_two_unproven_takes_the_less_busy() -> None:
    assert chosen_of_two({"a": 2, "b": 1}, {}) == {"b"}
    assert chosen_of_two({"a": 2, "b": 1}, {}, pool([("a", 4), ("b", 1)])) == {"a"}
