"""Which memcached does ketama choose?  libmemcached's weighted form, and twemproxy's.

Points are shared out in proportion to the weights, in 32-bit floats: so when one host changes,
the others may gain or lose points, and a host of weight 1 among 200 gets none. A down host is as if
it had never been configured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import md5
from struct import Struct

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import CircleTable, host_fields, in_ring_order, position_by
from hashring.placement._hashes import HashFunction, hash_named
from hashring.ring.index import Index
from hashring.ring.layout import check_total
from hashring.validators import int_between

GUARANTEES = frozenset({"weighted"})
SOURCE = (
    "libmemcached 1.1.4, src/libmemcached/hosts.cc (KETAMA_WEIGHTED); "
    "twemproxy 0.5.0, src/hashkit/nc_ketama.c"
)
COST = "one key hash and the ring's look-up; 160 points a host on average, a build is 1 us each"
EXPORTS: tuple[str, ...] = ()

GROUPS_A_HOST = 40  # 160 points in groups of four, one MD5 digest each

_float32 = Struct("<f")
_four = Struct("<4I").unpack


def build(
    hosts: tuple[Host, ...],
    *,
    key_hash: str = "md5",
    hash_tag: str | None = None,
    strip_port: int | None = None,
) -> CircleTable:
    """ketama's continuum over ``hosts``, whose names are ``host:port`` or twemproxy's own names.

    libmemcached KETAMA_WEIGHTED is ``strip_port=11211``, twemproxy's default ``key_hash="fnv1a_64",
    strip_port=11211``: both leave that port out of a label. ``hash_tag`` is two characters, such as
    ``"{}"``: only what stands between the first pair is hashed, unless it is empty.
    Raises ``ConfigError`` for an unknown hash, a tag of another length, a port outside 1 .. 65535
    or a weight that is not whole. Cost: about 1 us a point, 160 a host.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9101, 9102, 9103))
    >>> build(hosts).lookup("user:0"), build(hosts, key_hash="fnv1a_64").lookup("user:0")
    ('127.0.0.1:9101', '127.0.0.1:9102')
    """
    number = hash_named(key_hash)
    if hash_tag is not None:
        number = _tag(number, *_tag_bytes(hash_tag))
    suffix = ""
    if strip_port is not None:
        suffix = f":{int_between(1, 65535)(strip_port, 'strip_port')}"
    weights = whole_weights(hosts, "ketama", highest=(1 << 32) - 1)
    check_total(4 * GROUPS_A_HOST * len(hosts))
    labels = [host.name.removesuffix(suffix) for host in hosts]
    groups = point_groups(weights)
    points = in_ring_order(
        group_points(label, count) for label, count in zip(labels, groups, strict=True)
    )
    return CircleTable(
        hosts,
        fingerprint_of("ketama", key_hash, hash_tag, suffix, host_fields(hosts)),
        partial(build, key_hash=key_hash, hash_tag=hash_tag, strip_port=strip_port),
        index=Index.build(points, [host.name for host in hosts]),
        position=position_by(number),
    )


def point_groups(weights: Sequence[int]) -> Iterator[int]:
    """How many groups of four points each weight gets, rounded as C's ``float`` rounds.

    ``floorf(pct * 160 / 4 * (float) hosts + 0.0000000001)``, every product a 32-bit float.

    >>> list(point_groups([1, 1, 1])), list(point_groups([1, 2, 2, 2]))
    ([40, 40, 40], [22, 45, 45, 45])
    >>> list(point_groups([1] * 25))[0], next(point_groups([1] + [100] * 200))
    (39, 0)
    """
    total, hosts = _round_points(sum(weights)), float(len(weights))
    for weight in weights:
        share = _round_points(_round_points(weight) / total)
        wanted = _round_points(_round_points(_round_points(share * 160) / 4) * hosts)
        yield math.floor(_round_points(wanted + 1e-10))


def _round_points(number: float) -> float:
    """The nearest 32-bit float. A double result of one operation on such floats rounds as in C."""
    nearest: float = _float32.unpack(_float32.pack(number))[0]
    return nearest


def group_points(label: str, groups: int) -> list[int]:
    """Four points of each MD5 of ``label-0``, ``label-1``, ...

    >>> group_points("10.0.1.1", 1)
    [2383802539, 488362977, 2185284489, 383925769]
    """
    stem = text_bytes(label) + b"-"
    points: list[int] = []
    for i in range(groups):
        points += _four(md5(b"%b%d" % (stem, i), usedforsecurity=False).digest())
    return points


def _tag_bytes(hash_tag: object) -> tuple[bytes, bytes]:
    tag = text_bytes(hash_tag) if isinstance(hash_tag, str) else b""
    if len(tag) != 2 or not tag.isascii():
        raise ConfigError(
            f"hash_tag must be None or two ASCII characters such as '{{}}', got {hash_tag!r}",
            option="hash_tag",
        )
    return tag[:1], tag[1:]


def _tag(number: HashFunction, opening: bytes, closing: bytes) -> HashFunction:
    def of_tag(data: bytes) -> int:
        start = data.find(opening)
        if start >= 0:
            end = data.find(closing, start + 1)
            if end > start + 1:
                return number(data[start + 1 : end])
        return number(data)

    return of_tag
