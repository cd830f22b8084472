"""Which number does HAProxy make of these bytes?  What its ``hash-type`` names, and avalanche.

Every function takes unsigned bytes and gives an unsigned int of 32 bits. ``crc32`` is zlib's.
"""

from __future__ import annotations

import re

__all__ = ["decimal", "djb2", "full_hash", "sdbm", "wt6"]

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
