"""``walk``: the hosts that ``pick`` takes in order, with the states respected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import PinTable
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host
from tests.balancer.rig import CLIENTS, balancer

HOSTS = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("placement", ["ring", "modulo", "rendezvous"])
@given(
    client=st.sampled_from(CLIENTS),
    down=st.sets(st.sampled_from(HOSTS), max_size=4),
    drained=st.sets(st.sampled_from(HOSTS), max_size=2),
    pinned=st.one_of(st.none(), st.sampled_from(HOSTS)),
)
def test_each_host_is_that_of_a_pick_without_those_before(
    placement: str, client: str, down: set[str], drained: set[str], pinned: str | None
) -> None:
    lb = balancer(HOSTS, placement=placement, pins=PinTable())
    for name in down:
        lb.mark_down(name, "x")
    for name in drained:
        lb.drain(name)
    if pinned:
        lb.pin(client, pinned)
    hosts = lb.walk(client)
    for place, host in enumerate(hosts):
        assert lb.pick(client, exclude=hosts[:place]) == host
    with pytest.raises(NoHostsError):
        lb.pick(client, exclude=hosts)
    assert lb.walk(client, 2) == hosts[:2]


def test_a_preferred_host_comes_first() -> None:
    lb = balancer(HOSTS)
    first = lb.walk("x")[0].name
    other = next(name for name in HOSTS if name != first)
    assert [host.name for host in lb.walk("x", 2, prefer=other)] == [other, first]


@given(st.lists(st.sampled_from(["eu", "us", "asia"]), min_size=1, max_size=9), st.integers(1, 9))
def test_spread_takes_distinct_zones_as_far_as_there_are_any(zones: list[str], n: int) -> None:
    hosts = [Host(f"h{place}", meta={"zone": zone}) for place, zone in enumerate(zones)]
    lb = balancer(hosts)
    walk = lb.walk("x", spread="zone")
    assert sorted(walk, key=str) == sorted(hosts, key=str)
    first = lb.walk("x", n, spread="zone")
    assert first == walk[:n]
    distinct = {host.meta["zone"] for host in first}
    assert len(distinct) == min(len(first), len(set(zones)))
    assert first[0] == lb.pick("x")


def test_an_anonymous_walk_is_the_usable_hosts() -> None:
    lb = LoadBalancer(HOSTS, placement=None)
    lb.mark_down("b", "x")
    assert [host.name for host in lb.walk(None)] == ["a", "c", "d", "e"]


@pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
def test_a_bad_count_is_refused(n: Any) -> None:
    with pytest.raises(ConfigError, match="n must be"):
        balancer(HOSTS).walk("x", n)
