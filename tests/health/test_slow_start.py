"""Does a newcomer get the part of its share that the formula says, and only of anonymous picks?"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

from hashring import LoadBalancer
from hashring.errors import ConfigError
from hashring.health import SlowStart
from hashring.health.slow_start import ramp
from hashring.hosts import Host
from hashring.strategies import LeastConnections, RoundRobin, Strategy, WeightedRandom, create
from hashring.testing import FakeClock
from tests.balancer.rig import open_lease

PICKS = 20_000
# five standard deviations of a binomial with these many picks, at most
SLACK = 5 * math.sqrt(0.25 / PICKS)


def pool(strategy: Any, hosts: Any, **options: Any) -> tuple[LoadBalancer, FakeClock]:
    clock = FakeClock()
    slow = SlowStart(strategy, window=100.0, clock=clock, rng=random.Random(1), **options)
    lb = LoadBalancer(hosts, fallback=slow, rng=random.Random(2))
    slow.follow(lb)
    return lb, clock


def share(lb: LoadBalancer, name: str) -> float:
    return sum(lb.pick().name == name for _ in range(PICKS)) / PICKS


def test_the_formula() -> None:
    assert [ramp(age, 100, 1) for age in (0, 5, 10, 50, 99, 100, 1e9)] == [
        0.1,
        0.1,
        0.1,
        0.5,
        0.99,
        1,
        1,
    ]
    assert [round(ramp(age, 100, 2), 3) for age in (0, 25, 49)] == [0.1, 0.5, 0.7]


@pytest.mark.parametrize("name", ["round-robin", "random", "power-of-two-choices", "peak-ewma"])
@pytest.mark.parametrize("age", [0.0, 50.0, 99.0])
def test_a_new_host_gets_that_part_of_its_share(name: str, age: float) -> None:
    lb, clock = pool(create(name), ["a", "b", "c"])
    lb.register("new")
    clock.now = age
    fair = 1 / 4
    assert abs(share(lb, "new") - fair * ramp(age, 100, 1)) < SLACK


def test_by_weight_where_the_strategy_goes_by_weight() -> None:
    lb, clock = pool(WeightedRandom(), {"a": 1, "b": 1})
    lb.register("new", weight=2)
    clock.now = 50.0
    assert abs(share(lb, "new") - 0.5 * 0.5) < SLACK


def test_an_idle_new_host_does_not_draw_everything_to_it() -> None:
    lb, _ = pool(LeastConnections(), ["a", "b", "c"])
    leases = [lb.lease().acquire() for _ in range(30)]
    lb.register("new")  # with no lease, it has the least for a long time
    served = Counter(open_lease(lb).host.name for _ in range(400))
    assert served["new"] < 400 * (1 / 4 * 0.1) + 5 * math.sqrt(400 * 0.025)
    assert max(served[name] for name in "abc") - min(served[name] for name in "abc") <= 1
    for lease in leases:
        lease.release()


def test_clients_with_an_id_are_never_concerned() -> None:
    lb, clock = pool(RoundRobin(), ["a", "b", "c"])
    plain = LoadBalancer(["a", "b", "c", "new"])
    lb.register("new")
    for age in (0.0, 50.0):
        clock.now = age
        for number in range(500):
            assert lb.pick(f"s{number}") == plain.pick(f"s{number}")


@pytest.mark.parametrize("how", ["mark_up", "resume", "replace"])
def test_every_host_that_comes_ramps(how: str) -> None:
    lb, clock = pool(RoundRobin(), ["a", "b"])
    lb.keeps_sessions(True)
    if how == "mark_up":
        lb.mark_down("b", "reboot")
        lb.mark_up("b")
    elif how == "resume":
        lb.drain("b")
        lb.resume("b")
    else:
        lb.replace("b", address="other")
    assert abs(share(lb, "b") - 0.05) < SLACK
    clock.now = 100.0
    assert abs(share(lb, "b") - 0.5) < SLACK


def test_a_host_that_another_holder_still_holds_has_not_come() -> None:
    lb, clock = pool(RoundRobin(), ["a", "b"])
    lb.mark_down("b", "reboot")
    lb.mark_down("b", "refused", by="probe")
    lb.mark_up("b", by="probe")
    clock.now = 90.0
    lb.mark_up("b")
    assert abs(share(lb, "b") - 0.05) < SLACK, "it came now, not when the first let go"


def test_a_weight_is_not_a_arrival_and_a_retry_neither() -> None:
    lb, _ = pool(RoundRobin(), ["a", "b"])
    lb.set_weight("b", 3)
    assert lb.pick(exclude=["b"]).name == "a"
    assert share(lb, "b") == 0.5


def test_if_all_are_new_nothing_is_held_back() -> None:
    lb, _ = pool(RoundRobin(), ["a", "b"])
    for name in ("a", "b"):
        lb.mark_down(name, "refused", by="probe")
        lb.mark_up(name, by="probe")
    assert share(lb, "a") == 0.5


def test_a_retry_goes_among_those_that_are_left() -> None:
    lb, _ = pool(RoundRobin(), ["a", "b"])
    lb.register("new")
    assert {lb.pick(exclude=["a", "b"]).name for _ in range(20)} == {"new"}
    assert {lb.pick(exclude=["new"]).name for _ in range(20)} == {"a", "b"}


def test_a_callable_is_a_strategy_and_views_pass_through() -> None:
    class Given:
        hosts = (Host("x"),)

    slow = SlowStart(lambda view: view.hosts[0], window=1)
    lb = LoadBalancer(["a", "b"], fallback=slow)
    stop = slow.follow(lb)
    assert lb.pick().name == "a"
    lb.register("new")
    stop()
    assert slow.choose(Given()).name == "x"  # type: ignore[arg-type]  # all of a view that is asked for


def test_the_strategy_inside_serves_one_balancer() -> None:
    inner: Strategy = RoundRobin()
    LoadBalancer(["a"], fallback=SlowStart(inner))
    with pytest.raises(ConfigError, match="already serves"):
        LoadBalancer(["a"], fallback=SlowStart(inner))


@pytest.mark.parametrize("options", [{"window": 0}, {"aggression": 0}, {"aggression": "1"}])
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        SlowStart(**options)
    assert error.value.option in options
