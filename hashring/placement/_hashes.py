"""Which number does that program make of these bytes?  The small hash functions, bit for bit.

Every function takes bytes and gives an unsigned int of 32 bits unless its name has a 64. Where a
program's C code reads ``char``, signed on the machines it runs on, bytes above 127 are sign
extended: an unsigned FNV would agree with twemproxy on 38 of 700 UTF-8 keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import md5 as _md5
from struct import Struct
from types import MappingProxyType, ModuleType
from zlib import crc32 as _crc32

from hashring.errors import ConfigError, requires_extra

_MASK32 = 0xFFFFFFFF
# 4,300 digits are more than Python reads into an int; 20 are more than 64 bits hold
_DECIMAL = re.compile(rb"[+-]?[0-9]{1,20}")


def sdbm(data: bytes) -> int:
    """HAProxy's default (``hash_sdbm`` of src/hash.c), bytes unsigned.

    >>> hex(sdbm(b"user:0"))
    '0x39047081'
    """
    h = 0
    for byte in data:
        h = (h * 65599 + byte) & _MASK32  # (h << 6) + (h << 16) - h
    return h


def djb2(data: bytes) -> int:
    """HAProxy's ``djb2``, bytes unsigned.

    >>> djb2(b""), djb2(b"a")
    (5381, 177670)
    """
    h = 5381
    for byte in data:
        h = (h * 33 + byte) & _MASK32
    return h


def wt6(data: bytes) -> int:
    """HAProxy's ``wt6``, bytes unsigned.

    >>> hex(wt6(b""))
    '0xf99a0360'
    """
    h0, h1, s0, s1 = 0xA53C965A, 0x5CA6953A, 6, 18
    for byte in data:
        h0 = h0 ^ byte ^ _MASK32
        h1 = (h1 + byte) & _MASK32 ^ _MASK32
        h0, h1 = (
            ((h1 << s0) | (h1 >> (32 - s0))) & _MASK32,
            ((h0 << s1) | (h0 >> (32 - s1))) & _MASK32,
        )
        t = ((h0 >> 16) ^ h1) & 0xFFFF
        s0, s1 = t & 31, t >> 11
    return h0 ^ h1


def decimal(data: bytes) -> int:
    """HAProxy's ``none``: the text is a number, read up to the first non-digit, cut to 32 bits.

    >>> decimal(b"42"), decimal(b"-1"), decimal(b"4294967297x"), decimal(b"x")
    (42, 4294967295, 1, 0)
    """
    found = _DECIMAL.match(data)
    number = int(found[0]) if found else 0
    # read_int64 of src/tools.c stops at the ends of a signed 64-bit number
    return max(-(1 << 63), min(number, (1 << 63) - 1)) & _MASK32


def full_hash(number: int) -> int:
    """HAProxy's avalanche: Bob Jenkins's six shifts, then a product (intops.h ``full_hash``).

    >>> hex(full_hash(0))
    '0xab4ed927'
    """
    a = (number * 4097 + 0x7ED55D16) & _MASK32
    a = a ^ 0xC761C23C ^ (a >> 19)
    a = (a * 33 + 0x165667B1) & _MASK32
    a = ((a + 0xD3A2646C) ^ (a << 9)) & _MASK32
    a = (a * 9 + 0xFD7046C5) & _MASK32
    a = a ^ 0xB55A4F09 ^ (a >> 16)
    return a * 3221225473 & _MASK32


HashFunction = Callable[[bytes], int]

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
# a byte as C's signed char, widened to 32 unsigned bits
_SIGNED = tuple(byte if byte < 128 else byte + 0xFFFFFF00 for byte in range(256))
_u32le = Struct("<I").unpack_from
_words32 = Struct("<I").iter_unpack
_words64 = Struct("<Q").iter_unpack


def md5(data: bytes) -> int:
    """The first four bytes of the MD5 digest, little endian (libmemcached ``hash_md5``).

    >>> hex(md5(b""))
    '0xd98c1dd4'
    """
    number: int = _u32le(_md5(data, usedforsecurity=False).digest())[0]
    return number


def crc32a(data: bytes) -> int:
    """CRC-32 as zlib computes it.

    >>> hex(crc32a(b"123456789"))
    '0xcbf43926'
    """
    return _crc32(data)


def crc32(data: bytes) -> int:
    """Bits 16 to 30 of the CRC-32: what libmemcached and twemproxy call ``crc32``; 15 bits.

    >>> hex(crc32(b"123456789"))
    '0x4bf4'
    """
    return (_crc32(data) >> 16) & 0x7FFF


def _crc16_row(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


_CRC16 = tuple(_crc16_row(byte) for byte in range(256))


def crc16(data: bytes) -> int:
    """The XMODEM CRC-16 that is never cut to 16 bits (libmemcached, twemproxy ``hash_crc16``).

    >>> hex(crc16(b"123456789") & 0xFFFF)
    '0x31c3'
    """
    table = _CRC16
    crc = 0
    for byte in data:
        crc = ((crc << 8) ^ table[((crc >> 8) ^ byte) & 0xFF]) & _MASK32
    return crc


def fnv1_32(data: bytes) -> int:
    """FNV-1, 32 bits, over signed chars.

    >>> hex(fnv1_32(b"foobar"))
    '0x31f0b262'
    """
    signed = _SIGNED
    h = 0x811C9DC5
    for byte in data:
        h = (h * 0x01000193 & _MASK32) ^ signed[byte]
    return h


def fnv1a_32(data: bytes) -> int:
    """FNV-1a, 32 bits, over signed chars.

    >>> hex(fnv1a_32(b"foobar"))
    '0xbf9cf968'
    """
    signed = _SIGNED
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ signed[byte]) * 0x01000193 & _MASK32
    return h


def fnv1_64(data: bytes) -> int:
    """The low 32 bits of FNV-1 with 64 bits, over signed chars.

    They depend on the low halves of the start value and the prime alone, so 32 bits are carried.

    >>> hex(fnv1_64(b"foobar"))
    '0xa4dda9c2'
    """
    signed = _SIGNED
    h = 0x84222325
    for byte in data:
        h = (h * 0x1B3 & _MASK32) ^ signed[byte]
    return h


def fnv1a_64(data: bytes) -> int:
    """FNV-1a with the 64-bit constants in 32-bit variables (libmemcached, twemproxy).

    >>> hex(fnv1a_64(b"foobar"))
    '0xf73967e8'
    """
    signed = _SIGNED
    h = 0x84222325
    for byte in data:
        h = (h ^ signed[byte]) * 0x1B3 & _MASK32
    return h


def one_at_a_time(data: bytes) -> int:
    """Bob Jenkins's one-at-a-time, over signed chars: libmemcached's default.

    >>> hex(one_at_a_time(b"a"))
    '0xca2e9442'
    """
    signed = _SIGNED
    h = 0
    for byte in data:
        h = (h + signed[byte]) * 1025 & _MASK32  # h += h << 10
        h ^= h >> 6
    h = h * 9 & _MASK32  # h += h << 3
    h ^= h >> 11
    return h * 32769 & _MASK32  # h += h << 15


def murmur(data: bytes) -> int:
    """MurmurHash2 with 32 bits and the seed ``0xdeadbeef * length`` (libmemcached, twemproxy).

    >>> murmur(b""), hex(murmur(b"user:0"))
    (0, '0xe22ffc46')
    """
    m = 0x5BD1E995
    length = len(data)
    h = (0xDEADBEEF * length & _MASK32) ^ length
    whole = length & ~3
    for (word,) in _words32(data[:whole]):
        k = word * m & _MASK32
        k = (k ^ (k >> 24)) * m & _MASK32
        h = (h * m & _MASK32) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & _MASK32
    h = (h ^ (h >> 13)) * m & _MASK32
    return h ^ (h >> 15)


def murmur2_64(data: bytes, seed: int = 0xC70F6907) -> int:
    """``std::_Hash_bytes`` of libstdc++, 64 bits: what Envoy calls ``MURMUR_HASH_2``.

    Not MurmurHash64A: the mixing differs, and so does the seed.

    >>> hex(murmur2_64(b""))
    '0x553e93901e462a6e'
    """
    m = 0xC6A4A7935BD1E995
    length = len(data)
    h = seed ^ (length * m & _MASK64)
    whole = length & ~7
    for (word,) in _words64(data[:whole]):
        k = word * m & _MASK64
        k = (k ^ (k >> 47)) * m & _MASK64
        h = (h ^ k) * m & _MASK64
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & _MASK64
    h = (h ^ (h >> 47)) * m & _MASK64
    return h ^ (h >> 47)


@cache
def xxhash_module() -> ModuleType:
    """The ``xxhash`` package; ``ConfigError`` names the extra that brings it.

    >>> xxhash_module().__name__
    'xxhash'
    """
    with requires_extra("proxies", "placements that hash with XXH64 or XXH32", option="placement"):
        import xxhash
    return xxhash


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64, 64 bits. Raises ``ConfigError`` without the ``proxies`` extra.

    >>> hex(xxh64(b""))
    '0xef46db3751d8e999'
    """
    number: int = xxhash_module().xxh64_intdigest(data, seed)
    return number


