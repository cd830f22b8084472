"""The small hash functions give the numbers that are published, or that the programs gave."""

from __future__ import annotations

import sys

import pytest

from hashring.errors import ConfigError
from hashring.placement import _hashes
from hashring.placement._hashes import HAPROXY_HASHES, KEY_HASHES, hash_named

# published: RFC 1321, the CRC catalogue (check values of "123456789"), the FNV page of Landon Curt
# Noll, Bob Jenkins's one-at-a-time of "a", the reference xxHash; the FNVs cut to their low 32 bits
PUBLISHED = [
    ("md5", b"", 0xD98C1DD4),
    ("md5", b"abc", 0x98500190),
    ("crc32a", b"123456789", 0xCBF43926),
    ("crc32", b"123456789", (0xCBF43926 >> 16) & 0x7FFF),
    ("fnv1_32", b"", 0x811C9DC5),
    ("fnv1_32", b"foobar", 0x31F0B262),
    ("fnv1a_32", b"foobar", 0xBF9CF968),
    ("fnv1_64", b"foobar", 0x340D8765A4DDA9C2 & 0xFFFFFFFF),
    ("fnv1a_64", b"foobar", 0x85944171F73967E8 & 0xFFFFFFFF),
    ("one_at_a_time", b"a", 0xCA2E9442),
    ("one_at_a_time", b"The quick brown fox jumps over the lazy dog", 0x519E91F5),
    ("sdbm", b"a", 97),
    ("djb2", b"hello", 261238937),
    ("xxh64", b"", 0xEF46DB3751D8E999),
    ("xxh64", b"abc", 0x44BC2CF5AD770999),
    ("xxh32", b"", 0x02CC5D05),
    ("xxh32", b"abc", 0x32D153FF),
]


@pytest.mark.parametrize(("name", "data", "number"), PUBLISHED)
def test_a_published_answer(name: str, data: bytes, number: int) -> None:
    if name.startswith("xxh"):
        pytest.importorskip("xxhash")
    assert getattr(_hashes, name)(data) == number


def test_the_low_half_of_crc16_is_the_xmodem_crc() -> None:
    assert _hashes.crc16(b"123456789") & 0xFFFF == 0x31C3
    assert _hashes.crc16(b"123456789") > 0xFFFF


@pytest.mark.parametrize("name", ["fnv1_32", "fnv1a_32", "fnv1_64", "fnv1a_64", "one_at_a_time"])
def test_a_byte_above_127_is_a_negative_char(name: str) -> None:
    function = KEY_HASHES[name]
    start = {"fnv1_32": 0x811C9DC5, "fnv1_64": 0x84222325}.get(name)
    if start is not None:
        prime = 0x01000193 if name == "fnv1_32" else 0x1B3
        assert function(b"\xe9") == (start * prime ^ 0xFFFFFFE9) & 0xFFFFFFFF
    assert function(b"\xe9") != function(b"\x69")


@pytest.mark.parametrize("length", range(18))
def test_murmur_takes_every_length_of_tail(length: int) -> None:
    data = bytes(range(1, length + 1))
    grown = {_hashes.murmur(data[:n]) for n in range(length + 1)}
    grown64 = {_hashes.murmur2_64(data[:n]) for n in range(length + 1)}
    assert len(grown) == len(grown64) == length + 1


@pytest.mark.parametrize("name", sorted(KEY_HASHES) + sorted(HAPROXY_HASHES))
def test_every_answer_is_32_unsigned_bits(name: str) -> None:
    function = KEY_HASHES.get(name) or HAPROXY_HASHES[name]
    texts = [b"", b"-1", b"99999999999999999999", b"\xff" * 9, bytes(range(256)), b"user:0" * 40]
    assert all(0 <= function(text) < 1 << 32 for text in texts)


def test_full_hash_is_one_to_one_where_looked() -> None:
    assert len({_hashes.full_hash(number) for number in range(20_000)}) == 20_000


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="hash_function must be one of crc32, djb2, none"
    ) as caught:
        hash_named("md5", HAPROXY_HASHES, option="hash_function")
    assert caught.value.option == "hash_function"
    with pytest.raises(ConfigError, match="key_hash must be one of"):
        hash_named(None)


def test_without_xxhash_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _hashes.xxhash_module.cache_clear()
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(ConfigError, match=r'pip install "sticky-hashring\[proxies\]"'):
        _hashes.xxh64(b"")
