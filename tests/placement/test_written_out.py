"""Do the circles answer as the programs' own loops do, at any weights, names and failures?

Each program's algorithm stands here once more, as plainly as its source has it: points in a list,
and a walk over all of them. uhashring and pymemcache are asked themselves.
"""

from __future__ import annotations

import ctypes
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import md5
from ipaddress import ip_address
from typing import Any
from zlib import crc32

import pytest
import uhashring
from hypothesis import given, settings
from hypothesis import strategies as st
from pymemcache.client.rendezvous import (  # type: ignore[import-untyped]  # ships no types
    RendezvousHash,
)
from xxhash import xxh32_intdigest, xxh64_intdigest

from hashring.hosts import Host
from hashring.keys import Key
from hashring.placement import create
from hashring.placement._hashes import full_hash, murmur2_64, sdbm
from hashring.placement.haproxy_consistent import nearest
from hashring.ring.index import Index
from hashring.ring.layout import pack
from tests.placement.pools import KEYS, host, pools

CIRCLE = 1 << 32
Point = tuple[int, str]

thorough = settings(max_examples=25, deadline=None)
ring_sizes = st.tuples(st.integers(1, 300), st.integers(0, 300)).map(lambda s: (s[0], sum(s)))
some_keys = KEYS[::4] + KEYS[-7:]


def weights_of(hosts: Sequence[Host]) -> list[int]:
    return [int(each.weight) for each in hosts]


def drawn_down(data: st.DataObject, hosts: Sequence[Host]) -> set[str]:
    return set(data.draw(st.sets(st.sampled_from([each.name for each in hosts])), label="down"))


def first_at_or_after(points: list[Point], position: int) -> int:
    return next((at for at, point in enumerate(points) if point[0] >= position), 0)


def envoy_points(hosts: Sequence[Host], low: int, high: int, murmur: bool = False) -> list[Point]:
    weights = weights_of(hosts)
    normal = [weight / float(sum(weights)) for weight in weights]
    scale = min(math.ceil(min(normal) * low) / min(normal), float(high))
    current = target = 0.0
    points = []
    for each, share in zip(hosts, normal, strict=True):
        target += scale * share
        i = 0
        while current < target:
            data = f"{each.name}_{i}".encode()
            points.append((murmur2_64(data) if murmur else xxh64_intdigest(data), each.name))
            i += 1
            current += 1
    return sorted(points, key=lambda point: point[0])


@thorough
@given(
    hosts=pools(heaviest=40),
    sizes=ring_sizes,
    murmur=st.booleans(),
    data=st.data(),
)
def test_envoy_ring(
    hosts: list[Host], sizes: tuple[int, int], murmur: bool, data: st.DataObject
) -> None:
    table = create(
        "envoy-ring",
        hosts,
        minimum_ring_size=sizes[0],
        maximum_ring_size=sizes[1],
        hash_function="murmur2" if murmur else "xxhash",
    )
    down = drawn_down(data, hosts)
    left = [each for each in hosts if each.name not in down]
    points = envoy_points(left, *sizes, murmur) if left else []
    smaller = table.without(down)
    for key in some_keys:
        at = first_at_or_after(points, xxh64_intdigest(key.encode()))
        met = list(dict.fromkeys(name for _, name in points[at:] + points[:at]))
        assert table.lookup(key, unavailable=down) == (met[0] if met else None)
        assert list(smaller.walk(key))[: len(met)] == met  # attempt a of a retry is a points on


@thorough
@given(
    hosts=pools(heaviest=40),
    sizes=ring_sizes,
    data=st.data(),
)
def test_grpc_ring(hosts: list[Host], sizes: tuple[int, int], data: st.DataObject) -> None:
    table = create("grpc-ring", hosts, min_ring_size=sizes[0], max_ring_size=sizes[1])
    down = drawn_down(data, hosts)
    points = envoy_points(hosts, *sizes)
    for key in some_keys:
        at = first_at_or_after(points, xxh64_intdigest(key.encode()))
        around = [name for _, name in points[at:] + points[:at] if name not in down]
        if around:
            assert table.lookup(key, unavailable=down) == around[0]
            met = list(dict.fromkeys(around))
            assert list(table.without(down).walk(key))[: len(met)] == met


