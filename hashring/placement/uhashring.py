"""Which node does uhashring choose?  Both of its rings, so that a cache can be moved off it.

A ``bytes`` key is hashed as its ``repr``, as in uhashring: ``b"a"`` and ``"a"`` are two keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import md5

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key, key_bytes, text_bytes
from hashring.placement import _hashes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import RingOrderTable, host_fields
from hashring.placement.ketama import group_points
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, MOST_VNODES_OF_A_HOST, check_total
from hashring.validators import int_between

GUARANTEES = frozenset({"weighted"})
SOURCE = "uhashring 2.5, ring_meta.py and ring_ketama.py"
COST = "one MD5 and the ring's look-up; a build is 1.5 us a point"
EXPORTS: tuple[str, ...] = ()

DEFAULT_VNODES = {"md5": 160, "ketama": 40}  # HashRing.__init__; a ketama vnode is four points


def build(
    hosts: tuple[Host, ...], *, hash_fn: str = "md5", vnodes: int | None = None
) -> RingOrderTable:
    """uhashring's ring over nodes in the order given; whole weights.

    ``hash_fn="md5"`` is its own ring, ``"ketama"`` its ketama. ``vnodes=None`` is uhashring's
    default: 160, and for ketama 40 groups of four points. ``walk`` is ``iterate_nodes``. Raises
    ``ConfigError`` for another ``hash_fn``, a weight that is not whole, and above 2^23 points.

    >>> hosts = (Host("a"), Host("b", 2), Host("c"))
    >>> build(hosts).lookup("user:0"), build(hosts, hash_fn="ketama").lookup("user:0")
    ('b', 'a')
    """
    if not isinstance(hash_fn, str) or hash_fn not in DEFAULT_VNODES:
        raise ConfigError(
            f"hash_fn must be one of {', '.join(DEFAULT_VNODES)}, got {hash_fn!r}", option="hash_fn"
        )
    each = DEFAULT_VNODES[hash_fn]
    if vnodes is not None:
        each = int_between(1, MOST_VNODES_OF_A_HOST)(vnodes, "vnodes")
    weights = whole_weights(hosts, "uhashring")
    ketama = hash_fn == "ketama"
    index = (_ketama_ring if ketama else _meta_ring)([host.name for host in hosts], weights, each)
    return RingOrderTable(
        hosts,
        fingerprint_of("uhashring", hash_fn, each, host_fields(hosts)),
        partial(build, hash_fn=hash_fn, vnodes=vnodes),
        index=index,
        position=_position_by(_hashes.md5 if ketama else _md5_64),
    )


def _position_by(number: Callable[[bytes], int]) -> Callable[[Key], int]:
    def position(key: Key) -> int:
        data = key_bytes(key)
        if isinstance(key, bytes):
            data = repr(data).encode()  # uhashring takes str(key)
        return number(data)

    return position


def _md5_64(data: bytes) -> int:
    """The upper half of uhashring's 128-bit number.

    It orders points and keys just as well: else two texts agree in 64 bits of MD5.
    """
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:8], "big")


def _meta_ring(names: Sequence[str], weights: Sequence[int], vnodes: int) -> Index[str]:
    check_total(vnodes * sum(weights))
    stems = [text_bytes(name) + b"-" for name in names]
    points = (
        [_md5_64(b"%b%d" % (stem, i)) for i in range(vnodes * weight)]
        for stem, weight in zip(stems, weights, strict=True)
    )
    return Index.build(_strictly_after(points, 64), names, bits=64)


def _ketama_ring(names: Sequence[str], weights: Sequence[int], vnodes: int) -> Index[str]:
    total = sum(weights)
    groups = [vnodes * len(names) * weight // total for weight in weights]
    check_total(4 * sum(groups))
    points = (group_points(name, count) for name, count in zip(names, groups, strict=True))
    return Index.build(_strictly_after(points, 32), names)


def _strictly_after(points: Iterable[Iterable[int]], bits: int) -> list[int]:
    """Points for an index that finds the first at or after a key.

    uhashring's ``bisect`` takes the first strictly after, so each stands one earlier. Of equal
    points the last one given stays, as in uhashring's dict.

    >>> from hashring.ring.layout import unpack
    >>> unpack(_strictly_after([[5, 7], [7, 0]], 8))
    [(4, 0), (6, 1), (255, 1)]
    """
    mask = (1 << bits) - 1
    ring = {(at - 1) & mask: code for code, of_host in enumerate(points) for at in of_host}
    return sorted(at << CODE_BITS | code for at, code in ring.items())
