"""Do routers that share a Redis agree, and does the ring answer whenever Redis does not?"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hashring.testing import FakeClock

pytest.importorskip("redis", reason="the redis package is not installed")

import redis
import redis.asyncio

from hashring import ConfigError, LoadBalancer
from hashring.affinity.redis_pins import PREFIX, BlockingRedisPins, RedisPins
from tests.affinity.redis_server import RedisServer

pytestmark = pytest.mark.slow

FOUR = ["web1", "web2", "web3", "web4"]
CLIENTS = [f"session-{number}" for number in range(200)]
PATIENT = 20.0  # a deadline that a busy machine does not miss, where missing it is not the point


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    if "server" in request.fixturenames:
        flush(request.getfixturevalue("server"))


def flush(server: RedisServer) -> None:
    with redis.Redis(port=server.port, socket_timeout=PATIENT) as client:
        client.execute_command("FLUSHALL")


def raw(server: RedisServer, *command: Any) -> Any:
    with redis.Redis(port=server.port, socket_timeout=PATIENT) as client:
        return client.execute_command(*command)


def run(work: Callable[[AsyncExitStack], Coroutine[Any, Any, None]]) -> None:
    """Run ``work(stack)``, and then close what the stack holds."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            await work(stack)

    asyncio.run(whole())


def opened(stack: AsyncExitStack, client: Any, **options: Any) -> RedisPins:
    pins = RedisPins(client, **options)
    stack.push_async_callback(pins.aclose)
    return pins


Blocking: TypeAlias = Callable[..., BlockingRedisPins]


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> BlockingRedisPins:
            return stack.enter_context(closing(BlockingRedisPins(url, **options)))

        yield make


# -- the three methods -----------------------------------------------------------------------------


def test_both_clients_speak_of_the_same_pins(server: RedisServer, blocking: Blocking) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        plain = blocking(server.url, deadline=PATIENT)
        pins = opened(stack, server.url, deadline=PATIENT)
        assert await pins.get("x") is None
        assert await pins.claim("x", "web1") == "web1"
        assert plain.claim(b"x", "web2") == "web1"
        assert plain.get("x") == "web1"
        assert plain.replace("x", "web1", "wéb3") == "wéb3"
        assert await pins.replace("x", "web1", "web2") == "wéb3"
        assert await pins.get("x") == "wéb3"
        assert await pins.replace("x", "web1", None) == "wéb3"
        assert await pins.replace("x", "wéb3", None) is None
        assert plain.get("x") is None
        assert plain.replace("x", "web1", "web2") == "web2", "gone meanwhile: the new one holds it"
        assert {name: n for name, n in pins.stats.items() if n} == {
            "hits": 1,
            "misses": 1,
            "new": 1,
            "replaced": 1,
        }
        assert {name: n for name, n in plain.stats.items() if n} == {
            "hits": 1,
            "misses": 1,
            "lost": 1,
            "replaced": 2,
        }

    run(all_of_it)


def test_a_pin_lives_for_the_idle_time_after_its_last_use(
    server: RedisServer, blocking: Blocking
) -> None:
    pins = blocking(server.url, idle=1000, prefix="shop:", deadline=PATIENT)
    pins.claim("x", "web1")

    def left() -> int:
        return int(raw(server, "PTTL", "shop:x"))

    assert 900_000 < left() <= 1_000_000
    raw(server, "PEXPIRE", "shop:x", 5_000)
    pins.get("x")
    assert 900_000 < left() <= 1_000_000
    raw(server, "PEXPIRE", "shop:x", 5_000)
    pins.replace("x", "web1", "web2")
    assert 900_000 < left() <= 1_000_000
    raw(server, "PEXPIRE", "shop:x", 1)
    time.sleep(0.01)
    assert pins.get("x") is None


