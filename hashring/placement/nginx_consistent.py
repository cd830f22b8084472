"""Which server does nginx's ``hash KEY consistent`` choose?

A host's name is the text after ``server``, as it is written: ``127.0.0.1:9001``, ``backend:80`` and
``backend`` are three different things, and ``backend`` has no port, not port 80.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from struct import Struct
from zlib import crc32

from hashring.hosts import Host
from hashring.keys import Key, key_bytes, text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import host_fields, in_ring_order, position_by
from hashring.placement._stepping import SteppedTable
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, check_total

GUARANTEES = frozenset({"minimal_move", "monotone_weight", "weighted"})
SOURCE = "nginx 1.31.5, src/http/modules/ngx_http_upstream_hash_module.c"
COST = "one CRC-32 and the ring's look-up; 160 points a unit of weight, a build is 1 us each"
EXPORTS = ("nginx",)

POINTS_A_WEIGHT = 160
STEPS = 20  # ngx_http_upstream_get_chash_peer: `if (hp->tries > 20)` goes to round robin

_HOST_PORT = re.compile(rb"(.*):([0-9]*)", re.DOTALL)
_u32le = Struct("<I").pack


class NginxConsistentTable(SteppedTable):
    """A server that is down keeps its points; nginx tries the next 20 points, then gives up.

    The answer is None there, and for the empty key, which nginx never hashes. A single server is
    not hashed for: it is the answer.
    """

    __slots__ = ()

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The server of ``key``; None where nginx takes turns."""
        if not key and not key_bytes(key):
            return None
        return super().lookup(key, unavailable)


def points_of(name: str, count: int) -> list[int]:
    """The first ``count`` points of a server: each is the CRC-32 of its text and the one before.

    >>> points_of("127.0.0.1:9001", 2), points_of("UNIX:/a", 1) == points_of("/a", 1)
    ([1884503556, 274144866], True)
    """
    text = text_bytes(name)
    split = _HOST_PORT.fullmatch(text)
    if text[:5].lower() == b"unix:":
        base = text[5:] + b"\0"
    elif split:
        base = split[1] + b"\0" + split[2]
    else:
        base = text + b"\0"
    start, point, points = crc32(base), 0, []
    for _ in range(count):
        point = crc32(_u32le(point), start)
        points.append(point)
    return points


def build(hosts: tuple[Host, ...]) -> NginxConsistentTable:
    """nginx's circle over ``hosts`` in the order of their ``server`` lines; whole weights.

    Raises ``ConfigError`` for a weight that is not whole, and above 2^23 points with their cost.
    Cost: 160 points a unit of weight, about 1 us each.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9001, 9002, 9003))
    >>> table = build(hosts)
    >>> table.lookup("user:0"), table.lookup("")
    ('127.0.0.1:9003', None)
    """
    counts = [POINTS_A_WEIGHT * weight for weight in whole_weights(hosts, "nginx")]
    check_total(sum(counts))
    names = [host.name for host in hosts]
    points = in_ring_order(
        points_of(name, count) for name, count in zip(names, counts, strict=True)
    )
    # of equal points nginx keeps the first alone: it matters where steps are counted
    kept = [next(same) for _, same in groupby(points, key=lambda point: point >> CODE_BITS)]
    return NginxConsistentTable(
        hosts,
        fingerprint_of("nginx-consistent", host_fields(hosts)),
        build,
        circle=Index.build(kept, names),
        places=[(name,) for name in names],
        position=position_by(crc32),
        steps=STEPS,
    )
