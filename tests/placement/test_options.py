"""Does a placement refuse what its program refuses, and say what is allowed?"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from hashring import LoadBalancer, placement
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import create, module, names
from hashring.placement._hashes import xxhash_module

# the names, options and defaults that other programs' configurations are translated into
OPTIONS: dict[str, dict[str, Any]] = {
    "envoy-maglev": {"table_size": 65537},
    "envoy-ring": {
        "minimum_ring_size": 1024,
        "maximum_ring_size": 8388608,
        "hash_function": "xxhash",
    },
    "grpc-ring": {"min_ring_size": 1024, "max_ring_size": 4096},
    "haproxy-consistent": {
        "hash_function": "sdbm",
        "avalanche": True,
        "hash_key": "id",
        "balance": "hash",
        "key_hash": None,
    },
    "jump": {"hash_function": "xxhash"},
    "ketama": {"key_hash": "md5", "hash_tag": None, "strip_port": None},
    "multiprobe": {"vnodes": 16, "probes": 21, "seed": 0},
    "nginx-consistent": {},
    "pymemcache": {"seed": 0},
    "rendezvous": {"seed": 0},
    "uhashring": {"hash_fn": "md5", "vnodes": None},
}

BAD: list[tuple[str, str, object, str]] = [
    ("uhashring", "hash_fn", ["md5"], "one of md5, ketama"),
    ("envoy-maglev", "table_size", 65536, "a prime.*65536.*65537"),
    ("envoy-maglev", "table_size", 5000012, "5000011"),
    ("envoy-maglev", "table_size", 1, "from 2"),
    ("envoy-maglev", "table_size", True, "int"),
    ("envoy-ring", "minimum_ring_size", 0, "from 1 to 8388608"),
    ("envoy-ring", "minimum_ring_size", 1024.0, "int"),
    ("envoy-ring", "maximum_ring_size", 8388609, "from 1 to 8388608"),
    ("envoy-ring", "maximum_ring_size", 1023, "minimum_ring_size .1024. must not be above"),
    ("envoy-ring", "hash_function", "md5", "one of xxhash, murmur2"),
    ("grpc-ring", "min_ring_size", 4097, "min_ring_size .4097. must not be above"),
    ("grpc-ring", "max_ring_size", 0, "from 1"),
    ("haproxy-consistent", "hash_function", "md5", "crc32, djb2, none, sdbm, wt6"),
    ("haproxy-consistent", "hash_function", ["sdbm"], "crc32, djb2, none, sdbm, wt6"),
    ("haproxy-consistent", "avalanche", 1, "true or false"),
    ("haproxy-consistent", "hash_key", "name", "id, id32, addr, addr-port, guid"),
    ("haproxy-consistent", "hash_key", None, "id, id32, addr, addr-port, guid"),
    ("haproxy-consistent", "balance", "uri", "hash, source"),
    ("haproxy-consistent", "key_hash", "xxh32", "hash_function='none'"),
    ("haproxy-consistent", "key_hash", "md5", "'xxh32'"),
    ("jump", "hash_function", "md5", "xxhash, murmur3"),
    ("ketama", "key_hash", "sha1", "md5, murmur, one_at_a_time"),
    ("ketama", "hash_tag", "{", "two ASCII characters"),
    ("ketama", "hash_tag", "é", "two ASCII characters"),
    ("ketama", "hash_tag", 7, "two ASCII characters"),
    ("ketama", "strip_port", 0, "1 to 65535"),
    ("ketama", "strip_port", "11211", "int"),
    ("multiprobe", "probes", 0, "1 to 1024"),
    ("multiprobe", "vnodes", 0, "vnodes"),
    ("multiprobe", "seed", -1, "seed"),
    ("pymemcache", "seed", 1 << 32, "seed"),
    ("rendezvous", "seed", "x", "seed"),
    ("uhashring", "hash_fn", "sha1", "md5, ketama"),
    ("uhashring", "vnodes", 0, "1 to"),
    ("uhashring", "vnodes", True, "int"),
]

WHOLE = ("envoy-maglev", "envoy-ring", "grpc-ring", "ketama", "nginx-consistent", "uhashring")


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_and_their_defaults(name: str) -> None:
    assert dict(placement.options(name)) == OPTIONS[name]


@pytest.mark.parametrize(("name", "option", "value", "said"), BAD)
def test_a_bad_value_is_refused_with_what_is_allowed(
    name: str, option: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        create(name, ["a:1", "b:2"], **{option: value})


@pytest.mark.parametrize("name", WHOLE)
def test_weights_are_whole_where_the_program_takes_no_others(name: str) -> None:
    with pytest.raises(ConfigError, match=r"host 'b': a weight of .* whole number .*, got 1.5"):
        create(name, {"a": 1, "b": 1.5})


def test_haproxys_weights_end_at_256() -> None:
    assert create("haproxy-consistent", {"a": 256}).hosts == ("a",)
    with pytest.raises(ConfigError, match=r"'a': a weight of HAProxy .* 256, got 257"):
        create("haproxy-consistent", {"a": 257})


@pytest.mark.parametrize(
    ("hash_key", "host", "said"),
    [
        ("guid", Host("a"), "'a': hash_key 'guid' needs a guid"),
        ("addr", Host("a"), "'a': hash_key 'addr' needs an IP address, got address 'a'"),
        ("addr", Host("a", address="web.example:80"), "needs an IP address"),
        ("addr-port", Host("a", address="10.0.0.1"), "'a': .* needs an address with a port"),
        ("addr-port", Host("a", address="10.0.0.1:"), "needs an address with a port"),
        ("addr-port", Host("a", address="10.0.0.1:65536"), "needs an address with a port"),
        ("addr-port", Host("a", address="[::1]"), "needs an address with a port"),
        ("id", Host("a", id=0), "'a': id must be from 1"),
        ("id", Host("a", id=1 << 31), "id must be from 1 to 2.31-1"),
    ],
)
def test_a_host_without_what_hash_key_needs(hash_key: str, host: Host, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create("haproxy-consistent", [host], hash_key=hash_key)


def test_two_servers_with_one_id() -> None:
    with pytest.raises(ConfigError, match=r"'a' and 'b' have the same id 7"):
        create("haproxy-consistent", [Host("a", id=7), Host("b", id=7)])


@pytest.mark.parametrize("name", ["nginx-consistent", "uhashring"])
def test_a_circle_of_too_many_points_is_refused_with_its_cost(name: str) -> None:
    with pytest.raises(ConfigError, match=r"about \d+ s .*\d GB"):
        create(name, {"a": 60_000})


def test_a_missing_xxhash_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    xxhash_module.cache_clear()
    monkeypatch.setitem(sys.modules, "xxhash", None)
    for name in ("envoy-ring", "envoy-maglev", "grpc-ring", "jump"):
        with pytest.raises(ConfigError, match=r'pip install "sticky-hashring\[proxies\]"'):
            create(name, ["a", "b"])
    assert create("jump", ["a", "b"], hash_function="murmur3").lookup("x") in {"a", "b"}


@pytest.mark.parametrize("name", names())
def test_a_set_of_hosts_is_refused_where_order_counts(name: str) -> None:
    hosts = {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}
    if "order_free" in module(name).GUARANTEES:
        assert len(create(name, hosts).hosts) == 3
    else:
        with pytest.raises(ConfigError, match="a set has none: give a list"):
            create(name, frozenset(hosts))


def test_a_balancer_refuses_a_set_where_order_counts() -> None:
    hosts = {"10.0.0.1:80", "10.0.0.2:80"}
    assert len(LoadBalancer(hosts).hosts) == 2
    with pytest.raises(ConfigError, match="give a list"):
        LoadBalancer(hosts, placement="nginx-hash")
    lb = LoadBalancer(sorted(hosts), placement="nginx-hash")
    with pytest.raises(ConfigError, match="give a list"):
        lb.set_hosts(hosts)
    assert lb.snapshot.epoch == 1
