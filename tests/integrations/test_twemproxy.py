"""twemproxy: ketama and modula, weighted, with named servers, hash tags and an ejected server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS, memcached_answers
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    MemcachedTalk,
    free_port,
    program,
    running,
    version_of,
)
from tests.waiting import wait_until

WEIGHTS = (3, 1, 4, 2, 5)
# in no order of their own, and of several lengths: modula counts slots in twemproxy's order
NAMES = ("server-10", "c", "server-9", "b", "aa")
EJECTED = 2
EJECTED_FOR = 600_000  # ms until a failed server is tried again: longer than the tests take
LONGEST_EJECTION = 10.0  # seconds


class Pool(NamedTuple):
    """One server pool: how twemproxy distributes, over which servers, and what the placement is."""

    distribution: str
    options: dict[str, Any]
    named: bool
    servers: str = "steady"


POOLS = [
    Pool("ketama", {"key_hash": "fnv1a_64"}, named=False),
    Pool("ketama", {"key_hash": "md5"}, named=True),
    Pool("ketama", {"key_hash": "murmur", "hash_tag": "{}"}, named=True),
    Pool("ketama", {"key_hash": "md5", "strip_port": 11211}, named=False, servers="default port"),
    Pool("ketama", {"key_hash": "md5"}, named=True, servers="failing"),
    Pool("modula", {"key_hash": "fnv1a_64"}, named=False),
    Pool("modula", {"key_hash": "one_at_a_time"}, named=True),
    Pool("modula", {"key_hash": "crc32a"}, named=False, servers="default port"),
    Pool("modula", {"key_hash": "crc16"}, named=True, servers="failing"),
]
TAGGED = (*KEYS, *(f"{{{key}}}.{index}" for index, key in enumerate(KEYS[:100])), "{}empty")


def settings(number: int, pool: Pool, port: int, addresses: list[str]) -> str:
    servers = "".join(
        f"    - {address}:{weight}{f' {name}' if pool.named else ''}\n"
        for address, weight, name in zip(addresses, WEIGHTS, NAMES, strict=True)
    )
    tag = f'  hash_tag: "{pool.options["hash_tag"]}"\n' if "hash_tag" in pool.options else ""
    return (
        f"pool{number}:\n  listen: {LOOPBACK}:{port}\n  hash: {pool.options['key_hash']}\n"
        f"  distribution: {pool.distribution}\n{tag}"
        f"  auto_eject_hosts: {str(pool.servers == 'failing').lower()}\n"
        f"  server_failure_limit: 1\n"
        f"  server_retry_timeout: {EJECTED_FOR}\n  timeout: 10000\n  servers:\n{servers}"
    )


class Twemproxy(NamedTuple):
    """A running twemproxy: the port of each pool, and the addresses of each group of backends."""

    version: str
    ports: list[int]
    addresses: dict[str, list[str]]


@pytest.fixture(scope="module")
def groups(memcached_backends: Backends) -> Iterator[dict[str, Backends]]:
    default_port = Backends(3, MemcachedTalk)
    for number in (1, 2):
        # loopback is 127.0.0.0/8: an address of this process alone has the port free
        address = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{number}"
        default_port.add(socket.create_server((address, 11211)))
    failing = Backends(len(WEIGHTS), MemcachedTalk)
    yield {"steady": memcached_backends, "failing": failing, "default port": default_port}
    failing.stop()
    default_port.stop()


@pytest.fixture(scope="module")
def twemproxy(
    groups: dict[str, Backends], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twemproxy]:
    path = program("nutcracker", "nutcracker")
    folder = tmp_path_factory.mktemp("twemproxy")
    ports = [free_port() for _ in POOLS]
    addresses = {name: group.addresses for name, group in groups.items()}
    pools = (
        settings(number, pool, ports[number], addresses[pool.servers])
        for number, pool in enumerate(POOLS)
    )
    (folder / "nutcracker.yml").write_text("".join(pools))
    command = [path, "-c", "nutcracker.yml", "-a", LOOPBACK, "-s", str(free_port())]
    with running(command, folder, ports):
        groups["failing"].close(addresses["failing"][EJECTED])
        yield Twemproxy(version_of("twemproxy", path, "-V"), ports, addresses)


def until_ejected(port: int) -> None:
    """Ask until no key fails: the first that meets the dead server takes it off the circle."""
    wait_until(
        lambda: None not in memcached_answers(port, KEYS).values(),
        "the dead server is ejected",
    )


@pytest.mark.parametrize("number", range(len(POOLS)))
def test_twemproxy_agrees(twemproxy: Twemproxy, parity: Parity, number: int) -> None:
    pool, port = POOLS[number], twemproxy.ports[number]
    addresses = twemproxy.addresses[pool.servers]
    names = NAMES if pool.named else tuple(addresses)
    gone = []
    if pool.servers == "failing":
        until_ejected(port)
        gone = [names[EJECTED]]
    named = dict(zip(addresses, names, strict=True))
    asked = TAGGED if "hash_tag" in pool.options else KEYS
    answers = {key: named[host] for key, host in memcached_answers(port, asked).items() if host}
    assert len(answers) == len(set(asked))
    table = create(pool.distribution, zip(names, WEIGHTS, strict=True), **pool.options)
    notes = ["named"] * pool.named + ["hash tag"] * ("hash_tag" in pool.options)
    notes += {"steady": [], "failing": ["one ejected"], "default port": ["port 11211"]}[
        pool.servers
    ]
    case = ", ".join([pool.options["key_hash"], "weighted", *notes])
    ours = partial(table.lookup, unavailable=gone)
    parity.agrees(twemproxy.version, pool.distribution, case, answers, ours)
