"""Which memcached does the first ketama choose?  RJ's libketama, of Last.fm, 2007."""

from __future__ import annotations

from math import floor
from struct import Struct

from hashring.hosts import Host
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import CircleTable, host_fields, in_ring_order, position_by
from hashring.placement._hashes import md5
from hashring.placement.ketama import group_points
from hashring.ring.index import Index

# points by proportion of the whole: each change of the pool may add or take points of other hosts
GUARANTEES = frozenset({"order_free", "weighted"})
SOURCE = "RJ/ketama, libketama/ketama.c (ketama_create_continuum, ketama_get_server)"
COST = "one MD5 and one read of a guide table over about 160 points a host"
EXPORTS: tuple[str, ...] = ()

_float32 = Struct("<f")


def _round_points(number: float) -> float:
    """``number`` as C's ``float`` holds it."""
    single: float = _float32.unpack(_float32.pack(number))[0]
    return single


def _groups(weights: tuple[int, ...]) -> list[int]:
    """How many MD5 digests, of four points each, every host has.

    ``float pct = (float)w / (float)total; floorf(pct * 40.0 * (float)hosts)``: the product is a
    double, and becomes a float before it is rounded down.
    """
    total = _round_points(sum(weights))
    shares = [_round_points(_round_points(weight) / total) for weight in weights]
    return [floor(_round_points(share * 40.0 * len(weights))) for share in shares]


def build(hosts: tuple[Host, ...]) -> CircleTable:
    """The continuum of ``ketama.servers`` with ``hosts``, weights whole. Cost: 40 MD5 a host.

    The label is the name, port 11211 included. libketama knows no down host: without one, the file
    is read again.

    >>> build((Host("10.0.0.1:11211", 600), Host("10.0.0.2:11211", 300))).lookup("user:0")
    '10.0.0.1:11211'
    """
    # qsort leaves the order of equal points open; by name it does not depend on the list
    ranked = tuple(sorted(hosts, key=lambda host: host.name))
    names = tuple(host.name for host in ranked)
    groups = _groups(whole_weights(ranked, "libketama"))
    points = in_ring_order(group_points(*share) for share in zip(names, groups, strict=True))
    return CircleTable(
        ranked,
        fingerprint_of("ketama-original", host_fields(ranked)),
        build,
        index=Index.build(points, names),
        position=position_by(md5),
    )