def nginx_points(hosts: Sequence[Host]) -> list[Point]:
    points: list[Point] = []
    for each in hosts:
        server = each.name.encode()
        name, port = server, b""
        if server[:5].lower() == b"unix:":
            name = server[5:]
        else:
            head, colon, tail = server.rpartition(b":")
            if colon and (not tail or tail.isdigit()):
                name, port = head, tail
        previous = 0
        for _ in range(160 * int(each.weight)):
            previous = crc32(name + b"\0" + port + previous.to_bytes(4, "little"))
            points.append((previous, each.name))
    points.sort(key=lambda point: point[0])
    return [point for at, point in enumerate(points) if not at or points[at - 1][0] != point[0]]


@thorough
@given(hosts=pools(smallest=2, heaviest=3), data=st.data())
def test_nginx_consistent(hosts: list[Host], data: st.DataObject) -> None:
    table = create("nginx-consistent", hosts)
    down = drawn_down(data, hosts)
    points = nginx_points(hosts)
    for key in some_keys:
        if not key:
            assert table.lookup(key, unavailable=down) is None
            continue
        at = first_at_or_after(points, crc32(key.encode()))
        tries = [points[(at + step) % len(points)][1] for step in range(21)]
        usable = next((name for name in tries if name not in down), None)
        assert table.lookup(key, unavailable=down) == usable


def haproxy_start(each: Host, hash_key: str) -> int:
    name, _, port = each.address.rpartition(":")
    seed = full_hash(int(port)) if hash_key == "addr-port" else 0
    packed = ip_address(name.strip("[]")).packed
    if hash_key == "guid":
        return xxh32_intdigest(str(each.guid).encode())
    if hash_key.startswith("addr"):
        if len(packed) == 16:
            return xxh32_intdigest(packed, seed)
        return full_hash((seed + int.from_bytes(packed, "little")) % CIRCLE)
    assert each.id is not None
    if hash_key == "id32":
        return full_hash(int.from_bytes(each.id.to_bytes(4, "big"), "little"))
    return each.id * 4096 % CIRCLE


def haproxy_walk(nodes: list[Point], number: int) -> Iterator[str]:
    following = bisect_left([node for node, _ in nodes], number) % len(nodes)
    before = (following - 1) % len(nodes)
    dp, dn = (number - nodes[before][0]) % CIRCLE, (nodes[following][0] - number) % CIRCLE
    start = before if dp <= dn else following
    return (name for _, name in nodes[start:] + nodes[:start])


@pytest.mark.parametrize("hash_key", ["id", "id32", "addr", "addr-port", "guid"])
@thorough
@given(hosts=pools(heaviest=5), sixth=st.booleans(), avalanche=st.booleans(), data=st.data())
def test_haproxy_consistent(
    hash_key: str, hosts: list[Host], sixth: bool, avalanche: bool, data: st.DataObject
) -> None:
    if sixth:
        hosts = [
            Host(h.name, h.weight, id=h.id, guid=h.guid, address=f"[fd00::{h.id}]:80")
            for h in hosts
        ]
    table = create("haproxy-consistent", hosts, hash_key=hash_key, avalanche=avalanche)
    down = drawn_down(data, hosts)
    nodes = [
        (full_hash((haproxy_start(each, hash_key) + j) % CIRCLE), each.name)
        for each in hosts
        if each.name not in down
        for j in range(16 * int(each.weight))
    ]
    nodes.sort(key=lambda node: node[0])
    for key in some_keys if nodes else ():
        number = full_hash(sdbm(key.encode())) if avalanche else sdbm(key.encode())
        met = list(dict.fromkeys(haproxy_walk(nodes, number)))
        assert table.lookup(key, unavailable=down) == met[0]
        assert list(table.without(down).walk(key)) == met


