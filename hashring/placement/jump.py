"""Which host does jump consistent hashing choose?

Even shares and no memory, for pools that only grow and shrink at the end of the list: to remove
another host renumbers those behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mmh3 import mmh3_x64_128_uintdigest

from hashring.hosts import Host
from hashring.keys import Key
from hashring.placement._base import fingerprint_of
from hashring.placement._circle import RememberingTable, position_by
from hashring.placement._hashes import hash_named, xxh64, xxhash_module

GUARANTEES: frozenset[str] = frozenset()
SOURCE = "Lamping and Veach, A Fast, Minimal Memory, Consistent Hash Algorithm, 2014, figure 1"
COST = "one hash and about ln(n) steps of 200 ns; no memory, no build"
EXPORTS: tuple[str, ...] = ()

_MASK = (1 << 64) - 1


def _murmur3(data: bytes) -> int:
    return mmh3_x64_128_uintdigest(data) & _MASK


_HASHES = {"xxhash": xxh64, "murmur3": _murmur3}


def jump(key: int, buckets: int) -> int:
    """The bucket, 0 .. buckets-1, of a 64-bit key. Cost: about ln(buckets) steps.

    >>> jump(1, 1), jump(0xDEAD10CC, 666), jump(256, 1024)
    (0, 361, 520)
    """
    bucket, candidate = -1, 0
    while candidate < buckets:
        bucket = candidate
        key = (key * 2862933555777941757 + 1) & _MASK
        candidate = int((bucket + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return bucket


class JumpTable(RememberingTable):
    """Hosts in the order given are buckets 0, 1, 2, ...; weights do not count.

    A down host is as if it had never been configured: the hosts behind it move up by one.
    """

    __slots__ = ("position",)

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Callable[[tuple[Host, ...]], JumpTable],
        position: Callable[[Key], int],
    ) -> None:
        super().__init__(hosts, fingerprint, make)
        self.position = position

    def _owner(self, key: Key) -> str | None:
        return self.hosts[jump(self.position(key), len(self.hosts))]


def build(hosts: tuple[Host, ...], *, hash_function: str = "xxhash") -> JumpTable:
    """Jump hashing over ``hosts`` in the order given; weights do not count.

    ``hash_function`` makes the 64 bits of a key's bytes: ``xxhash`` (XXH64), or ``murmur3`` (the
    low half of murmur3_x64_128), which needs no extra. Raises ``ConfigError`` for another.
    Cost: O(n).

    >>> build((Host("h0"), Host("h1"), Host("h2"))).lookup("user:0")
    'h2'
    """
    number = hash_named(hash_function, _HASHES, option="hash_function")
    return JumpTable(
        hosts,
        fingerprint_of("jump", hash_function, tuple(host.name for host in hosts)),
        partial(build, hash_function=hash_function),
        position_by(xxhash_module().xxh64_intdigest if number is xxh64 else number),
    )
