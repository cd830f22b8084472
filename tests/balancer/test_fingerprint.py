"""When do two balancers route alike, and what would a change move?"""

from __future__ import annotations

from collections.abc import Callable

from hashring.errors import ConfigError, DuplicateHostError, InvalidWeightError, PoolFullError
from hashring.ring import HashRing
from tests.balancer.rig import balancer, heard, left_alone, owners, ring


def test_the_fingerprint_is_free_of_order_and_history() -> None:
    one, other = balancer(["a", "b", "c"]), balancer(["c", "x"])
    other.set_weight("c", 2)
    other.register("b")
    other.mark_down("x", "y")
    other.unregister("x")
    other.register("a")
    other.set_weight("c", 1)
    assert one.fingerprint == other.fingerprint


def test_only_the_part_after_the_dot_shows_which_hosts_are_away() -> None:
    lb = balancer(["a", "b", "c"])
    placed, up = lb.fingerprint.split(".")
    assert placed == ring(["a", "b", "c"]).fingerprint
    seen = {up}

    def dot(change: Callable[[], object]) -> str:
        change()
        left, right = lb.fingerprint.split(".")
        assert left == placed
        return right

    seen.add(down := dot(lambda: lb.mark_down("a", "x")))
    assert dot(lambda: lb.mark_down("a", "y", by="probe")) == down  # who and why is not routing
    seen.add(dot(lambda: lb.mark_down("b", "x")))
    lb.mark_up("b")
    lb.mark_up("a", by="*")
    seen.add(dot(lambda: lb.drain("a")))
    seen.add(dot(lambda: lb.drain("b")))
    assert len(seen) == 5
    lb.resume("a")
    assert dot(lambda: lb.resume("b")) == up
    lb.replace("a", address="x:1")
    assert lb.fingerprint == f"{placed}.{up}"
    lb.register("d")
    assert not lb.fingerprint.startswith(placed)


def test_a_plan_is_what_the_change_then_does() -> None:
    lb = balancer({"a": 1, "b": 1, "c": 2})
    lb.mark_down("b", "reboot")
    plan = lb.plan(add=[("d", 2)], remove=["a"], weights={"c": 1})
    before = ring({"a": 1, "c": 2})
    assert plan.exact
    assert plan.moved == before.diff(ring({"c": 1, "d": 2})).moved
    assert [host.name for host in plan.before] == ["a", "b", "c"]
    assert {host.name: host.weight for host in plan.after} == {"b": 1, "c": 1, "d": 2}
    events = heard(lb)
    lb.set_hosts(plan.after)
    assert {event.moved for event in events} == {plan.moved}


def test_a_plan_refuses_what_the_change_would_refuse() -> None:
    lb = balancer(["a", "b"], capacity=2)
    before = owners(lb)
    with left_alone(lb, PoolFullError):
        lb.plan(add=["c"])
    with left_alone(lb, DuplicateHostError):
        lb.plan(add=["a"])
    with left_alone(lb, ConfigError, "did you mean"):
        lb.plan(remove="a")
    with left_alone(lb, InvalidWeightError):
        lb.plan(weights={"a": 0})
    with left_alone(lb, ConfigError):
        lb.plan(weights={"a": 1e9})
    assert lb.plan(add=["c"], remove=["a"]).moved > 0
    lb.set_weight("a", 2)
    lb.set_weight("a", 1)
    assert owners(lb) == before


def test_the_ring_that_was_given_stays_the_callers() -> None:
    mine = HashRing(vnodes=16)
    lb = balancer(["a", "b"], placement=mine)
    before = owners(lb)
    assert len(mine) == 0
    mine.add("z")
    assert owners(lb) == before