@thorough
@given(
    st.lists(
        st.tuples(st.integers(0, 40) | st.integers(CIRCLE - 40, CIRCLE - 1), st.integers(0, 2)),
        min_size=2,
        max_size=12,
    )
)
def test_nearest_of_two_neighbours_with_crowds_and_ties(nodes: list[tuple[int, int]]) -> None:
    nodes.sort()
    if nodes[0][0] == nodes[-1][0]:
        return  # one server alone
    index = Index.build(pack(nearest(nodes)), ["0", "1", "2"])
    named = [(node, str(code)) for node, code in nodes]
    for number in [*range(130), *range(CIRCLE - 130, CIRCLE), CIRCLE // 2 - 1, CIRCLE // 2]:
        assert index.labels[index.find(number)] == next(haproxy_walk(named, number))


def float32(number: float) -> float:
    return ctypes.c_float(number).value


def ketama_points(hosts: Sequence[Host]) -> list[tuple[int, int, str]]:
    weights = weights_of(hosts)
    points = []
    for at, each in enumerate(hosts):
        pct = float32(float32(weights[at]) / float32(sum(weights)))
        product = float32(float32(float32(pct * 160) / 4) * len(hosts))
        label = each.name.removesuffix(":11211")
        for i in range(math.floor(float32(product + 1e-10))):
            digest = md5(f"{label}-{i}".encode()).digest()
            for x in range(4):
                value = int.from_bytes(digest[4 * x : 4 * x + 4], "little")
                points.append((value, at, each.name))
    return sorted(points)


@thorough
@given(hosts=pools(largest=8, heaviest=1000), data=st.data())
def test_ketama(hosts: list[Host], data: st.DataObject) -> None:
    table = create("ketama", hosts, strip_port=11211)
    down = drawn_down(data, hosts)
    left = [each for each in hosts if each.name not in down]
    points = [(value, name) for value, _, name in ketama_points(left)]
    for key in some_keys:
        position = int.from_bytes(md5(key.encode()).digest()[:4], "little")
        owner = points[first_at_or_after(points, position)][1] if points else None
        assert table.lookup(key, unavailable=down) == owner


@thorough
@given(
    hosts=pools(),
    options=st.sampled_from(
        [{}, {"vnodes": 7}, {"hash_fn": "ketama"}, {"hash_fn": "ketama", "vnodes": 9}]
    ),
    data=st.data(),
)
def test_uhashring_itself(hosts: list[Host], options: dict[str, Any], data: st.DataObject) -> None:
    table = create("uhashring", hosts, **options)
    real = uhashring.HashRing({h.name: int(h.weight) for h in hosts}, **options)
    down = drawn_down(data, hosts)
    for name in sorted(down):
        real.remove_node(name)
    smaller = table.without(down)
    keys: list[Key] = [*some_keys, b"bytes", b"\xff", 42]
    for key in keys + [f"{hosts[0].name}-{i}" for i in range(5)]:
        assert table.lookup(key, unavailable=down) == real.get_node(key)
        met = [name for name in real.iterate_nodes(key) if name]
        assert list(smaller.walk(key))[: len(met)] == met


@thorough
@given(hosts=pools(), seed=st.integers(0, CIRCLE - 1), data=st.data())
def test_pymemcache_itself(hosts: list[Host], seed: int, data: st.DataObject) -> None:
    table = create("pymemcache", hosts, seed=seed)
    down = drawn_down(data, hosts)
    real = RendezvousHash([h.name for h in hosts if h.name not in down], seed)
    keys: list[Key] = [*some_keys, b"bytes", b"\xff'", 42]
    for key in keys:
        assert table.lookup(key, unavailable=down) == real.get_node(key)


def test_a_key_equal_to_a_node_goes_to_the_next_point() -> None:
    # uhashring takes the first point strictly after a key, and here both have one MD5
    names = ["a", "b", "c", "d"]
    table, real = create("uhashring", names), uhashring.HashRing(names)
    for key in (f"{name}-{i}" for name in names for i in range(160)):
        assert table.lookup(key) == real.get_node(key)


def test_a_host_has_its_own_attributes() -> None:
    assert host("127.0.0.1:9001").address == "10.0.0.0:80"
