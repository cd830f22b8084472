"""``hash % n``, for comparison: what a resize costs without consistent hashing."""

from __future__ import annotations

from collections.abc import Iterable

from hashring.hosts import Host
from hashring.keys import Key, position
from hashring.placement._base import RebuiltTable, fingerprint_of

GUARANTEES = frozenset({"order_free"})
SOURCE = "key position of layout 1, modulo the hosts sorted by name"
COST = "look-up O(1); a resize moves (n-1)/n of the keys"
EXPORTS: tuple[str, ...] = ()


class ModuloTable(RebuiltTable):
    """Position % n over the hosts sorted by name; weights do not count."""

    __slots__ = ()

    def __init__(self, hosts: Iterable[Host]) -> None:
        ordered = tuple(sorted(hosts, key=lambda host: host.name))
        super().__init__(ordered, fingerprint_of("modulo", tuple(h.name for h in ordered)))

    def _owner(self, key: Key) -> str:
        return self.hosts[position(key) % len(self.hosts)]

    def _rebuilt(self, hosts: tuple[Host, ...]) -> ModuloTable:
        return ModuloTable(hosts)


def build(hosts: tuple[Host, ...]) -> ModuloTable:
    """The table of ``hash % n``.

    >>> build((Host("a"), Host("b"), Host("c"))).lookup("session-42")
    'a'
    """
    return ModuloTable(hosts)