def test_what_stands_in_redis_is_a_name_under_a_key(
    server: RedisServer, blocking: Blocking
) -> None:
    pins = blocking(server.url, deadline=PATIENT)
    pins.claim(b"\x00\xff", "web1")
    assert raw(server, "GET", PREFIX.encode() + b"\x00\xff") == b"web1"
    raw(server, "SET", PREFIX + "y", b"\xff")
    lb = LoadBalancer(FOUR, pins=pins)
    assert lb.pick("y") == LoadBalancer(FOUR).pick("y"), "a stranger's word is no host"
    raw(server, "RPUSH", PREFIX + "z", "no string")
    assert lb.pick("z") == LoadBalancer(FOUR).pick("z")
    assert pins.stats["failures"] == 1


def test_a_silent_server_costs_one_deadline_for_any_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        port = silent.getsockname()[1]
        for client in (redis.Redis(port=port), redis.Redis(port=port, socket_timeout=30)):
            pins = BlockingRedisPins(client, deadline=0.01, pause=1000)
            kwargs = pins._client.connection_pool.connection_kwargs
            assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (0.01, 0.01)
            lb = LoadBalancer(["a", "b"], pins=pins)
            assert {lb.pick(f"client-{number}").name for number in range(50)} == {"a", "b"}
            assert pins.stats["failures"] <= 2  # of the first pick; then it is not asked
            pins.close()


