"""Which server does nginx's plain ``hash KEY`` choose?

The text after ``server`` is the host's name, though the name plays no part: slots are. Deleting a
line moves most keys; marking it ``down`` moves its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, count
from zlib import crc32

from hashring.hosts import Host
from hashring.placement._nginx_slots import SlotsTable

__all__ = ["COST", "EXPORTS", "GUARANTEES", "SOURCE", "NginxHashTable", "build"]

GUARANTEES = frozenset({"weighted"})
SOURCE = "nginx 1.31.5, src/http/modules/ngx_http_upstream_hash_module.c"
COST = "one CRC-32 and a bisect over the hosts; a down host costs one more CRC-32 per try"
EXPORTS = ("nginx",)


class NginxHashTable(SlotsTable):
    """``hash KEY`` without ``consistent``."""

    __slots__ = ()

    NAME = "nginx-hash"

    def _hashes(self, data: bytes) -> Iterator[int] | None:
        if not data:  # an empty key is round robin
            return None
        # each try adds 15 bits of the CRC of "<try><key>", the first try without its number
        return accumulate(
            (crc32(b"%d%b" % (r, data) if r else data) >> 16) & 0x7FFF for r in count()
        )


def build(hosts: tuple[Host, ...]) -> NginxHashTable:
    """The table of ``hash KEY`` over ``hosts``, weights whole. Cost: O(n).

    >>> build((Host("127.0.0.1:9001"), Host("127.0.0.1:9002", 2))).lookup("user:0")
    '127.0.0.1:9001'
    """
    return NginxHashTable(hosts)
