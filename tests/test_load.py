"""Is the load counted and ordered rightly?  Beside brute force, with a clock that a test moves."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.balancer import Lease, LoadBalancer
from hashring.load import DECAY, decay_latency, peak_ewma
from hashring.strategies import LeastConnections, PeakEwma, View
from hashring.testing import FakeClock
from tests.balancer.rig import balancer, open_lease

NAMES = ("a", "b", "c", "d", "e", "f")
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 4.0])
SECONDS = st.floats(0, 1e4, allow_nan=False)


# -- the least loaded -----------------------------------------------------------------------------


@given(
    weights=st.dictionaries(st.sampled_from(NAMES), WEIGHTS, min_size=1),
    data=st.data(),
)
def test_the_least_loaded_equals_brute_force(  # noqa: C901  # one branch for each act
    weights: dict[str, float], data: st.DataObject
) -> None:
    lb = balancer(weights, fallback=LeastConnections())
    weights, down = dict(weights), set[str]()
    leases: list[Lease] = []
    acts = ["anonymous"] * 5 + ["sticky", "pick", "release", "release", "down", "up", "weight"]
    for act in data.draw(st.lists(st.sampled_from([*acts, "come", "go", "replace"]), max_size=50)):
        load = {name: lb.load(name).in_flight for name in weights}
        name = data.draw(st.sampled_from(NAMES))
        exclude = data.draw(st.sets(st.sampled_from(NAMES), max_size=2))
        left = [n for n in weights if n not in down | exclude]
        if act in ("anonymous", "pick") and left:
            least = min(load[n] / weights[n] for n in left)
            if act == "pick":
                host = lb.pick(exclude=exclude)
            else:
                leases.append(lb.lease(exclude=exclude).acquire())
                host = leases[-1].host
            assert host.name in left
            assert load[host.name] / weights[host.name] == least
        elif act == "sticky" and name in weights and name not in down:
            leases.append(lb.lease("x", prefer=name).acquire())
        elif act == "release" and leases:
            leases.pop(data.draw(st.integers(0, len(leases) - 1))).release()
        elif act == "come" and name not in weights:
            weights[name] = data.draw(WEIGHTS)
            lb.register(name, weight=weights[name])
        elif name in weights and act == "down":
            lb.mark_down(name, "x")
            down.add(name)
        elif name in weights and act == "up":
            lb.mark_up(name)
            down.discard(name)
        elif name in weights and act == "weight":
            weights[name] = data.draw(WEIGHTS)
            lb.set_weight(name, weights[name])
        elif name in weights and act == "replace":
            lb.replace(name, address=f"{name}:{len(leases)}")
        elif name in weights and act == "go" and len(weights) > 1:
            lb.unregister(name)
            del weights[name]
            down.discard(name)


@given(st.integers(1, 9), st.integers(0, 30), st.sets(st.sampled_from(NAMES), max_size=3))
def test_equals_come_in_rotation(n: int, before: int, exclude: set[str]) -> None:
    names = [f"web{i}" for i in range(n)]
    lb = LoadBalancer(names, placement=None, fallback=LeastConnections())
    for _ in range(before):
        lb.pick(exclude=exclude)
    assert sorted(lb.pick().name for _ in range(3 * n)) == sorted(names * 3)
    for _ in range(2):
        with lb.lease(), lb.lease():
            pass
    assert sorted(open_lease(lb).host.name for _ in range(n)) == sorted(names)


def test_a_rotation_goes_on_when_another_host_goes_down() -> None:
    lb = LoadBalancer(NAMES, placement=None, fallback=LeastConnections())
    first = [lb.pick().name for _ in range(3)]
    away = next(name for name in NAMES if name not in first)
    lb.mark_down(away, "x")
    rest = [lb.pick().name for _ in range(2)]
    assert not set(rest) & {*first, away}


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_retry_without_a_host_does_not_make_it_next(n: int) -> None:
    lb = LoadBalancer(NAMES[:n], placement=None, fallback=LeastConnections())
    first_tries = set()
    for _ in range(4 * n):
        first_tries.add(first := lb.pick())
        assert lb.pick(exclude=[first]) != first
    assert len(first_tries) > 1


def test_sticky_leases_feed_the_order() -> None:
    lb = balancer(["a", "b", "c"], fallback=LeastConnections())
    held = [lb.lease("x", prefer=name).acquire() for name in ("a", "a", "b", "c", "c")]
    assert open_lease(lb).host.name == "b"
    for lease in held[:2]:
        lease.release()
    assert open_lease(lb).host.name == "a"


def test_in_flight_is_divided_by_weight() -> None:
    lb = balancer({"small": 1, "large": 3}, fallback=LeastConnections())
    served = Counter(open_lease(lb).host.name for _ in range(40))
    assert served == {"small": 10, "large": 30}


def order_size(lb: LoadBalancer) -> int:
    order = lb._tracker._by_count
    return len(order.entries) if order else 0


def test_the_order_does_not_grow_with_the_leases() -> None:
    lb = balancer(NAMES, fallback=LeastConnections())
    lb.pick()
    most = 0
    held = [lb.lease().acquire() for _ in range(10)]
    for i in range(100_000):
        with lb.lease("x", prefer=NAMES[i % len(NAMES)]):
            pass
        most = max(most, order_size(lb))
    assert most <= 2 * len(NAMES) + 100
    with lb.lease(exclude=["a"]):
        lb.pick(exclude=["b", "c"])
    assert order_size(lb) <= 2 * len(NAMES) + 100
    for lease in held:
        lease.release()
    assert [lb.load(name).in_flight for name in NAMES] == [0] * len(NAMES)


def test_a_view_shows_the_load_of_every_lease() -> None:
    seen: list[dict[str, int]] = []

    def first(view: View) -> object:
        seen.append({host.name: view.in_flight(host) for host in view.hosts})
        return view.hosts[0]

    lb = balancer(["a", "b"], fallback=first)
    with lb.lease("x", prefer="b"), lb.lease("y", prefer="b"), lb.lease():
        lb.pick()
    lb.pick()
    assert seen == [{"a": 0, "b": 2}, {"a": 1, "b": 2}, {"a": 0, "b": 0}]


# -- latency --------------------------------------------------------------------------------------


@given(SECONDS, SECONDS)
def test_a_latency_decays_to_nothing_and_never_rises(latency: float, age: float) -> None:
    later = decay_latency(latency, age)
    assert later == pytest.approx(latency * math.exp(-age / DECAY))
    assert 0 <= later <= latency
    assert decay_latency(latency, -age) == latency  # a clock that stands or errs adds nothing


@given(SECONDS, SECONDS, SECONDS)
def test_a_peak_counts_immediately_and_a_quick_answer_gradually(
    latency: float, age: float, seconds: float
) -> None:
    after = peak_ewma(latency, age, seconds)
    if seconds >= latency:
        assert after == seconds
    else:
        keep = math.exp(-age / DECAY)
        assert after == pytest.approx(keep * latency + (1 - keep) * seconds)
        # to within the rounding of one sum
        assert seconds * (1 - 1e-12) <= after <= latency * (1 + 1e-12)


def take(
    lb: LoadBalancer, clock: FakeClock, name: str, seconds: float, fails: bool = False
) -> None:
    lease = lb.lease("x", prefer=name).acquire()
    clock.advance(seconds)
    lease.failed("refused") if fails else lease.ok()
    lease.release()


def test_the_latency_of_a_host_follows_its_answers() -> None:
    clock = FakeClock()
    lb = balancer(["a", "b"], clock=clock)
    take(lb, clock, "a", 2.0)
    assert lb.load("a").latency == 2.0
    clock.advance(DECAY)
    assert lb.load("a").latency == pytest.approx(2.0 / math.e)
    take(lb, clock, "a", 0.0)
    assert lb.load("a").latency == pytest.approx(2.0 / math.e)
    take(lb, clock, "a", 5.0)
    assert lb.load("a").latency == 5.0
    assert lb.load("b").latency == 0.0


def test_a_slow_failure_raises_a_latency_and_a_fast_one_not() -> None:
    clock = FakeClock()
    lb = balancer(["a"], clock=clock)
    take(lb, clock, "a", 1.0)
    for _ in range(100):
        take(lb, clock, "a", 0.0, fails=True)
    assert lb.load("a").latency == 1.0
    take(lb, clock, "a", 3.0, fails=True)
    assert lb.load("a").latency == 3.0
    assert (lb.load("a").failed, lb.load("a").failed_in_a_row) == (101, 101)


def shares_of_peak_ewma(seconds_before: float) -> Counter[str]:
    """Who gets 600 requests when "bad" refuses at once and two others answer in 0.1 s."""
    clock = FakeClock()
    lb = balancer(["bad", "good1", "good2"], fallback=PeakEwma(), clock=clock, rng=random.Random(1))
    for _ in range(int(seconds_before)):
        for name in ("bad", "good1", "good2"):
            take(lb, clock, name, 0.1)
    served: Counter[str] = Counter()
    for _ in range(600):
        lease = lb.lease().acquire()
        fails = lease.host.name == "bad"
        clock.advance(0.001 if fails else 0.1)
        lease.failed("refused") if fails else lease.ok()
        lease.release()
        served[lease.host.name] += 1
    return served


def test_a_proven_host_that_fails_fast_does_not_look_quick() -> None:
    # a fair share is 200; what decays makes it look quicker than it is
    assert shares_of_peak_ewma(30)["bad"] < 300


def test_an_unproven_host_that_fails_fast_does_not_look_quick() -> None:
    assert shares_of_peak_ewma(0)["bad"] < 300