def test_clients_of_one_s_own(server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        async with redis.asyncio.Redis(port=server.port, decode_responses=True) as client:
            pins = opened(stack, client, deadline=PATIENT)
            assert await pins.claim("x", "web1") == "web1"
            assert await pins.get("x") == "web1"
            with pytest.raises(ConfigError, match=r"redis\.Redis.*RedisPins"):
                BlockingRedisPins(client)  # type: ignore[arg-type]  # the point
        with redis.Redis(port=server.port, socket_timeout=PATIENT) as plain:
            assert BlockingRedisPins(plain).get("x") == "web1"
            with pytest.raises(ConfigError, match="BlockingRedisPins"):
                RedisPins(plain)
        with redis.Redis(port=server.port, decode_responses=True) as patient:
            assert BlockingRedisPins(patient).get("x") == "web1"

    run(all_of_it)


# -- routers ---------------------------------------------------------------------------------------


def test_two_routers_and_a_new_client_at_the_same_time_one_host(server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        stores = [opened(stack, server.url, deadline=PATIENT) for _ in range(2)]
        routers = [LoadBalancer(FOUR, pins=pins, new_clients="fallback") for pins in stores]
        for client in CLIENTS:
            hosts = await asyncio.gather(*(lb.apick(client) for lb in routers for _ in range(2)))
            assert len(set(hosts)) == 1
        lost = sum(pins.stats["lost"] for pins in stores)
        new = sum(pins.stats["new"] for pins in stores)
        assert new == len(CLIENTS)
        assert lost > len(CLIENTS), "they did meet"

    run(all_of_it)


def test_two_threads_and_a_new_client_at_the_same_time_one_host(
    server: RedisServer, blocking: Blocking
) -> None:
    pins = blocking(server.url, deadline=PATIENT)
    routers = [LoadBalancer(FOUR, pins=pins, new_clients="fallback") for _ in range(2)]
    answers: list[list[str]] = [[], []]
    step = threading.Barrier(2)

    def work(number: int) -> None:
        for client in CLIENTS:
            step.wait(60)
            answers[number].append(routers[number].pick(client).name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(CLIENTS)


def test_growth_moves_no_client_between_two_routers(server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        def router() -> tuple[RedisPins, LoadBalancer]:
            pins = opened(stack, server.url, deadline=PATIENT)
            return pins, LoadBalancer(FOUR, pins=pins)

        both = [router(), router()]
        homes = {client: (await both[0][1].apick(client)).name for client in CLIENTS}
        for _, lb in both:
            lb.register("web5")
        both.append(router())  # one that was restarted, and has known web5 from its start
        both[2][1].register("web5")
        for turn, client in enumerate(CLIENTS * 3):
            async with both[turn % 3][1].lease(client) as lease:
                assert lease.host.name == homes[client]

    run(all_of_it)


# -- Redis is not there ----------------------------------------------------------------------------


async def answers(lb: LoadBalancer, clients: list[str]) -> list[str]:
    return [(await lb.apick(client)).name for client in clients]


@pytest.mark.parametrize("new_clients", ["walk", "fallback"])
def test_killed_and_restarted(own_server: RedisServer, new_clients: str) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        clock = FakeClock()
        pins = opened(stack, own_server.url, deadline=PATIENT, clock=clock)
        lb = LoadBalancer(FOUR, pins=pins, new_clients=new_clients)
        by_ring = [LoadBalancer(FOUR).pick(client).name for client in CLIENTS]
        before = await answers(lb, CLIENTS)
        own_server.kill()
        assert await answers(lb, CLIENTS) == by_ring
        async with lb.lease("session-0") as lease:
            assert lease.host.name == by_ring[0]
        stats = dict(pins.stats)
        assert stats["failures"] == 1, "the first was told, the others did not ask"
        assert stats["not_asked"] == len(CLIENTS)
        clock.now += 1
        assert await answers(lb, CLIENTS) == by_ring
        assert pins.stats["failures"] == 2, "one asked after the pause"
        own_server.start()
        assert await answers(lb, CLIENTS[:1]) == by_ring[:1], "still the pause"
        clock.now += 1
        after = await answers(lb, CLIENTS)
        assert pins.stats["failures"] == 2
        assert pins.stats["new"] == 2 * len(CLIENTS), "it came back empty"
        if new_clients == "walk":
            assert before == after == by_ring
        assert await answers(lb, CLIENTS) == after

    run(all_of_it)


def test_a_restart_between_two_requests_is_not_a_failure(
    own_server: RedisServer, blocking: Blocking
) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        pins = opened(stack, own_server.url, deadline=PATIENT)
        plain = blocking(own_server.url, deadline=PATIENT)
        for _ in range(3):
            assert await pins.claim("x", "web1") == "web1"
            assert plain.get("x") == "web1"
            own_server.kill()
            own_server.start()  # the connections that both hold are dead now
        assert pins.stats["failures"] == plain.stats["failures"] == 0

    run(all_of_it)


def test_frozen_and_thawed(own_server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        clock = FakeClock()
        pins = opened(stack, own_server.url, clock=clock)
        lb = LoadBalancer(FOUR, pins=pins)
        for client in CLIENTS:
            assert (
                await opened(stack, own_server.url, deadline=PATIENT).claim(client, "web1")
                == "web1"
            )
        own_server.freeze()
        by_ring = [LoadBalancer(FOUR).pick(client).name for client in CLIENTS]
        assert await answers(lb, CLIENTS) == by_ring
        assert pins.stats["failures"] == 1
        assert pins.stats["not_asked"] == len(CLIENTS) - 1, "one request waits, not each"
        own_server.thaw()
        for _ in range(100):  # the default deadline, on a machine that may be busy
            clock.now += 1
            if (await lb.apick(CLIENTS[0])).name == "web1":
                break
        patient = LoadBalancer(FOUR, pins=opened(stack, own_server.url, deadline=PATIENT))
        assert set(await answers(patient, CLIENTS)) == {"web1"}, "the answers are to the questions"

    run(all_of_it)


def test_an_answer_that_comes_too_late_is_not_used(own_server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        clock = FakeClock()
        pins = opened(stack, own_server.url, deadline=0.2, clock=clock)
        held = {client: f"web{number % 4}" for number, client in enumerate(CLIENTS)}
        filled = opened(stack, own_server.url, deadline=PATIENT)
        for client, host in held.items():
            await filled.claim(client, host)
        asked = 0
        for client in CLIENTS[:5]:
            assert await pins.get(client) == held[client]
            own_server.freeze()
            with pytest.raises(ConnectionError, match=r"0\.2 s"):
                await pins.get(client)
            own_server.thaw()  # now Redis answers a question that nobody waits for
            clock.now += 1
            for other in CLIENTS:
                try:
                    assert await pins.get(other) == held[other]
                    asked += 1
                except ConnectionError:  # a busy machine
                    clock.now += 1
        assert asked > len(CLIENTS)

    run(all_of_it)


def test_flushed(server: RedisServer) -> None:
    async def all_of_it(stack: AsyncExitStack) -> None:
        pins = opened(stack, server.url, deadline=PATIENT)
        lb = LoadBalancer(FOUR, pins=pins)
        before = await answers(lb, CLIENTS)
        lb.register("web5")
        assert await answers(lb, CLIENTS) == before
        flush(server)
        raw(server, "SCRIPT", "FLUSH")
        by_ring = [LoadBalancer([*FOUR, "web5"]).pick(client).name for client in CLIENTS]
        assert await answers(lb, CLIENTS) == by_ring, "who is forgotten is new"
        lb.mark_down("web5", "dead")
        after = await answers(lb, CLIENTS)
        lb.mark_up("web5")
        assert await answers(lb, CLIENTS) == after
        assert pins.stats["failures"] == 0

    run(all_of_it)


def test_the_blocking_client_is_as_patient_and_no_more(
    own_server: RedisServer, blocking: Blocking
) -> None:
    clock = FakeClock()
    pins = blocking(own_server.url, clock=clock)
    lb = LoadBalancer(FOUR, pins=pins)
    by_ring = [LoadBalancer(FOUR).pick(client).name for client in CLIENTS]
    assert [lb.pick(client).name for client in CLIENTS] == by_ring
    own_server.freeze()
    clock.now += 1  # past the pause after a reply that a busy machine may have missed
    missed = pins.stats["failures"]
    assert [lb.pick(client).name for client in CLIENTS] == by_ring
    with lb.lease("session-0") as lease:
        assert lease.host.name == by_ring[0]
    assert pins.stats["failures"] == missed + 1
    own_server.kill()
    clock.now += 1
    assert [lb.pick(client).name for client in CLIENTS] == by_ring
    assert pins.stats["failures"] == missed + 2


def test_a_failure_is_reported_once_without_the_url_secret(
    caplog: pytest.LogCaptureFixture, blocking: Blocking
) -> None:
    clock = FakeClock()
    pins = blocking("redis://:pa55word@127.0.0.1:1/0", clock=clock)
    with pytest.raises(ConnectionError) as caught:
        pins.get("x")
    with pytest.raises(ConnectionError, match="a moment ago"):
        pins.get("x")
    clock.now += 1
    with pytest.raises(ConnectionError):
        pins.get("x")
    assert len(caplog.records) == 1
    for text in (caplog.text, str(caught.value), repr(pins), str(dict(pins.stats))):
        assert "pa55word" not in text


# -- options ---------------------------------------------------------------------------------------


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)  # what an import then meets is what it raises
    with pytest.raises(ConfigError, match=r'pip install "sticky-hashring\[redis\]"'):
        RedisPins("redis://127.0.0.1/")


@pytest.mark.parametrize("options", [{"deadline": 0}, {"pause": -1}, {"idle": float("nan")}])
def test_what_cannot_work_is_refused(options: dict[str, float]) -> None:
    (name,) = options
    for kind in (RedisPins, BlockingRedisPins):
        with pytest.raises(ConfigError, match=name):
            kind("redis://127.0.0.1/", **options)  # type: ignore[arg-type]  # mypy sees any option


def test_a_sentinel_client_that_may_wait_too_long_is_refused() -> None:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    sentinels: Any = import_module("redis.sentinel")  # without annotations

    def client(quick: dict[str, Any], **options: Any) -> redis.Redis:
        sentinel = sentinels.Sentinel([("127.0.0.1", 1)], sentinel_kwargs=quick)
        found: redis.Redis = sentinel.master_for("shop", **options)
        return found

    once = Retry(NoBackoff(), 1)
    quick = {"socket_timeout": 0.02, "socket_connect_timeout": 0.02, "retry": once}
    slow = {**quick, "socket_timeout": 30}
    eager = {**quick, "retry": Retry(NoBackoff(), 5)}
    with pytest.raises(ConfigError, match="has socket_timeout=30, more than the deadline"):
        BlockingRedisPins(client(quick, **slow))
    with pytest.raises(ConfigError, match="tries 5 times more"):
        BlockingRedisPins(client(quick, **eager))
    with pytest.raises(ConfigError, match="a sentinel's client has socket_timeout=30"):
        BlockingRedisPins(client(slow, **quick))
    pins = BlockingRedisPins(client(quick, **quick))
    with pytest.raises(ConnectionError, match="no answer within"):
        pins.get("x")


# -- sessions of a host ----------------------------------------------------------------------------


def test_both_clients_count_and_list_the_pins_of_a_host(
    server: RedisServer, blocking: Blocking
) -> None:
    prefix = "a*[b]?\\pin:"  # special characters of a pattern stand for themselves
    plain = blocking(server.url, prefix=prefix, idle=100, deadline=PATIENT)
    other = blocking(server.url, prefix="axbbxpin:", deadline=PATIENT)
    for number in range(3000):
        plain.claim(f"client-{number}", f"web{number % 3}")
    other.claim("client-0", "web0")
    plain.claim(b"\xff\x00", "web0")
    raw(server, "PEXPIRE", f"{prefix}client-0", 40_000)
    items = dict(plain.items("web0"))
    assert items.keys() == {b"\xff\x00", *(b"client-%d" % n for n in range(0, 3000, 3))}
    assert items.pop(b"client-0") >= 60
    assert plain.count("web0") == 1001
    assert plain.count("gone") == 0

    async def check(stack: AsyncExitStack) -> None:
        pins = opened(stack, server.url, prefix=prefix, idle=100, deadline=PATIENT)
        assert await pins.count("web0") == 1001
        assert {client async for client, _ in pins.items("web0")} == {*items, b"client-0"}

    run(check)


def test_a_drain_of_1000_sessions_is_watched_down_to_0(
    server: RedisServer, blocking: Blocking
) -> None:
    pins = blocking(server.url, deadline=PATIENT)
    lb = LoadBalancer(["a"], pins=pins)
    clients = [f"session-{number}" for number in range(1000)]
    for client in clients:
        lb.pick(client)
    lb.register("b")
    events: list[str] = []
    lb.subscribe(lambda event: events.append(event.kind))
    report = lb.drain("a")
    left = []
    for number, client in enumerate(clients):
        if number % 250 == 0:
            left.append(report.sessions_left())
            assert lb.check_drains() == {"a": left[-1]}
        lb.forget(client)
    assert left == [1000, 750, 500, 250]
    assert (lb.check_drains(), events) == ({"a": 0}, ["drain", "drain_empty"])


def test_a_drain_with_awaited_pins_is_watched_too(server: RedisServer) -> None:
    async def check(stack: AsyncExitStack) -> None:
        lb = LoadBalancer(["a"], pins=opened(stack, server.url, deadline=PATIENT))
        for number in range(20):
            await lb.apick(number)
        lb.register("b")
        report = lb.drain("a")
        assert lb.check_drains() == {"a": None}
        assert await lb.acheck_drains() == {"a": 20}
        assert await report.asessions_left() == 20
        with pytest.raises(ConfigError, match="must be awaited"):
            report.sessions_left()
        with pytest.raises(ConfigError, match="plain store of pins"):
            lb.rebalance()

    run(check)


def test_a_drain_with_a_dead_redis_has_an_unknown_number(own_server: RedisServer) -> None:
    with closing(BlockingRedisPins(own_server.url, deadline=PATIENT)) as pins:
        lb = LoadBalancer(["a", "b"], pins=pins)
        lb.drain("a")
        own_server.kill()
        assert lb.check_drains() == {"a": None}


def test_sessions_in_redis_are_rebalanced(server: RedisServer, blocking: Blocking) -> None:
    pins = blocking(server.url, deadline=PATIENT)
    lb = LoadBalancer(["a"], pins=pins)
    clients = [f"session-{number}" for number in range(10)]
    for client in clients:
        lb.pick(client)
    lb.register("b")
    assert lb.rebalance().flows == {("a", "b"): 5}
    assert Counter(lb.pick(client).name for client in clients) == {"a": 5, "b": 5}
