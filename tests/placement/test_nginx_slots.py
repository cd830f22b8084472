"""``hash KEY`` and ``ip_hash`` against nginx's loops written out, and where they end."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.placement import create

WEIGHTS = st.lists(st.integers(1, 9), min_size=2, max_size=6)
few = settings(max_examples=150, deadline=None)


def peer(weights: Sequence[int], number: int) -> int:
    left = number % sum(weights)
    for index, weight in enumerate(weights):
        if left < weight:
            return index
        left -= weight
    raise AssertionError


def hash_peer(weights: Sequence[int], down: set[int], key: str) -> int | None:
    """ngx_http_upstream_get_hash_peer, one line of C for one of Python."""
    total = tries = rehash = 0
    while True:
        text = (str(rehash) if rehash else "") + key
        total += (crc32(text.encode()) >> 16) & 0x7FFF
        rehash += 1
        index = peer(weights, total)
        if index not in down:
            return index
        tries += 1
        if tries > 20:
            return None


def ip_hash_peer(weights: Sequence[int], down: set[int], key: str) -> int | None:
    """ngx_http_upstream_get_ip_hash_peer."""
    packed = ipaddress.ip_address(key).packed
    address = packed[:3] if len(packed) == 4 else packed
    h, tries = 89, 0
    while True:
        for octet in address:
            h = (h * 113 + octet) % 6271
        index = peer(weights, h)
        if index not in down:
            return index
        tries += 1
        if tries > 20:
            return None


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
BOTH = [
    pytest.param("nginx-hash", hash_peer, st.text(min_size=1, max_size=9), id="hash"),
    pytest.param("nginx-ip-hash", ip_hash_peer, ADDRESSES, id="ip_hash"),
]


@pytest.mark.parametrize(("name", "model", "keys"), BOTH)
@few
@given(weights=WEIGHTS, data=st.data())
def test_the_table_does_what_the_loop_does(
    name: str,
    model: Callable[[Sequence[int], set[int], str], int | None],
    keys: st.SearchStrategy[str],
    weights: list[int],
    data: st.DataObject,
) -> None:
    hosts = [f"b{index}" for index in range(len(weights))]
    # all but one is often down, so that the loop often gives up
    down = data.draw(st.sets(st.sampled_from(range(len(weights)))))
    table = create(name, zip(hosts, weights, strict=True))
    gone = [hosts[index] for index in down]
    for key in data.draw(st.lists(keys.filter(_is_utf8), min_size=1, max_size=20)):
        expected = model(weights, down, key)
        assert table.lookup(key, unavailable=gone) == (
            None if expected is None else hosts[expected]
        )


def _is_utf8(key: str) -> bool:
    return not any(0xD800 <= ord(letter) < 0xE000 for letter in key)


def test_a_heavy_server_down_makes_the_loop_give_up() -> None:
    table = create("nginx-hash", [("heavy", 30), ("light", 1)]).without(["heavy"])
    found = {table.lookup(f"k{number}") for number in range(300)}
    assert found == {"light", None}  # (30/31)^21: half of the keys give up
    for number in range(300):
        assert list(table.walk(f"k{number}")) == ["light"]


def test_a_down_server_keeps_its_slots() -> None:
    table = create("nginx-hash", ["a", "b", "c"])
    keys = [f"k{number}" for number in range(500)]
    marked, deleted = table.without(["b"]), create("nginx-hash", ["a", "c"])
    stay = [key for key in keys if table.lookup(key) != "b"]
    assert all(marked.lookup(key) == table.lookup(key) for key in stay)
    assert any(deleted.lookup(key) != table.lookup(key) for key in stay)


def test_a_slash_24_is_one_client_and_a_unix_socket_is_one_too() -> None:
    table = create("nginx-ip-hash", {"a": 3, "b": 1, "c": 2})
    assert len({table.lookup(f"198.51.100.{octet}") for octet in range(256)}) == 1
    assert len({table.lookup(f"198.51.{octet}.1") for octet in range(256)}) == 3
    assert table.lookup("unix:") == table.lookup("0.0.0.9")


@pytest.mark.parametrize("key", ["", "session-42", "10.0.0", "10.0.0.1.2", "é", "1.2.3.4\0"])
def test_without_an_address_ip_hash_gives_none(key: str) -> None:
    table = create("nginx-ip-hash", ["a", "b"])
    assert table.lookup(key) is None
    assert list(table.walk(key)) == ["a", "b"]


def test_an_empty_key_takes_turns_and_a_single_server_takes_all() -> None:
    assert create("nginx-hash", ["a", "b"]).lookup("") is None
    assert create("nginx-hash", ["a"]).lookup("") == "a"
    assert create("nginx-ip-hash", ["a"]).lookup("no address") == "a"
    # two configured and one down is not a single one
    assert create("nginx-ip-hash", ["a", "b"]).without(["b"]).lookup("no address") is None


@pytest.mark.parametrize("name", ["nginx-hash", "nginx-ip-hash"])
@pytest.mark.parametrize("weight", [0.5, 1.5, 2.0**31])
def test_a_weight_nginx_would_refuse(name: str, weight: float) -> None:
    with pytest.raises(ConfigError, match=r"host 'b': a weight of nginx is a whole number from 1"):
        create(name, {"a": 1, "b": weight})
