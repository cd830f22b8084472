"""A hard limit per host: refused, overflowing to the next host, or waiting in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import PinTable
from hashring.balancer import Lease, LoadBalancer
from hashring.errors import ConfigError, NoCapacityError
from hashring.strategies import LeastConnections, LeastOutstanding
from tests.balancer.rig import CLIENTS, balancer

HOSTS = {"a": 1, "b": 1, "c": 2}


@given(
    clients=st.lists(st.sampled_from([None, *CLIENTS[:6]]), max_size=30),
    options=st.sampled_from(
        [{}, {"load_factor": 1.25}, {"fallback": "least"}, {"pins": True}, {"by_load": True}]
    ),
)
def test_no_host_is_ever_above_its_limit(clients: list[Any], options: dict[str, Any]) -> None:
    if "by_load" in options:
        lb = LoadBalancer.sticky_by_load(HOSTS, max_in_flight=3)
    else:
        fallback = LeastConnections() if "fallback" in options else None
        pins = PinTable() if "pins" in options else None
        factor = options.get("load_factor")
        lb = balancer(HOSTS, max_in_flight=3, load_factor=factor, fallback=fallback, pins=pins)
    leases: list[Lease] = []
    for client in clients:
        try:
            leases.append(lb.lease(client).acquire())
        except NoCapacityError as error:
            # a known client's own host is full, or all are
            names = [error.host] if error.host else list(HOSTS)
            assert all(lb.load(name).in_flight == 3 * HOSTS[name] for name in names)
    assert all(lb.load(name).in_flight <= 3 * weight for name, weight in HOSTS.items())
    for lease in leases:
        lease.release()
    with lb.lease("x"):
        pass


def test_a_full_host_overflows_clients_and_refuses_pinned_ones() -> None:
    lb = balancer(["a", "b"], max_in_flight=1)
    with lb.lease("x") as one, lb.lease("x") as two:
        assert (one.reason, two.reason) == ("owner", "overflow")
        with pytest.raises(NoCapacityError, match="every usable host"):
            lb.lease("x").acquire()
        with pytest.raises(NoCapacityError, match="host a of this client"):
            lb.lease("y", prefer="a").acquire()
    assert lb.pick("y", prefer="a").name == "a"


def test_a_weight_below_one_has_room_for_one() -> None:
    lb = balancer({"a": 0.25}, max_in_flight=2)
    with lb.lease("x"), pytest.raises(NoCapacityError):
        lb.lease("x").acquire()


async def acquired(lb: LoadBalancer, order: list[str], client: str, **options: Any) -> None:
    async with await lb.aacquire(client, wait=30, **options):
        order.append(client)
        await asyncio.sleep(0)


def test_requests_wait_in_order_of_arrival() -> None:
    async def main() -> None:
        lb, order = balancer(["a"], max_in_flight=1), list[str]()
        with lb.lease("first"):
            tasks = [asyncio.create_task(acquired(lb, order, f"r{n}")) for n in range(20)]
            await asyncio.sleep(0.01)
            assert order == []
        tasks.append(asyncio.create_task(acquired(lb, order, "late")))
        await asyncio.gather(*tasks)
        assert order == [*(f"r{n}" for n in range(20)), "late"]
        assert lb.load("a").in_flight == 0
        assert lb._tracker.on_room is None

    asyncio.run(main())


def test_clients_of_a_free_host_do_not_wait_for_a_full_one() -> None:
    async def main() -> None:
        lb, order = balancer(["a", "b"], max_in_flight=1), list[str]()
        with lb.lease("x", prefer="a"):
            task = asyncio.create_task(acquired(lb, order, "of a", prefer="a"))
            await asyncio.sleep(0.01)
            await acquired(lb, order, "of b", prefer="b")
            assert order == ["of b"]
        await task
        assert order == ["of b", "of a"]

    asyncio.run(main())


def test_a_host_that_joins_makes_room() -> None:
    async def main() -> None:
        lb, order = balancer(["a"], max_in_flight=1), list[str]()
        with lb.lease("x"):
            task = asyncio.create_task(acquired(lb, order, "y"))
            await asyncio.sleep(0.01)
            lb.register("b")
            await task

    asyncio.run(main())


def test_a_cancelled_wait_leaves_the_queue_and_a_timeout_raises() -> None:
    async def main() -> None:
        lb, order = balancer(["a"], max_in_flight=1), list[str]()
        with lb.lease("x"):
            task = asyncio.create_task(acquired(lb, order, "y"))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for wait in (0, 0.01):
                with pytest.raises(NoCapacityError):
                    await lb.aacquire("y", wait=wait)
        await acquired(lb, order, "z")
        assert lb.load("a").in_flight == 0

    asyncio.run(main())


@pytest.mark.parametrize("value", [0, 0.5, -1, "3", True, float("nan")])
def test_a_bad_limit_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="max_in_flight must be"):
        LoadBalancer(HOSTS, max_in_flight=value)


def test_a_spill_never_goes_to_a_full_host() -> None:
    lb = LoadBalancer(
        ["a", "b"],
        pins=PinTable(),
        new_clients="fallback",
        fallback=LeastOutstanding(),
        patience=0,
        max_in_flight=2,
    )
    busy = []
    for client in "xy":
        busy.append(lb.lease(client, prefer="b").acquire())
        busy[-1].started()
    with lb.lease("z", prefer="a"), lb.lease("z", prefer="a") as last:
        assert (last.host.name, last.reason) == ("a", "pinned")
    busy.pop().release()
    with lb.lease("z", prefer="a"), lb.lease("z", prefer="a") as last:
        assert (last.host.name, last.reason) == ("b", "spill")
    busy.pop().release()
