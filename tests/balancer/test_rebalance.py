"""Rebalancing: bounded, fair by weight, and never a session with a lease in flight."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import PinTable
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError
from hashring.testing import FakeClock

WEIGHTS = st.sampled_from([0.5, 1.0, 2.0])


def counts(lb: LoadBalancer, pins: PinTable) -> dict[str, int]:
    return {host.name: pins.count(host.name) for host in lb.hosts}


@given(st.integers(0, 60), st.lists(WEIGHTS, min_size=1, max_size=4), st.integers(0, 20))
def test_after_enough_calls_each_host_has_its_share(
    sessions: int, added: list[float], step: int
) -> None:
    pins = PinTable()
    lb = LoadBalancer(["a", "b"], pins=pins)
    clients = [f"session-{number}" for number in range(sessions)]
    for client in clients:
        lb.pick(client)
    for number, weight in enumerate(added):
        lb.register(f"new{number}", weight=weight)
    gaining = {host.name for host in lb.hosts}
    before = counts(lb, pins)
    total = sum(host.weight for host in lb.hosts)
    report = lb.rebalance(max_moves=step)
    assert report.moved <= step
    while report.left and step:
        report = lb.rebalance(max_moves=step)
        assert 0 < report.moved <= step
    after = counts(lb, pins)
    assert sum(after.values()) == sessions
    if step:
        for host in lb.hosts:
            assert abs(after[host.name] - sessions * host.weight / total) < 1
        assert lb.rebalance().moved == 0
    for old, new in report.flows:
        assert {old, new} <= gaining
        assert after[old] <= before[old]


def test_a_session_with_a_lease_in_flight_stays() -> None:
    lb = LoadBalancer(["a"], pins=PinTable())
    leases = [lb.lease(f"busy-{number}").acquire() for number in range(5)]
    for number in range(5):
        lb.pick(f"idle-{number}")
    lb.register("b")
    report = lb.rebalance()
    assert (dict(report.flows), report.left) == ({("a", "b"): 5}, 0)
    assert {str(lb.explain(f"busy-{number}").host) for number in range(5)} == {"a"}
    lb.register("c")
    assert lb.rebalance().flows.keys() == {("b", "c")}
    assert {str(lb.explain(f"busy-{number}").host) for number in range(5)} == {"a"}
    for lease in leases:
        lease.release()
    assert lb.rebalance().moved == 1


def test_the_moves_of_a_minute_are_bounded_over_all_calls() -> None:
    clock = FakeClock()
    lb = LoadBalancer(["a"], pins=PinTable(clock=clock), clock=clock)
    for number in range(100):
        lb.pick(f"session-{number}")
    lb.register("b")
    moved = []
    for _ in range(20):
        moved.append(lb.rebalance(per_minute=12).moved)
        clock.advance(10)
    assert moved == [12, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 12, 0]


def test_the_longest_idle_go_first_and_none_before_its_time() -> None:
    clock = FakeClock()
    lb = LoadBalancer(["a"], pins=PinTable(clock=clock), clock=clock)
    for number in range(10):
        lb.pick(f"session-{number}")
        clock.advance(10)
    lb.register("b")
    report = lb.rebalance(idle=75)
    assert (report.moved, report.left) == (3, 2)
    on_b = [number for number in range(10) if str(lb.explain(f"session-{number}").host) == "b"]
    assert on_b == [0, 1, 2]


@pytest.mark.parametrize(
    "options", [{"max_moves": -1}, {"per_minute": 0}, {"idle": -1}, {"max_moves": 1.5}]
)
def test_bad_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LoadBalancer(["a"], pins=PinTable()).rebalance(**options)


def test_without_a_store_that_counts_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a plain store of pins"):
        LoadBalancer(["a"]).rebalance()
