"""What does nginx do when the server it hashed to is unusable?  It hashes on, up to 20 times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice

from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes
from hashring.placement._base import fingerprint_of
from hashring.placement._checks import whole_weights

__all__ = ["SlotsTable"]

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
