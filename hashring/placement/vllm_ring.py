"""Which worker does vllm-router's ``consistent_hash`` policy choose?

160 vnodes a worker on a ring of mcrouter's furc hash, whose 23 bits are spread over 64. A host's
name is the worker's URL as it is written, ``http://10.0.0.1:8000``. When workers join or leave, the
ring follows. A worker that is only unhealthy stays in the program's ring, and its sessions go to
whichever healthy worker is first in a list without a fixed order; here they go to the next in the
ring.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hashring.hosts import Host
from hashring.keys import Key, key_bytes, text_bytes
from hashring.placement._base import fingerprint_of
from hashring.placement._circle import RingOrderTable
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, check_total
from hashring.validators import TEXT

GUARANTEES = frozenset({"minimal_move", "stable_under_down"})
SOURCE = "vllm-router 0.1.17, src/policies/consistent_hash.rs; mcrouter, lib/fbi/hash.c"
COST = "one furc hash in pure Python, about 20 us, and the ring's look-up; a build is 3 ms a host"
EXPORTS: tuple[str, ...] = ()

VNODES = 160
_SEED = 4193360111
_BUCKETS = (1 << 23) - 1
_STRIDE = 23  # bits between two that furc reads
_TRIES = 32
_FACTOR, _MASK = 0xC6A4A7935BD1E995, (1 << 64) - 1


def _mix(word: int) -> int:
    word = word * _FACTOR & _MASK
    return (word ^ (word >> 47)) * _FACTOR & _MASK


def murmur64a(data: bytes) -> int:
    """MurmurHash64A with furc's seed.

    >>> hex(murmur64a(b"hashring"))
    '0xf30f0fe0dc24d91d'
    """
    whole = len(data) & ~7
    h = _SEED ^ (len(data) * _FACTOR & _MASK)
    for at in range(0, whole, 8):
        h = (h ^ _mix(int.from_bytes(data[at : at + 8], "little"))) * _FACTOR & _MASK
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    h = (h ^ (h >> 47)) * _FACTOR & _MASK
    return h ^ (h >> 47)


def furc(data: bytes) -> int:
    """furc's bucket, 0 .. 2^23-2: a walk down a binary tree by the bits of repeated hashes.

    >>> 0 <= furc(b"hashring") < (1 << 23) - 1
    True
    """
    words = [murmur64a(data)]

    def bit(index: int) -> int:
        while index >> 6 >= len(words):
            words.append(murmur64a(words[-1].to_bytes(8, "little")))
        return words[index >> 6] >> (index & 63) & 1

    depth = at = _BUCKETS.bit_length()
    for _ in range(_TRIES):
        while not bit(at):
            if not depth:
                return 0
            depth -= 1
            at = depth
        at += _STRIDE
        number = 1
        for _ in range(depth - 1):
            number = number << 1 | bit(at)
            at += _STRIDE
        if number < _BUCKETS:
            return number
    return 0


def _position(data: bytes) -> int:
    return murmur64a(furc(data).to_bytes(4, "little"))


def _position_after(prefix: bytes) -> Callable[[Key], int]:
    return lambda key: _position(prefix + key_bytes(key))


def build(hosts: tuple[Host, ...], *, prefix: str = "header:x-session-id:") -> RingOrderTable:
    """vllm-router's ring over ``hosts``; weights do not count.

    The program hashes ``prefix`` and the key: by default the session ID of the header
    ``x-session-id``. Of equal points the last host given has it. Cost: about 3 ms a host.

    >>> table = build((Host("http://10.0.0.1:8000"), Host("http://10.0.0.2:8000")))
    >>> table.lookup("session-42")
    'http://10.0.0.1:8000'
    """
    TEXT(prefix, "prefix")
    check_total(VNODES * len(hosts))
    ring = {
        _position(b"%b:%d" % (text_bytes(host.name), i)): code
        for code, host in enumerate(hosts)
        for i in range(VNODES)
    }
    names = tuple(host.name for host in hosts)
    points = sorted(at << CODE_BITS | code for at, code in ring.items())
    return RingOrderTable(
        hosts,
        fingerprint_of("vllm-ring", prefix, names),
        partial(build, prefix=prefix),
        index=Index.build(points, names, bits=64),
        position=_position_after(text_bytes(prefix)),
    )
