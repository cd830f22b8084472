"""One redis-py client over several real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hashring.errors import ConfigError
from hashring.testing import FakeClock
from tests.affinity.redis_server import RedisServer

redis = pytest.importorskip("redis")

from hashring.integrations.redis_py import ShardedRedis  # noqa: E402  # needs redis

NAMES = ("cache1", "cache2", "cache3", "cache4")
KEYS = [f"user:{number}" for number in range(200)]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, RedisServer]]:
    with ExitStack() as stack:
        started = {}
        for name in NAMES:
            (tmp_path / name).mkdir()
            started[name] = stack.enter_context(RedisServer(tmp_path / name))
        yield started


@pytest.fixture
def clients(servers: dict[str, RedisServer]) -> Iterator[dict[str, Any]]:
    made = {
        name: redis.Redis(port=server.port, retry=None, socket_timeout=5, decode_responses=True)
        for name, server in servers.items()
    }
    yield made
    for client in made.values():
        client.close()


def test_each_key_is_on_its_server_alone(clients: dict[str, Any]) -> None:
    client = ShardedRedis(clients)
    for key in KEYS:
        assert client.set(key, key.upper())
    assert client.mget(KEYS) == [key.upper() for key in KEYS]
    for key in KEYS:
        (owner,) = client.names_of(key)
        assert client.server_of(key) is clients[owner]
        assert [name for name in NAMES if clients[name].exists(key)] == [owner]
    assert len({client.names_of(key)[0] for key in KEYS}) == 4
    assert client.dbsize() == len(KEYS)
    assert client.ping() is True
    assert sorted(client.scan_iter()) == sorted(KEYS)


def test_commands_with_many_keys_are_split_and_joined(clients: dict[str, Any]) -> None:
    client = ShardedRedis(clients)
    assert client.mset(dict.fromkeys(KEYS, "1"))
    assert client.mget(["none", *reversed(KEYS), "user:0"]) == [None, *["1"] * len(KEYS), "1"]
    assert client.mget([]) == []
    assert client.exists(*KEYS, "none") == len(KEYS)
    assert client.touch(*KEYS) == len(KEYS)
    assert client.delete(*KEYS[:50], "none") == 50
    assert client.unlink(*KEYS) == len(KEYS) - 50
    assert client.dbsize() == 0
    number: Any = 42
    client.set(number, "a number")
    assert client.get("42") == client.get(b"42") == client.get(number) == "a number"


def test_other_commands_and_scripts(clients: dict[str, Any]) -> None:
    client: Any = ShardedRedis(clients)
    assert client.hset("h", mapping={"a": "1"}) == 1
    assert client.hgetall("h") == {"a": "1"}
    assert client.incrby("n", 5) == 5
    assert client.zadd("z", {"m": 1}) == 1
    assert client.expire("n", 100)
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert [script(keys=[f"c{number}"], args=[3]) for number in range(8)] == [3] * 8
    assert client.eval("return KEYS[1]", 1, "n") == "n"
    assert client.flushdb()
    assert client.dbsize() == 0


def test_keys_with_one_tag_are_together(clients: dict[str, Any]) -> None:
    client = ShardedRedis(clients)
    for number in range(20):
        one, other = f"{{user:{number}}}.a", f"x{{user:{number}}}.b"
        assert client.names_of(one) == client.names_of(other) == client.names_of(f"user:{number}")
        client.sadd(one, 1, 2)
        client.sadd(other, 2, 3)
        assert client.sinter([one, other]) == {"2"}
        assert client.rename(one, f"{{user:{number}}}.c")
    apart = next(key for key in KEYS if client.names_of(key) != client.names_of(KEYS[0]))
    with pytest.raises(ConfigError, match=f"SINTER needs its keys .* '{KEYS[0]}' and '{apart}'"):
        client.sinter([KEYS[0], apart])
    with pytest.raises(ConfigError, match="RENAME needs its keys on one server"):
        client.rename(KEYS[0], apart)


def test_what_has_no_key_is_refused(clients: dict[str, Any]) -> None:
    client = ShardedRedis(clients)
    for call in (client.keys, client.info, client.randomkey, lambda: client.publish("a", "b")):
        with pytest.raises(ConfigError, match="has no key by which its server could be chosen"):
            call()
    with pytest.raises(ConfigError, match="has no key"):
        client.eval("return 1", 0)
    with pytest.raises(ConfigError, match="a pipeline is of one server"):
        client.pipeline()


def test_a_lost_server_is_an_error_or_a_missing_value(
    servers: dict[str, RedisServer], clients: dict[str, Any]
) -> None:
    clock = FakeClock()
    strict, cache = ShardedRedis(clients), ShardedRedis(clients, on_failure="next", clock=clock)
    strict.mset(dict.fromkeys(KEYS, "old"))
    lost = [key for key in KEYS if strict.names_of(key) == ["cache2"]]
    assert lost
    servers["cache2"].kill()
    with pytest.raises(redis.ConnectionError):
        strict.get(lost[0])
    with pytest.raises(redis.ConnectionError, match=r"cache2 did not answer 1 s ago"):
        strict.get(lost[0])  # without a connection
    assert [cache.get(key) for key in KEYS if key not in lost] == ["old"] * (len(KEYS) - len(lost))
    assert [cache.get(key) for key in lost] == [None] * len(lost)
    assert all(cache.set(key, "new") for key in lost)
    assert cache.mget(lost) == ["new"] * len(lost)
    assert cache.stats == {"lost": 1, "returned": 0}
    servers["cache2"].start()
    clock.advance(1)
    assert cache.get(lost[0]) is None  # a server that was empty when it came back
    assert cache.stats == {"lost": 1, "returned": 1}


@pytest.mark.parametrize("on_return", ["keep", "flush"])
def test_stale_values_after_a_return(
    servers: dict[str, RedisServer], clients: dict[str, Any], on_return: Any
) -> None:
    clock = FakeClock()
    cache = ShardedRedis(clients, on_failure="next", on_return=on_return, clock=clock)
    key = next(key for key in KEYS if cache.names_of(key) == ["cache3"])
    cache.set(key, "old")
    servers["cache3"].freeze()
    clients["cache3"].connection_pool.disconnect()
    clients["cache3"].connection_pool.connection_kwargs["socket_timeout"] = 0.2
    assert cache.set(key, "new")
    assert cache.get(key) == "new"
    servers["cache3"].thaw()
    clients["cache3"].connection_pool.connection_kwargs["socket_timeout"] = 5
    clients["cache3"].connection_pool.disconnect()
    clock.advance(1)
    assert cache.get(key) == {"keep": "old", "flush": None}[on_return]


def test_copies_survive_a_server(servers: dict[str, RedisServer], clients: dict[str, Any]) -> None:
    client = ShardedRedis(clients, copies=2)
    client.mset(dict.fromkeys(KEYS, "1"))
    for key in KEYS:
        assert sorted(n for n in NAMES if clients[n].exists(key)) == sorted(client.names_of(key))
    servers["cache1"].kill()
    assert client.mget(KEYS) == ["1"] * len(KEYS)
    assert all(client.set(key, "2") for key in KEYS)
    assert [client.get(key) for key in KEYS] == ["2"] * len(KEYS)


@pytest.mark.parametrize(
    "options",
    [
        {"servers": {}},
        {"copies": 0},
        {"copies": 2},
        {"on_failure": "ignore"},
        {"on_return": "wait"},
        {"pause": 0},
    ],
    ids=str,
)
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"servers": {"a": redis.Redis()}, **options}
    with pytest.raises(ConfigError, match=next(iter(options))):
        ShardedRedis(given.pop("servers"), **given)
