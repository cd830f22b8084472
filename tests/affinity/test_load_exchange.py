"""Routers that exchange their loads through a real Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

pytest.importorskip("redis", reason="the redis package is not installed")

import redis
import redis.asyncio

from hashring import ConfigError, LoadBalancer
from hashring.affinity import BlockingRedisPins, LoadExchange, PinTable
from hashring.strategies import LeastOutstanding
from tests.affinity.redis_server import RedisServer
from tests.waiting import wait_in_loop, wait_until

pytestmark = pytest.mark.slow
PATIENT = 20.0
HOSTS = ["a", "b", "c"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def router(stack: ExitStack, server: RedisServer) -> LoadBalancer:
    pins = stack.enter_context(closing(BlockingRedisPins(server.url, deadline=PATIENT)))
    return LoadBalancer(HOSTS, pins=pins, new_clients="fallback", fallback=LeastOutstanding())


def remote(lb: LoadBalancer, name: str) -> float:
    return lb._tracker.loads[name].remote


def test_routers_place_by_the_load_of_all(server: RedisServer) -> None:
    with ExitStack() as stack:
        one, two, three = (router(stack, server) for _ in range(3))
        for lb in (one, two, three):
            stack.enter_context(
                LoadExchange(lb, server.url, interval=0.05, deadline=PATIENT, router=f"r{id(lb)}")
            )
        first = stack.enter_context(one.lease("x", cost=100))
        wait_until(lambda: remote(two, first.host.name) and remote(three, first.host.name))
        second = stack.enter_context(two.lease("y", cost=100))
        wait_until(lambda: remote(three, second.host.name) and remote(one, second.host.name))
        third = stack.enter_context(three.lease("z", cost=100))
        assert Counter(lease.host.name for lease in (first, second, third)) == Counter("abc")
        first.started()
        wait_until(lambda: not remote(two, first.host.name))
        assert remote(two, third.host.name)


DYING = """
import sys, time
from hashring import LoadBalancer
from hashring.affinity import BlockingRedisPins, LoadExchange
from hashring.strategies import LeastOutstanding
pins = BlockingRedisPins(sys.argv[1], deadline=20)
lb = LoadBalancer(["a"], pins=pins, new_clients="fallback", fallback=LeastOutstanding())
with LoadExchange(lb, sys.argv[1], interval=0.1, deadline=20), lb.lease("x"):
    print("open", flush=True)
    time.sleep(600)
"""


def test_the_load_of_a_killed_router_expires(server: RedisServer) -> None:
    dying = subprocess.Popen([sys.executable, "-c", DYING, server.url], stdout=subprocess.PIPE)
    with ExitStack() as stack:
        stack.callback(dying.wait)
        stack.callback(dying.kill)
        assert dying.stdout is not None
        stack.callback(dying.stdout.close)
        lb = router(stack, server)
        exchange = LoadExchange(lb, server.url, interval=0.1, deadline=PATIENT)
        stack.enter_context(exchange)
        assert dying.stdout.readline() == b"open\n"
        wait_until(lambda: remote(lb, "a"))
        dying.kill()
        wait_until(lambda: exchange.stats["routers"] == 0)
        assert remote(lb, "a") == 0
        with redis.Redis(port=server.port, socket_timeout=PATIENT) as client:
            wait_until(lambda: client.keys("hashring:load:router:*") == [])


def test_without_redis_each_router_sees_its_own_load(server: RedisServer) -> None:
    async def check() -> None:
        async with redis.asyncio.Redis(port=server.port) as client:
            lb = LoadBalancer(HOSTS, new_clients="fallback", fallback=LeastOutstanding())
            lb.keeps_sessions(True)
            async with LoadExchange(lb, client, interval=0.05) as exchange:
                await wait_in_loop(lambda: exchange.stats["exchanges"])
                await asyncio.to_thread(server.kill)
                await wait_in_loop(lambda: exchange.stats["failures"])
                with lb.lease("x") as lease:
                    assert lease.host.name in HOSTS
                await asyncio.to_thread(server.start)
                done = exchange.stats["exchanges"]
                await wait_in_loop(lambda: exchange.stats["exchanges"] > done)

    asyncio.run(check())


def test_what_another_program_wrote_is_left_out(server: RedisServer) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis(port=server.port, socket_timeout=PATIENT))
        seconds, micros = client.time()
        client.zadd("hashring:load:routers", {"odd": seconds * 1000 + micros // 1000 + 60_000})
        odd = {"a": "nan", "b": "-1", "gone": "5", b"\xff": "3", "c": "2.5"}
        client.hset("hashring:load:router:odd", mapping=odd)
        lb = router(stack, server)
        stack.enter_context(LoadExchange(lb, server.url, deadline=PATIENT))
        assert [remote(lb, name) for name in HOSTS] == [0, 0, 2.5]


def test_own_pins_in_several_routers_are_refused() -> None:
    lb = LoadBalancer.sticky_by_load(HOSTS)
    assert isinstance(lb.pins, PinTable)
    with pytest.raises(ConfigError, match="must share their pins"):
        LoadExchange(lb, "redis://127.0.0.1:6379/0")
