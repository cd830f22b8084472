"""Which memcached does ``modula`` choose?  The hash modulo the number of slots, nothing else."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import accumulate

from hashring.hosts import Host
from hashring.keys import Key, text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import RememberingTable, position_by
from hashring.placement._hashes import hash_named
from hashring.validators import FLAG

GUARANTEES = frozenset({"weighted"})
SOURCE = (
    "twemproxy 0.5.0, src/hashkit/nc_modula.c and src/nc_conf.c; "
    "libmemcached 1.1.4, src/libmemcached/hash.cc"
)
COST = "one key hash, a modulo and a bisect over the hosts; most keys move at each resize"
EXPORTS: tuple[str, ...] = ()


class ModulaTable(RememberingTable):
    """Slots in ``order``; a host takes as many as its count. A single host is not hashed for."""

    __slots__ = ("_order", "_position", "_total", "_upto")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        order: Sequence[str],
        counts: Sequence[int],
        *,
        key_hash: str,
        weighted: bool,
    ) -> None:
        mark = fingerprint_of("modula", key_hash, tuple(zip(order, counts, strict=True)))
        super().__init__(hosts, mark, partial(build, key_hash=key_hash, weighted=weighted))
        self._position = position_by(hash_named(key_hash))
        self._order = order
        self._upto = tuple(accumulate(counts))
        self._total = sum(counts)

    def _owner(self, key: Key) -> str | None:
        return self._order[bisect_right(self._upto, self._position(key) % self._total)]


def build(
    hosts: tuple[Host, ...], *, key_hash: str = "fnv1a_64", weighted: bool = True
) -> ModulaTable:
    """The table of ``distribution: modula`` (twemproxy) or of libmemcached's default.

    ``weighted=True`` is twemproxy: a host takes as many slots as its weight, in twemproxy's own
    order, whatever that of its servers list. ``weighted=False`` is libmemcached: one slot each, in
    the given order. An ejected host is as if it had never been there. Raises ``ConfigError`` for an
    unknown hash and a weight that is not whole.

    >>> build((Host("a"), Host("b"), Host("c"))).lookup("user:0")
    'b'
    """
    if FLAG(weighted, "weighted"):
        ordered = sorted(hosts, key=_twemproxy_order)
        counts = whole_weights(ordered, "twemproxy")
    else:
        ordered = list(hosts)
        counts = (1,) * len(hosts)
    order = tuple(host.name for host in ordered)
    return ModulaTable(hosts, order, counts, key_hash=key_hash, weighted=weighted)


def _twemproxy_order(host: Host) -> tuple[int, bytes]:
    """conf_validate_server() sorts in place to find duplicates: shorter names first, then bytes.

    The name is that of the servers line, or the address, without the port when it is 11211.
    """
    label = text_bytes(host.name.removesuffix(":11211"))
    return len(label), label
