"""Which server does nginx's plain ``hash KEY`` choose?

The text after ``server`` is the host's name, though the name plays no part: slots are. Deleting a
line moves most keys; marking it ``down`` moves its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, count, islice
from zlib import crc32

from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes
from hashring.placement._base import fingerprint_of, whole_weights

# ngx_http_upstream_hash_module.c and _ip_hash_module.c: `if (++tries > 20)` goes to round robin
_TRIES = 20


class SlotsTable(ABC):
    """Weighted slots and a sequence of hashes for each key; the first usable slot wins.

    A down server keeps its slots, so only its own keys move. A subclass gives the hashes.
    """

    __slots__ = ("_down", "_hosts", "_names", "_total", "_upto", "fingerprint", "hosts")

    NAME = ""

    def __init__(self, hosts: tuple[Host, ...], down: frozenset[str] = frozenset()) -> None:
        weights = whole_weights(hosts, "nginx")
        self._hosts = hosts
        self._names = tuple(host.name for host in hosts)
        self._down = down
        self._upto = tuple(accumulate(weights))
        self._total = sum(weights)
        self.hosts = tuple(name for name in self._names if name not in down)
        slots = tuple(zip(self._names, weights, strict=True))
        self.fingerprint = fingerprint_of(self.NAME, slots, tuple(sorted(down)))

    @abstractmethod
    def _hashes(self, data: bytes) -> Iterator[int] | None:
        """The hashes that nginx tries one after the other, without end; None: it hashes nothing."""

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``; None when nginx gives up after 20 further hashes.

        A single server is the answer for every key, as nginx hashes nothing then.
        """
        data = key_bytes(key)
        down = self._down
        if unavailable:
            down = down | as_names(unavailable, "unavailable")
        if len(self._names) < 2:
            return next((name for name in self._names if name not in down), None)
        for name in islice(self._steps(data), _TRIES + 1):
            if name not in down:
                return name
        return None

    def _steps(self, data: bytes) -> Iterator[str]:
        for number in self._hashes(data) or ():
            yield self._names[bisect_right(self._upto, number % self._total)]

    def walk(self, key: Key) -> Iterator[str]:
        """Owner first, then where nginx goes when those already given have failed.

        Each server that was tried before or is down counts as one try; after 20 of them nginx takes
        turns, and here the rest follow in their configured order.
        """
        data = key_bytes(key)
        given: set[str] = set(self._down)
        tries = 0
        for name in self._steps(data) if len(self._names) > 1 else ():
            if name not in given:
                given.add(name)
                yield name
            elif (tries := tries + 1) > _TRIES:
                break
            if len(given) == len(self._names):
                return
        yield from (name for name in self.hosts if name not in given)

    def without(self, names: Iterable[str]) -> SlotsTable:
        """The table while ``names`` are marked ``down``: they keep their slots. Cost: O(n)."""
        down = self._down | as_names(names, "names").intersection(self._names)
        return self if down == self._down else type(self)(self._hosts, down)


GUARANTEES = frozenset({"weighted"})
SOURCE = "nginx 1.31.5, src/http/modules/ngx_http_upstream_hash_module.c"
COST = "one CRC-32 and a bisect over the hosts; a down host costs one more CRC-32 per try"
EXPORTS = ("nginx",)


class NginxHashTable(SlotsTable):
    """``hash KEY`` without ``consistent``."""

    __slots__ = ()

    NAME = "nginx-hash"

    def _hashes(self, data: bytes) -> Iterator[int] | None:
        if not data:  # an empty key is round robin
            return None
        # each try adds 15 bits of the CRC of "<try><key>", the first try without its number
        return accumulate(
            (crc32(b"%d%b" % (r, data) if r else data) >> 16) & 0x7FFF for r in count()
        )


def build(hosts: tuple[Host, ...]) -> NginxHashTable:
    """The table of ``hash KEY`` over ``hosts``, weights whole. Cost: O(n).

    >>> build((Host("127.0.0.1:9001"), Host("127.0.0.1:9002", 2))).lookup("user:0")
    '127.0.0.1:9001'
    """
    return NginxHashTable(hosts)
