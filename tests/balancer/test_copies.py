"""Copies and pickles of a balancer: independent, and the same in all that is saved."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from hashring.affinity import PinTable
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.strategies import LeastOutstanding
from hashring.testing import FakeClock
from tests.balancer.rig import CLIENTS, owners

COPIES: dict[str, Callable[[LoadBalancer], LoadBalancer]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda lb: pickle.loads(pickle.dumps(lb)),  # our own bytes
    "json": lambda lb: LoadBalancer.from_dict(json.loads(json.dumps(lb.to_dict()))),
}


def make(**options: Any) -> LoadBalancer:
    hosts = [Host("a", 2, address="10.0.0.1:80", meta={"zone": "eu"}), Host("b"), Host("c")]
    lb = LoadBalancer(hosts, placement=HashRing(vnodes=16, seed=3), capacity=5, **options)
    lb.keeps_sessions(True)
    lb.mark_down("b", "reboot", by="probe")
    lb.drain("c")
    return lb


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_copy_is_the_same_and_independent(name: str) -> None:
    lb = make(load_factor=1.5)
    twin = COPIES[name](lb)
    assert [repr(host) for host in twin.hosts] == [repr(host) for host in lb.hosts]
    assert dict(twin.hosts[0].meta) == {"zone": "eu"}
    assert twin.fingerprint == lb.fingerprint
    assert owners(twin) == owners(lb)
    assert twin.to_dict() == lb.to_dict()
    twin.mark_up("b", by="probe")
    twin.set_hosts(["x", "y"])
    assert (lb.state("b"), len(lb)) == ("down", 3)
    assert {twin.pick(client).name for client in CLIENTS} == {"x", "y"}


def test_a_copied_drain_ends_when_its_deadline_passes() -> None:
    clock = FakeClock()
    lb = make(clock=clock)
    lb.drain("a", deadline=30)
    clock.advance(10)
    later = FakeClock(5.0)
    twin = LoadBalancer.from_dict(lb.to_dict(), clock=later)
    later.advance(19)
    assert twin.state("a") == "draining"
    later.advance(1)
    assert twin.state("a") == "down"


@pytest.mark.parametrize("name", ["deepcopy", "pickle"])
def test_pins_are_copied_by_their_store(name: str) -> None:
    lb = LoadBalancer(["a", "b"], pins=PinTable(), new_clients="fallback")
    before = {client: lb.pick(client).name for client in CLIENTS}
    twin = COPIES[name](lb)
    assert {client: twin.pick(client).name for client in CLIENTS} == before
    twin.forget(CLIENTS[0])
    assert lb.explain(CLIENTS[0]).reason == "pinned"
    assert twin.explain(CLIENTS[0]).reason == "fallback"


def test_a_balancer_by_load_keeps_its_rule() -> None:
    twin = COPIES["pickle"](LoadBalancer.sticky_by_load(["a", "b"], patience=3))
    with twin.lease("x", cost=3) as lease:
        assert lease.reason == "least"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"fallback": lambda view: view.hosts[0]}, "fallback"),
        ({"placement": lambda hosts: HashRing(hosts).table}, "placement"),
        ({"placement": HashRing(key_secret=b"sixteen or more random bytes")}, "placement"),
    ],
)
def test_a_part_without_a_name_is_named_in_the_error(options: dict[str, Any], part: str) -> None:
    lb = LoadBalancer(["a"], **options)
    for act in (lb.to_dict, lambda: pickle.dumps(lb), lambda: copy.copy(lb)):
        with pytest.raises(ConfigError, match="cannot be saved, pickled or copied") as error:
            act()
        assert error.value.option == part


def test_other_data_is_not_a_saved_balancer() -> None:
    others: list[Any] = [{}, [], {"format": 2}]
    for data in others:
        with pytest.raises(ConfigError, match="not a saved balancer"):
            LoadBalancer.from_dict(data)


def test_a_strategy_object_serves_one_balancer_and_not_its_copy() -> None:
    strategy = LeastOutstanding()
    lb = LoadBalancer(["a"], fallback=strategy, pins=PinTable(), new_clients="fallback")
    assert copy.copy(lb)._choose_fallback is not lb._choose_fallback


def test_snapshots_events_and_reports_can_be_pickled() -> None:
    lb = make()
    events: list[Any] = []
    lb.subscribe(events.append)
    report = lb.drain("a")
    each: Any
    for each in (lb.snapshot, lb.snapshot.members["b"], *events, report, lb.explain("x")):
        twin = pickle.loads(pickle.dumps(each))  # our own bytes
        assert type(twin) is type(each)
        # equal as far as a text shows; sets of names print in any order
        assert sorted(str(twin)) == sorted(str(each))
        assert isinstance(dataclasses.asdict(each), dict)


def test_hosts_from_a_ring_bring_weights_and_need_options() -> None:
    ring = HashRing({"a": 1, "b": 5}, vnodes=64, seed=9)
    placement = HashRing(vnodes=64, seed=9)
    lb = LoadBalancer(ring, placement=placement)
    assert [lb.pick(client).name for client in CLIENTS] == [ring.lookup(c) for c in CLIENTS]
    for act in (
        lambda: LoadBalancer(ring),
        lambda: LoadBalancer(["a"]).set_hosts(ring),
        lambda: LoadBalancer(["c"]).plan(add=ring),
    ):
        with pytest.raises(ConfigError, match=r"placement=HashRing\(vnodes=64, seed=9\)"):
            act()
