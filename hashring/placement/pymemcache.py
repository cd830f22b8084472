"""Which server does pymemcache's ``HashClient`` choose?  The highest score wins (rendezvous).

It hashes the low byte of every character, not UTF-8, and a ``bytes`` key as its ``repr``: ``b"a"``
and ``"a"`` are two keys. Weights do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from mmh3 import mmh3_32_uintdigest

from hashring.hosts import Host
from hashring.keys import Key, check_seed, key_bytes
from hashring.placement._base import fingerprint_of
from hashring.placement._circle import RememberingTable

GUARANTEES = frozenset({"minimal_move", "order_free", "stable_under_down"})
SOURCE = "pymemcache 4.0.0, client/rendezvous.py and client/murmur3.py"
COST = "one murmur3 a host, about 150 ns each"
EXPORTS: tuple[str, ...] = ()


class PymemcacheTable(RememberingTable):
    """Scores of all servers; equal scores go to the greater name."""

    __slots__ = ("_seed", "_stems")

    def __init__(self, hosts: tuple[Host, ...], seed: int) -> None:
        names = tuple(sorted(host.name for host in hosts))
        mark = fingerprint_of("pymemcache", seed, names)
        super().__init__(hosts, mark, partial(build, seed=seed))
        self._seed = seed
        self._stems = [(name, low_bytes(name + "-")) for name in names]

    def _owner(self, key: Key) -> str | None:
        data, seed, digest = _data(key), self._seed, mmh3_32_uintdigest
        owner, highest = None, -1
        for name, stem in self._stems:
            score = digest(stem + data, seed)
            if score >= highest:  # sorted by name: the greater one comes later
                owner, highest = name, score
        return owner

    def walk(self, key: Key) -> Iterator[str]:
        """All servers, the highest score first. Cost: O(n log n), at once."""
        data, seed = _data(key), self._seed
        scores = [(mmh3_32_uintdigest(stem + data, seed), name) for name, stem in self._stems]
        return (name for _, name in sorted(scores, reverse=True))


def low_bytes(text: Iterable[str]) -> bytes:
    """The low byte of every character: what pymemcache's murmur3 reads of a text.

    >>> low_bytes("aé€")
    b'a\\xe9\\xac'
    """
    return bytes(ord(character) & 0xFF for character in text)


def _data(key: Key) -> bytes:
    data = key_bytes(key)
    if isinstance(key, bytes):
        return repr(data).encode()
    return data if data.isascii() else low_bytes(data.decode("utf-8", "surrogatepass"))


def build(hosts: tuple[Host, ...], *, seed: int = 0) -> PymemcacheTable:
    """pymemcache's choice among ``hosts``, named ``host:port``. Cost: O(n).

    Raises ``ConfigError`` for a seed that murmur3 cannot take.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9101, 9102, 9103))
    >>> table = build(hosts)
    >>> table.lookup("user:1"), table.lookup(b"user:1")
    ('127.0.0.1:9101', '127.0.0.1:9103')
    """
    return PymemcacheTable(hosts, check_seed(seed))
