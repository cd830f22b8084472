"""Assignments outlast idle time and their host's absence; pins do not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hashring.affinity import PinTable
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, NoHostsError, UnknownHostError
from hashring.testing import FakeClock
from tests.balancer.rig import CLIENTS, balancer, owners

HOSTS = ("a", "b", "c", "d")


def take(lb: LoadBalancer, client: Any) -> set[str]:
    """Where each way of asking sends a client."""
    found = {lb.pick(client).name, asyncio.run(lb.apick(client)).name}
    with lb.lease(client) as lease:
        found.add(lease.host.name)

    async def leased() -> str:
        async with lb.lease(client) as lease:
            return lease.host.name

    found |= {asyncio.run(leased()), lb.walk(client)[0].name}
    host = lb.explain(client).host
    return found | {host.name if host else "none"}


def make(kind: str) -> LoadBalancer:
    if kind == "by load":
        return LoadBalancer.sticky_by_load(HOSTS)
    return balancer(HOSTS, pins=PinTable() if kind == "pins" else None)


@pytest.mark.parametrize("kind", ["walk", "pins", "by load"])
@pytest.mark.parametrize("client", [CLIENTS[0], 5, b"raw", "\ud83d"])
def test_an_assigned_client_goes_to_its_host_and_comes_back(kind: str, client: Any) -> None:
    lb = make(kind)
    before = lb.pick(client).name
    host = next(name for name in HOSTS if name != before)
    lb.assign(client, host)
    assert take(lb, client) == {host}
    lb.drain(host)
    assert take(lb, client) == {host}
    lb.resume(host)
    lb.mark_down(host, "x")
    away = lb.pick(client).name
    assert away != host
    lb.mark_up(host)
    assert take(lb, client) == {host}
    lb.unregister(host)
    assert lb.pick(client).name != host
    lb.register(host)
    assert take(lb, client) == {host}
    assert lb.unassign(client)
    assert not lb.unassign(client)
    if kind != "by load":
        assert lb.pick(client).name == before


def test_other_clients_are_where_they_were() -> None:
    lb = balancer(HOSTS)
    before = owners(lb)
    lb.assign("somebody-else", "a")
    assert owners(lb) == before
    assert lb._state.active.index is None
    lb.unassign("somebody-else")
    assert owners(lb) == before
    assert lb._state.active.index is not None


def test_a_strict_assignment_is_served_by_no_other_host() -> None:
    lb = balancer(HOSTS)
    lb.assign("x", "b", strict=True)
    lb.mark_down("b", "reboot")
    with pytest.raises(NoHostsError, match=r"b \(operator: reboot\)"):
        lb.pick("x")
    with pytest.raises(NoHostsError), lb.lease("x"):
        pass
    lb.mark_up("b")
    with pytest.raises(NoHostsError, match="caller: excluded"):
        lb.pick("x", exclude=["b"])
    assert lb.pick("x", prefer="c").name == "c"
    lb.unregister("b")
    with pytest.raises(NoHostsError, match="not a member"):
        lb.pick("x")


def test_an_assignment_outlasts_idle_time_and_writes_no_pin() -> None:
    clock = FakeClock()
    pins = PinTable(idle=10, clock=clock)
    lb = LoadBalancer(HOSTS, pins=pins, clock=clock)
    lb.assign("x", "d")
    clock.advance(1000)
    assert take(lb, "x") == {"d"}
    lb.mark_down("d", "x")
    lb.pick("x")
    assert len(pins) == 0


def test_an_assigned_client_never_leaves_a_queue() -> None:
    lb = LoadBalancer.sticky_by_load(HOSTS, patience=0)
    lb.assign("x", "a")
    leases = [lb.lease("x").acquire() for _ in range(20)]
    assert {(lease.host.name, lease.reason) for lease in leases} == {("a", "pinned")}
    for lease in leases:
        lease.release()


def test_a_copy_has_the_assignments() -> None:
    lb = balancer(HOSTS)
    lb.assign("x", "a", strict=True)
    twin = LoadBalancer.from_dict(lb.to_dict())
    assert dict(twin.assignments) == dict(lb.assignments)


def test_an_unknown_host_or_no_client_is_refused() -> None:
    lb = balancer(HOSTS)
    with pytest.raises(UnknownHostError):
        lb.assign("x", "z")
    with pytest.raises(ConfigError):
        lb.assign("", "a")
