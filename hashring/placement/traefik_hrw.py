"""Which server does Traefik's ``strategy: hrw`` choose for a client's address?

Weighted rendezvous hashing of the address as text. A host's name is the server's URL as it is
written, ``http://127.0.0.1:9001``. FNV-1a mixes the ends of the texts weakly: URLs that differ in
their last characters get uneven shares, here as in Traefik.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from math import inf, log

from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import host_fields
from hashring.placement._scores import ScoreTable

GUARANTEES = frozenset({"minimal_move", "monotone_weight", "order_free", "stable_under_down"})
SOURCE = "Traefik 3.7, by its answers to 10,000 client addresses"
COST = "one FNV-1a in pure Python and one logarithm a host, about 3 us each; no memory, no build"
EXPORTS = ("traefik",)

_START, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def fnv1a_64(data: bytes, start: int = _START) -> int:
    """The 64-bit FNV-1a of ``data``, continued from ``start``.

    >>> hex(fnv1a_64(b"a")), fnv1a_64(b"b", fnv1a_64(b"a")) == fnv1a_64(b"ab")
    ('0xaf63dc4c8601ec8c', True)
    """
    return reduce(lambda h, byte: ((h ^ byte) * _PRIME) & _MASK, data, start)


class TraefikHrwTable(ScoreTable):
    """A host scores ``-weight / ln u``, u the FNV-1a of key and URL over 2^64."""

    __slots__ = ("_weighted",)

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        weights = whole_weights(hosts, "Traefik")
        mark = fingerprint_of("traefik-hrw", tuple(sorted(host_fields(hosts))))
        super().__init__(hosts, mark, TraefikHrwTable)
        self._weighted = [
            (text_bytes(host.name), weight) for host, weight in zip(hosts, weights, strict=True)
        ]

    def _scores(self, data: bytes) -> Iterable[float]:
        start = fnv1a_64(data)
        return [_score(fnv1a_64(url, start), weight) for url, weight in self._weighted]


def _score(number: int, weight: int) -> float:
    """The score of a hash, as Go's doubles have it: 0 for 0, and nothing is lower than 1.

    >>> _score(0, 3), _score(1 << 63, 1) > 1.44, _score((1 << 64) - 1, 1)
    (0.0, True, -inf)
    """
    share = number / 2.0**64
    if share in (0.0, 1.0):
        return -inf if share else 0.0
    return weight / -log(share)


def build(hosts: tuple[Host, ...]) -> TraefikHrwTable:
    """Traefik's rendezvous hashing over ``hosts``, in any order; whole weights. Cost: O(n).

    Raises ``ConfigError`` for a weight that is not whole.

    >>> table = build((Host("http://10.0.0.1:80"), Host("http://10.0.0.2:80", 3)))
    >>> table.lookup("192.0.2.7")
    'http://10.0.0.2:80'
    """
    return TraefikHrwTable(hosts)
