"""Which upstream does Caddy's ``lb_policy`` choose where it hashes?

Rendezvous hashing: ``ip_hash``, ``client_ip_hash``, ``uri_hash``, ``query`` and ``header`` differ
in the text that is the key. A host's name is the upstream's dial address as it is written,
``127.0.0.1:9001``.
"""

from __future__ import annotations

from collections.abc import Iterable

from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._base import fingerprint_of
from hashring.placement._hashes import xxhash_module
from hashring.placement._scores import ScoreTable

GUARANTEES = frozenset({"minimal_move", "order_free", "stable_under_down"})
SOURCE = "Caddy 2.11, modules/caddyhttp/reverseproxy/selectionpolicies.go"
COST = "one XXH64 a host, about 200 ns each; no memory, no build"
EXPORTS = ("caddy",)


class CaddyHrwTable(ScoreTable):
    """A host scores the XXH64 of its address and the key, without a separator.

    The empty key is hashed like any other; Caddy's ``header`` and ``query`` take another policy
    for a request without one.
    """

    __slots__ = ("_hash", "_stems")

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        names = tuple(host.name for host in hosts)
        super().__init__(hosts, fingerprint_of("caddy-hrw", tuple(sorted(names))), CaddyHrwTable)
        self._hash = xxhash_module().xxh64_intdigest
        self._stems = [text_bytes(name) for name in names]

    def _scores(self, data: bytes) -> Iterable[float]:
        number = self._hash
        return [number(stem + data) for stem in self._stems]


def build(hosts: tuple[Host, ...]) -> CaddyHrwTable:
    """Caddy's rendezvous hashing over ``hosts``, in any order; weights do not count. Cost: O(n).

    >>> build((Host("127.0.0.1:9001"), Host("127.0.0.1:9002"))).lookup("user:0")
    '127.0.0.1:9001'
    """
    return CaddyHrwTable(hosts)
