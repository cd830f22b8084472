"""modula, libmemcached's KETAMA and SPY, and the first ketama, against their rules written out."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable
from hashlib import md5
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import _hashes, create
from tests.placement.pools import pools

KEYS = [f"user:{number}" for number in range(60)] + ["", "clé", "钥匙" * 9]
few = settings(max_examples=25, deadline=None)
key_hashes = pytest.mark.parametrize("key_hash", sorted(_hashes.KEY_HASHES))


def owner(points: Iterable[tuple[int, int]], number: int) -> int:
    """The host of the first point at or after ``number``, wrapping."""
    circle = sorted(points)
    return circle[bisect_left(circle, (number, -1)) % len(circle)][1]


@key_hashes
@few
@given(hosts=pools(), weighted=st.booleans())
def test_modula_counts_slots(key_hash: str, hosts: list[Host], weighted: bool) -> None:
    def rank(host: Host) -> tuple[int, bytes]:
        label = host.name.removesuffix(":11211").encode()
        return len(label), label

    slots = [host.name for host in hosts]
    if weighted:
        ordered = sorted(hosts, key=rank)
        slots = [host.name for host in ordered for _ in range(int(host.weight))]
    table = create("modula", hosts, key_hash=key_hash, weighted=weighted)
    number = _hashes.KEY_HASHES[key_hash]
    for key in KEYS:
        assert table.lookup(key) == slots[number(key.encode()) % len(slots)]


def test_only_libmemcached_modula_heeds_the_order() -> None:
    names, mixed = ["a", "b", "cc", "d"], ["cc", "d", "b", "a"]
    options = {"key_hash": "md5", "weighted": False}
    assert any(
        create("modula", names, **options).lookup(key)
        != create("modula", mixed, **options).lookup(key)
        for key in KEYS
    )
    one, two = create("modula", names), create("modula", mixed)
    assert one.fingerprint == two.fingerprint
    assert all(one.lookup(key) == two.lookup(key) for key in KEYS)


def labels_of(hosts: list[Host], spy: bool) -> list[str]:
    if not spy:
        return [host.name.removesuffix(":11211") for host in hosts]
    ported = (host.name.rsplit(":", 1)[-1].isdecimal() and ":" in host.name for host in hosts)
    return [
        f"/{host.name}" if has_port else f"/{host.name}:11211"
        for host, has_port in zip(hosts, ported, strict=True)
    ]


def plain(labels: list[str], number: Callable[[bytes], int]) -> list[tuple[int, int]]:
    return [
        (number(f"{label}-{i}".encode()), index)
        for index, label in enumerate(labels)
        for i in range(100)
    ]


def grouped(labels: list[str], groups: Iterable[int]) -> list[tuple[int, int]]:
    return [
        (point, index)
        for index, (label, count) in enumerate(zip(labels, groups, strict=True))
        for i in range(count)
        for point in struct.unpack("<4I", md5(f"{label}-{i}".encode()).digest())
    ]


@key_hashes
@few
@given(hosts=pools(smallest=2, heaviest=1), spy=st.booleans())
def test_equal_hosts_have_100_points_of_the_key_hash(
    key_hash: str, hosts: list[Host], spy: bool
) -> None:
    table = create("libmemcached-ketama", hosts, key_hash=key_hash, spy=spy)
    number = _hashes.KEY_HASHES[key_hash]
    points = plain(labels_of(hosts, spy), number)
    for key in KEYS:
        assert table.lookup(key) == hosts[owner(points, number(key.encode()))].name


def single(number: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return found


@pytest.mark.parametrize("spy", [False, True])
def test_one_weight_above_1_brings_weighted_points_for_good(spy: bool) -> None:
    hosts = [Host("10.0.0.1:11211", 3), Host("10.0.0.2:9101"), Host("10.0.0.3:11211")]
    table = create("libmemcached-ketama", hosts, spy=spy)
    labels = labels_of(hosts, spy)
    for key in KEYS:
        number = _hashes.one_at_a_time(key.encode())
        three = grouped(labels, [72, 24, 24])
        assert table.lookup(key) == hosts[owner(three, number)].name
        # the flag is the pool's: it outlives the host that set it
        two = grouped(labels[1:], [40, 40])
        assert table.without([hosts[0].name]).lookup(key) == hosts[1 + owner(two, number)].name


@few
@given(hosts=pools(smallest=2, heaviest=1000))
def test_the_first_ketama_rounds_a_double_to_a_float(hosts: list[Host]) -> None:
    table = create("ketama-original", hosts)
    total = single(sum(host.weight for host in hosts))
    shares = [single(single(host.weight) / total) for host in hosts]
    groups = [floor(single(share * 40.0 * len(hosts))) for share in shares]
    points = grouped([host.name for host in hosts], groups)
    for key in KEYS:
        assert table.lookup(key) == hosts[owner(points, _hashes.md5(key.encode()))].name


def test_the_first_ketama_keeps_port_11211_in_its_labels() -> None:
    hosts = ["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"]
    first = create("ketama-original", hosts)
    stripped = create("ketama", hosts, strip_port=11211)
    kept = create("ketama", hosts)
    assert any(first.lookup(key) != stripped.lookup(key) for key in KEYS)
    assert all(first.lookup(key) == kept.lookup(key) for key in KEYS)


@pytest.mark.parametrize("name", ["modula", "libmemcached-ketama"])
def test_an_unknown_key_hash_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"key_hash must be one of crc16, .*, got 'sha1'"):
        create(name, ["a"], key_hash="sha1")


@pytest.mark.parametrize(("name", "flag"), [("modula", "weighted"), ("libmemcached-ketama", "spy")])
def test_a_flag_is_a_truth_value(name: str, flag: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag} must be true or false, got 'yes'"):
        create(name, ["a"], **{flag: "yes"})


@pytest.mark.parametrize("name", ["modula", "libmemcached-ketama", "ketama-original"])
def test_a_broken_weight_names_its_host(name: str) -> None:
    with pytest.raises(ConfigError, match=r"host 'b': a weight of \w+ is a whole number"):
        create(name, {"a": 1, "b": 1.5})
