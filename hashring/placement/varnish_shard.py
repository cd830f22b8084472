"""Which backend does Varnish's shard director choose?  The host's name is its ``ident``.

The key is what ``.backend(by=KEY, key=director.key("..."))`` hashes. A sick backend is walked past
on the circle, so only its own keys move; ``walk`` gives ``alt=0``, ``alt=1`` and so on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import Struct

from hashring.errors import ConfigError
from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes, text_bytes
from hashring.placement._base import fingerprint_of
from hashring.validators import int_between

GUARANTEES = frozenset(
    {"minimal_move", "monotone_weight", "order_free", "stable_under_down", "weighted"}
)
SOURCE = "Varnish 7.1.1, vmod/vmod_directors_shard_cfg.c and _shard_dir.c"
COST = "one SHA-256 and a bisect over replicas x weight points a host; a down host is walked past"
EXPORTS: tuple[str, ...] = ()

_HIGHEST_POINTS = 1 << 20  # a host; 2^32 would be Varnish's own limit, and 100 GB here
_last_four = Struct("<28xI").unpack  # VRT_HashStrands32 reads the end of the 32-byte digest


def _hash(data: bytes) -> int:
    number: int = _last_four(sha256(data, usedforsecurity=False).digest())[0]
    return number


class VarnishShardTable:
    """A circle of points and who is sick."""

    __slots__ = ("_base", "_down", "_names", "_owners", "_points", "fingerprint", "hosts")

    def __init__(
        self,
        names: tuple[str, ...],
        points: list[int],
        owners: list[str],
        fingerprint: str,
        down: frozenset[str] = frozenset(),
    ) -> None:
        self._names = names
        self._points = points
        self._owners = owners
        self._down = down
        self.hosts = tuple(name for name in names if name not in down)
        self._base = fingerprint
        self.fingerprint = fingerprint_of(fingerprint, tuple(sorted(down))) if down else fingerprint

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``; None without any. Cost: O(log points), and a step per down host."""
        down = self._down
        if unavailable:
            down = down | as_names(unavailable, "unavailable")
        start = self._index(key_bytes(key))
        if start is None:
            return None
        owner = self._owners[start]
        return owner if owner not in down else next(self._from(start, down), None)

    def _index(self, data: bytes) -> int | None:
        """``shard_lookup``: the first point at or after the hash; beyond the last, the last."""
        count = len(self._points)
        if count == 2:
            return 1  # its binary search starts at index 1, which it takes as "the last" unasked
        if not count:
            return None
        return min(bisect_left(self._points, _hash(data)), count - 1)

    def _from(self, start: int, down: frozenset[str]) -> Iterator[str]:
        """``shard_next``: each further host on the circle, which does wrap here."""
        owners = self._owners
        given = set(down)
        left = len(self._names) - len(given.intersection(self._names))
        for index in range(start, start + len(owners)):
            owner = owners[index % len(owners)]
            if owner not in given:
                given.add(owner)
                yield owner
                left -= 1
            if not left:
                return

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts in circle order from the key: ``alt=0``, ``alt=1``, ..."""
        start = self._index(key_bytes(key))
        return iter(()) if start is None else self._from(start, self._down)

    def without(self, names: Iterable[str]) -> VarnishShardTable:
        """The table while ``names`` are sick: the circle stays. Cost: O(hosts)."""
        down = self._down | as_names(names, "names").intersection(self._names)
        if down == self._down:
            return self
        return VarnishShardTable(self._names, self._points, self._owners, self._base, down)


def build(hosts: tuple[Host, ...], *, replicas: int = 67) -> VarnishShardTable:
    """The circle of ``.reconfigure(replicas)``: int(replicas * weight) points a host.

    Raises ``ConfigError`` for a weight below 1, which Varnish refuses, or above 2^20 points a host.

    >>> table = build((Host("b1"), Host("b2"), Host("b3")))
    >>> table.lookup("user:0"), list(table.walk("user:0"))
    ('b2', ['b2', 'b3', 'b1'])
    """
    int_between(1, _HIGHEST_POINTS)(replicas, "replicas")
    counts = tuple((host.name, _count(host, replicas)) for host in sorted(hosts, key=_by_name))
    circle = sorted(
        (_hash(text_bytes(f"{name}{number}")), name)
        for name, count in counts
        for number in range(count)
    )
    return VarnishShardTable(
        tuple(host.name for host in hosts),
        [point for point, _ in circle],
        [name for _, name in circle],
        fingerprint_of("varnish-shard", counts),
    )


def _by_name(host: Host) -> str:
    return host.name


def _count(host: Host, replicas: int) -> int:
    if host.weight < 1:
        raise ConfigError(
            f"host {host.name!r}: a weight of Varnish's shard director is at least 1, "
            f"got {host.weight:g}",
            option="weight",
        )
    wanted = replicas * host.weight  # infinite near the largest float
    if wanted >= _HIGHEST_POINTS + 1:
        raise ConfigError(
            f"host {host.name!r}: {wanted:.10g} points are more than {_HIGHEST_POINTS}: "
            "lower replicas or the weight",
            option="weight",
        )
    return int(wanted)
