"""Who is in?  Each change does its own thing; what is refused or changes nothing tells nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hashring.balancer import LoadBalancer
from hashring.errors import (
    ConfigError,
    DuplicateHostError,
    InvalidWeightError,
    PoolFullError,
    UnknownHostError,
)
from hashring.hosts import Host, HostsLike
from tests.balancer.rig import CLIENTS, balancer, face, heard, left_alone, owners, ring


def expected(hosts: HostsLike) -> list[str]:
    return ring(hosts).lookup_many(CLIENTS)


def test_register_takes_every_form_of_a_host_and_answers_with_it() -> None:
    lb = balancer([])
    assert lb.register("a").same(Host("a"))
    assert lb.register(("b", 2)).same(Host("b", 2))
    assert lb.register({"name": "c", "address": "10.0.0.3:80"}).address == "10.0.0.3:80"
    assert lb.register(Host("d", 2), weight=3).weight == 3.0
    assert lb.register("e", weight=0.5).weight == 0.5
    assert [host.weight for host in lb.hosts] == [1.0, 2.0, 1.0, 3.0, 0.5]
    assert owners(lb) == expected({"a": 1, "b": 2, "c": 1, "d": 3, "e": 0.5})
    assert lb.snapshot.epoch == 5
    assert len(lb) == 5
    assert "a" in lb
    assert Host("a") in lb
    assert "z" not in lb


def test_an_added_host_takes_its_share_and_nothing_else_moves() -> None:
    lb = balancer(["a", "b", "c"])
    before = owners(lb)
    lb.register("d")
    assert {new for old, new in zip(before, owners(lb), strict=True) if old != new} == {"d"}
    assert lb.unregister("d").name == "d"
    assert owners(lb) == before


def test_a_weight_change_moves_clients_to_or_from_that_host_only() -> None:
    lb = balancer(["a", "b", "c"])
    before = owners(lb)
    lb.set_weight("a", 3)
    heavier = owners(lb)
    assert {new for old, new in zip(before, heavier, strict=True) if old != new} == {"a"}
    lb.set_weight(Host("a"), 1)
    assert owners(lb) == before


def test_hosts_are_in_the_order_of_their_registration() -> None:
    lb = balancer(["c", "a"])
    lb.register("b")
    lb.set_weight("c", 2)
    lb.mark_down("a", "x")
    assert [host.name for host in lb.hosts] == ["c", "a", "b"]
    lb.unregister("c")
    lb.register("c")
    assert [host.name for host in lb.hosts] == ["a", "b", "c"]


def test_a_duplicate_is_a_duplicate_in_a_full_pool_too() -> None:
    lb = balancer(["a", "b"], capacity=2)
    with left_alone(lb, DuplicateHostError, "already a host 'a'"):
        lb.register("a")
    with left_alone(lb, DuplicateHostError):
        lb.register(Host("a", 5, address="elsewhere"))
    with left_alone(lb, PoolFullError, "at most 2 hosts") as error:
        lb.register("c")
    assert isinstance(error.value, PoolFullError)
    assert error.value.capacity == 2


def test_the_capacity_holds_for_every_way_to_add_hosts() -> None:
    with pytest.raises(PoolFullError):
        balancer(["a", "b", "c"], capacity=2)
    lb = balancer(["a"], capacity=2)
    with left_alone(lb, PoolFullError):
        lb.set_hosts(["x", "y", "z"])
    lb.set_hosts(["x", "y"])
    with left_alone(lb, PoolFullError):
        lb.register("z")
    lb.unregister("x")
    lb.register("z")
    assert owners(lb) == expected(["y", "z"])


@pytest.mark.parametrize(
    "change",
    [
        lambda lb: lb.unregister("zz"),
        lambda lb: lb.set_weight("zz", 2),
        lambda lb: lb.replace("zz", address="x"),
        lambda lb: lb.mark_down("zz", "x"),
        lambda lb: lb.mark_up("zz"),
        lambda lb: lb.mark_up("zz", by="*"),
        lambda lb: lb.drain("zz"),
        lambda lb: lb.resume("zz"),
        lambda lb: lb.state("zz"),
        lambda lb: lb.load("zz"),
        lambda lb: lb.plan(remove=["zz"]),
        lambda lb: lb.plan(weights={"zz": 2}),
    ],
)
def test_an_unknown_host_is_refused_as_unknown(change: Callable[[LoadBalancer], Any]) -> None:
    lb = balancer(["a", "b"])
    with left_alone(lb, UnknownHostError) as error:
        change(lb)
    assert str(error.value) == "there is no host 'zz'; the hosts are a, b"
    assert isinstance(error.value, KeyError)
    empty = balancer([])
    with left_alone(empty, UnknownHostError, "no hosts yet"):
        change(empty)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda lb: lb.register(""), ConfigError),
        (lambda lb: lb.register(5), ConfigError),
        (lambda lb: lb.register("x", weight=0), InvalidWeightError),
        (lambda lb: lb.register("x", weight=float("nan")), InvalidWeightError),
        (lambda lb: lb.register("x", weight=1e9), ConfigError),  # more vnodes than a host may have
        (lambda lb: lb.set_weight("a", -1), InvalidWeightError),
        (lambda lb: lb.set_weight("a", 1e9), ConfigError),
        (lambda lb: lb.set_hosts(["a", ("b", 1e9)]), ConfigError),
        (lambda lb: lb.set_hosts("abc"), ConfigError),
        (lambda lb: lb.set_hosts(["a", "a"]), DuplicateHostError),
        (lambda lb: lb.set_hosts([("a", 0)]), InvalidWeightError),
        (lambda lb: lb.set_hosts(1 // 0 for _ in "x"), ZeroDivisionError),
        (lambda lb: lb.replace("a", address=""), ConfigError),
        (lambda lb: lb.mark_down("a", "x", by="*"), ConfigError),
        (lambda lb: lb.mark_down("a", "x", by=""), ConfigError),
        (lambda lb: lb.drain("a", by="*"), ConfigError),
        (lambda lb: lb.drain("a", deadline=-1), ConfigError),
        (lambda lb: lb.drain("a", deadline=float("nan")), ConfigError),
        (lambda lb: lb.drain("a", deadline=float("inf")), ConfigError),
        (lambda lb: lb.drain("a", deadline="30"), ConfigError),
        (lambda lb: lb.drain("a", deadline=True), ConfigError),
    ],
)
def test_what_is_refused_changes_nothing(
    change: Callable[[LoadBalancer], Any], error: type[Exception]
) -> None:
    lb = balancer({"a": 1, "b": 2, "c": 1})
    lb.mark_down("b", "reboot")
    lb.drain("c", deadline=30)
    before = owners(lb)
    with left_alone(lb, error):
        change(lb)
    assert owners(lb) == before
    lb.register("d")  # and the next change starts from where it was
    assert owners(lb) == expected(["a", "d"])


def test_the_constructor_refuses_what_set_hosts_refuses() -> None:
    for hosts, error in (("abc", ConfigError), (["a", "a"], DuplicateHostError)):
        with pytest.raises(error):
            LoadBalancer(hosts)


@pytest.mark.parametrize(
    "change",
    [
        lambda lb: lb.set_weight("a", 2),
        lambda lb: lb.replace("a", address="a"),
        lambda lb: lb.set_hosts({"a": 2, "b": 1, "c": 1}),
        lambda lb: lb.set_hosts({"c": 1, "b": 1, "a": 2}),
        lambda lb: lb.mark_down("b", "reboot"),
        lambda lb: lb.mark_up("a"),
        lambda lb: lb.mark_up("a", by="*"),
        lambda lb: lb.mark_up("b", by="probe"),
        lambda lb: lb.drain("c"),
        lambda lb: lb.resume("a"),
        lambda lb: lb.resume("c", by="discovery"),
        lambda lb: lb.resume("b", by="*"),
        lambda lb: lb.keeps_sessions(True),
        lambda lb: lb.plan(add=["x"], remove=["b"], weights={"a": 5}).moved,
        lambda lb: lb.explain("x"),
    ],
)
def test_a_change_that_changes_nothing_publishes_nothing(
    change: Callable[[LoadBalancer], Any],
) -> None:
    lb = balancer({"a": 2, "b": 1, "c": 1})
    lb.mark_down("b", "reboot")
    lb.drain("c")
    before, snapshot, events = face(lb), lb.snapshot, heard(lb)
    change(lb)
    assert face(lb) == before
    assert lb.snapshot is snapshot
    assert events == []


def test_an_empty_balancer_has_epoch_0_and_a_filled_one_1() -> None:
    assert balancer([]).snapshot.epoch == 0
    assert balancer(["a", "b"]).snapshot.epoch == 1
