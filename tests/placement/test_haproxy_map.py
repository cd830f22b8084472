"""The map against recalc_server_map written out, and its options."""

from __future__ import annotations

from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.placement import _hashes, create
from hashring.placement.haproxy_map import dealt

KEYS = [f"user:{number}" for number in range(200)]


def recalc_server_map(weights: list[int]) -> list[int]:
    """The loop of src/lb_map.c."""
    total = sum(weights)
    scores = [0] * len(weights)
    slots = []
    for _ in range(total):
        best, highest = -1, 0
        for index, weight in enumerate(weights):
            scores[index] += weight
            level = int((scores[index] + total) / total)  # C cuts towards zero
            if best < 0 or level > highest:
                best, highest = index, level
        scores[best] -= total
        slots.append(best)
    return slots


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 5), st.integers(1, 256)), min_size=1, max_size=9))
def test_slots_are_dealt_as_the_loop_deals_them(weights: list[int]) -> None:
    assert dealt(weights) == recalc_server_map(weights)


@pytest.mark.parametrize("avalanche", [False, True])
@pytest.mark.parametrize("function", ["sdbm", "djb2", "wt6", "crc32", "none"])
def test_a_key_goes_to_the_slot_of_its_hash(function: str, avalanche: bool) -> None:
    weights = {"b1": 6, "b2": 2, "b3": 4}
    table = create("haproxy-map", weights, hash_function=function, avalanche=avalanche)
    slots = recalc_server_map([3, 1, 2])  # the common divisor is 2
    names = list(weights)
    for key in [*KEYS, "12345", ""]:
        number = _hashes.HAPROXY_HASHES[function](key.encode())
        number = _hashes.full_hash(number) if avalanche else number
        assert table.lookup(key) == names[slots[number % 6]]


def test_the_divisor_stays_that_of_all_configured_servers() -> None:
    table = create("haproxy-map", {"a": 4, "b": 6, "c": 3})
    left = table.without(["c"])
    slots = recalc_server_map([4, 6])
    assert gcd(4, 6) == 2
    for key in KEYS:
        assert left.lookup(key) == "ab"[slots[_hashes.sdbm(key.encode()) % 10]]


@pytest.mark.parametrize("function", ["sdbm", "crc32"])
def test_source_takes_the_address_and_no_function(function: str) -> None:
    names = ["a", "b", "c", "d", "e"]
    table = create("haproxy-map", names, balance="source", hash_function=function)
    assert table.lookup("192.0.2.7") == names[0xC0000207 % 5]
    words = 0x20010DB8 ^ 0x00000000 ^ 0x00000000 ^ 0x00000007
    assert table.lookup("2001:db8::7") == names[words % 5]
    assert table.lookup("session-42") is None
    mixed = create("haproxy-map", names, balance="source", avalanche=True)
    assert mixed.lookup("192.0.2.7") == names[_hashes.full_hash(0xC0000207) % 5]


def test_a_single_server_is_not_hashed_for() -> None:
    table = create("haproxy-map", ["a", "b"], balance="source")
    assert table.without(["a"]).lookup("no address") == "b"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hash_function": "md5"}, "hash_function must be one of crc32, djb2, none, sdbm, wt6"),
        ({"balance": "uri"}, "balance must be one of hash, source, got 'uri'"),
        ({"avalanche": 1}, "avalanche must be true or false, got 1"),
        ({"hash_key": "id"}, "has no option 'hash_key'"),
    ],
)
def test_a_wrong_option_names_what_is_allowed(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create("haproxy-map", ["a"], **options)


@pytest.mark.parametrize("weight", [0.5, 257])
def test_a_weight_haproxy_would_refuse_names_its_host(weight: float) -> None:
    with pytest.raises(ConfigError, match="host 'b': a weight of HAProxy is a whole number"):
        create("haproxy-map", {"a": 1, "b": weight})
