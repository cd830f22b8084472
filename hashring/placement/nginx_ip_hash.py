"""Which server does nginx's ``ip_hash`` choose for a client's address?

The key is the address as text. Of an IPv4 address only the first three octets count, so a /24 is
one client.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashring.hosts import Host
from hashring.placement._base import packed_address
from hashring.placement.nginx_hash import SlotsTable

GUARANTEES = frozenset({"weighted"})
SOURCE = "nginx 1.31.5, src/http/modules/ngx_http_upstream_ip_hash_module.c"
COST = "3 multiplications (16 for IPv6) and a bisect over the hosts"
EXPORTS = ("nginx",)

# what nginx hashes for a client on a Unix socket, whose $remote_addr reads "unix:"
_PSEUDO_ADDRESS = b"\0\0\0"


class NginxIpHashTable(SlotsTable):
    """``ip_hash``: None for a key that is not an address."""

    __slots__ = ()

    NAME = "nginx-ip-hash"

    def _hashes(self, data: bytes) -> Iterator[int] | None:
        address = _PSEUDO_ADDRESS if data == b"unix:" else packed_address(data)
        if address is None:
            return None
        return _rounds(address if len(address) == 16 else address[:3])


def _rounds(octets: bytes) -> Iterator[int]:
    h = 89
    while True:
        for octet in octets:
            h = (h * 113 + octet) % 6271
        yield h


def build(hosts: tuple[Host, ...]) -> NginxIpHashTable:
    """The table of ``ip_hash`` over ``hosts``, weights whole. Cost: O(n).

    >>> table = build((Host("a"), Host("b"), Host("c")))
    >>> table.lookup("192.0.2.7") == table.lookup("192.0.2.99"), table.lookup("session-42")
    (True, None)
    """
    return NginxIpHashTable(hosts)