def xxh32(data: bytes, seed: int = 0) -> int:
    """XXH32. Raises ``ConfigError`` without the ``proxies`` extra.

    >>> hex(xxh32(b""))
    '0x2cc5d05'
    """
    number: int = xxhash_module().xxh32_intdigest(data, seed)
    return number


KEY_HASHES: Mapping[str, HashFunction] = MappingProxyType(
    {
        "crc16": crc16,
        "crc32": crc32,
        "crc32a": crc32a,
        "fnv1_32": fnv1_32,
        "fnv1_64": fnv1_64,
        "fnv1a_32": fnv1a_32,
        "fnv1a_64": fnv1a_64,
        "md5": md5,
        "murmur": murmur,
        "one_at_a_time": one_at_a_time,
    }
)
"""The key hashes of libmemcached and twemproxy, by the names twemproxy's ``hash:`` takes."""

HAPROXY_HASHES: Mapping[str, HashFunction] = MappingProxyType(
    {"crc32": crc32a, "djb2": djb2, "none": decimal, "sdbm": sdbm, "wt6": wt6}
)
"""The hash functions of HAProxy's ``hash-type``, by its names."""


def hash_named(
    name: object, known: Mapping[str, HashFunction] = KEY_HASHES, *, option: str = "key_hash"
) -> HashFunction:
    """The function ``name`` out of ``known``; ``ConfigError`` lists what there is.

    >>> hash_named("md5")(b"") == md5(b"")
    True
    >>> hash_named("md6")
    Traceback (most recent call last):
    hashring.errors.ConfigError: key_hash must be one of crc16, crc32, crc32a, fnv1_32, fnv1_64, \
fnv1a_32, fnv1a_64, md5, murmur, one_at_a_time, got 'md6'
    """
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(
            f"{option} must be one of {', '.join(known)}, got {name!r}", option=option
        )
    return found
