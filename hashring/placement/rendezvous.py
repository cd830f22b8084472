"""Which host has the highest score for this key?  Weighted rendezvous hashing.

The least movement and exactly proportional shares at any weights, for a look-up that asks every
host: right for some dozen hosts, or where weights differ a lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from math import log

from mmh3 import mmh3_x64_128_uintdigest

from hashring.hosts import Host, as_names
from hashring.keys import Key, check_seed, key_bytes, text_bytes
from hashring.placement._base import fingerprint_of
from hashring.placement._circle import RememberingTable, host_fields

GUARANTEES = frozenset(
    {"minimal_move", "monotone_weight", "order_free", "stable_under_down", "weighted"}
)
SOURCE = "Thaler and Ravishankar 1996; weights: Schindelhauer and Schomaker 2005"
COST = "one murmur3 and one logarithm a host, about 300 ns each; no memory, no build"
EXPORTS: tuple[str, ...] = ()

_DROPPED = 128 - 52
"""Of a digest the upper 52 bits count: ``(52 bits + 0.5) / 2^52`` is exact in a double, above 0 and
below 1. One bit more would round the greatest to 1.0, whose logarithm is 0."""
_STEP = 2.0**-52


class RendezvousTable(RememberingTable):
    """Every host scores ``-weight / ln u`` for a key, u from (0, 1); the highest wins.

    u is the murmur3_x64_128 of host name, NUL and key. A score depends on its own host and weight
    only, which is why nothing else moves. Equal scores go to the lower name.
    """

    __slots__ = ("_seed", "_stems")

    def __init__(self, hosts: tuple[Host, ...], seed: int) -> None:
        ordered = tuple(sorted(hosts, key=lambda host: host.name))
        mark = fingerprint_of("rendezvous", seed, host_fields(ordered))
        super().__init__(ordered, mark, partial(build, seed=seed))
        self._seed = seed
        self._stems = [(h.name, text_bytes(h.name) + b"\0", -h.weight) for h in ordered]

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host with the highest score. Cost: about 300 ns a host."""
        data, seed, digest = key_bytes(key), self._seed, mmh3_x64_128_uintdigest
        gone = as_names(unavailable, "unavailable") if unavailable else frozenset()
        owner, highest = None, -1.0
        for name, stem, weight in self._stems:
            score = weight / log(((digest(stem + data, seed) >> _DROPPED) + 0.5) * _STEP)
            if score > highest and name not in gone:
                owner, highest = name, score
        return owner

    def _owner(self, key: Key) -> str | None:
        return self.lookup(key)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts, the highest score first. Cost: O(n log n), at once."""
        data, seed, digest = key_bytes(key), self._seed, mmh3_x64_128_uintdigest
        scores = [
            (-weight / log(((digest(stem + data, seed) >> _DROPPED) + 0.5) * _STEP), name)
            for name, stem, weight in self._stems
        ]
        return (name for _, name in sorted(scores))


def build(hosts: tuple[Host, ...], *, seed: int = 0) -> RendezvousTable:
    """Rendezvous hashing over ``hosts``, in any order and with any weights. Cost: O(n).

    Raises ``ConfigError`` for a seed that murmur3 cannot take.

    >>> table = build((Host("a"), Host("b", 2), Host("c", 0.5)))
    >>> table.lookup("session-42"), list(table.walk("session-42"))
    ('b', ['b', 'a', 'c'])
    """
    return RendezvousTable(hosts, check_seed(seed))
