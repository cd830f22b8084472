"""Layout 1 has not changed since the first key was placed; README.md has the origin of the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import mmh3
import pytest

from hashring.keys import text_bytes
from hashring.ring import HashRing
from hashring.ring.layout import LAYOUT
from tests.golden.make_ring_layout1 import murmur3_x86_32, whole_file

FILE = Path(__file__).with_name("ring_layout1.json")
GOLDEN: dict[str, Any] = json.loads(FILE.read_text(encoding="ascii"))
SHA256 = "72af27115bb4cd2c29bd630d6dfb5e05f39c969a7be961d06456da5f68f3a8d2"

every_ring = pytest.mark.parametrize("golden", GOLDEN["rings"], ids=lambda ring: ring["title"])


def ring_of(golden: dict[str, Any]) -> HashRing:
    return HashRing(golden["hosts"], vnodes=golden["vnodes"], seed=golden["seed"])


def test_the_file_has_not_changed() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256
    assert GOLDEN["layout"] == LAYOUT


def test_the_reference_still_makes_the_file() -> None:
    assert whole_file() == FILE.read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("data", "seed", "hashed"),
    # the vectors that other implementations of MurmurHash3_x86_32 publish
    [
        (b"", 0, 0),
        (b"", 1, 0x514E28B7),
        (b"", 0xFFFFFFFF, 0x81F16F39),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"aaaa", 0x9747B28C, 0x5A97808A),
        (b"aaa", 0x9747B28C, 0x283E0130),
        (b"aa", 0x9747B28C, 0x5D211726),
        (b"a", 0x9747B28C, 0x7FA09EA6),
        (b"Hello, world!", 0x9747B28C, 0x24884CBA),
        (b"The quick brown fox jumps over the lazy dog", 0x9747B28C, 0x2FA826CD),
    ],
)
def test_the_hash_is_murmur3(data: bytes, seed: int, hashed: int) -> None:
    assert murmur3_x86_32(data, seed) == hashed
    assert mmh3.hash(data, seed, signed=False) == hashed


@every_ring
def test_vnodes_stand_where_they_stood(golden: dict[str, Any]) -> None:
    vnodes = ring_of(golden).vnode_list()
    assert [list(vnode) for vnode in vnodes[:5]] == golden["first"]
    lines = b"".join(b"%d %b\n" % (position, text_bytes(name)) for position, name in vnodes)
    assert hashlib.sha256(lines).hexdigest() == golden["digest"]
    counted = {name: sum(owner == name for _, owner in vnodes) for name in golden["hosts"]}
    assert counted == golden["counts"]


@every_ring
def test_keys_stand_where_they_stood(golden: dict[str, Any]) -> None:
    ring = ring_of(golden)
    assert {key: ring.position(key) for key in golden["positions"]} == golden["positions"]
    for number in (-7, 18446744073709551615):
        assert ring.position(number) == golden["positions"][str(number)]


@every_ring
def test_keys_have_the_owners_and_walks_they_had(golden: dict[str, Any]) -> None:
    ring = ring_of(golden)
    assert {key: ring.lookup(key) for key in golden["lookups"]} == golden["lookups"]
    assert {key: list(ring.walk(key)) for key in golden["walks"]} == golden["walks"]


@every_ring
def test_shares_are_what_they_were(golden: dict[str, Any]) -> None:
    wanted = {name: arc / 2**32 for name, arc in golden["shares"].items()}
    assert sum(golden["shares"].values()) == 2**32
    assert ring_of(golden).shares() == wanted


@every_ring
def test_fingerprints_are_what_they_were(golden: dict[str, Any]) -> None:
    # of the text in ASCII, or two routers on two Pythons would call the same hosts different
    assert ring_of(golden).fingerprint == golden["fingerprint"]
