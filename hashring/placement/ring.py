"""The native ring (layout 1): few keys move, any weights, down hosts are skipped in ring order."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.ring import HashRing, RingTable
from hashring.ring.layout import DEFAULT_VNODES

GUARANTEES = frozenset(
    {"minimal_move", "monotone_weight", "order_free", "stable_under_down", "weighted"}
)
SOURCE = "hashring layout 1 (Karger et al. 1997)"
COST = "look-up O(1); a change O(its vnodes) plus a memcpy"
EXPORTS: tuple[str, ...] = ()


class RingRecipe:
    """Hosts -> table by patching one ring, so that a change costs what it changes.

    >>> grow = RingRecipe(HashRing(vnodes=64))
    >>> grow((Host("a"),)).hosts, grow((Host("a"), Host("b"))).hosts
    (('a',), ('a', 'b'))
    """

    def __init__(self, ring: HashRing) -> None:
        self._ring = ring

    def __call__(self, hosts: tuple[Host, ...]) -> RingTable:
        """The table over ``hosts``, patched from the last one."""
        self._ring.set_hosts(hosts)
        return self._ring.table

    def copy(self) -> RingRecipe:
        """One that starts from the same state and leaves this one alone."""
        return RingRecipe(self._ring.copy())


def recipe(
    *, vnodes: int = DEFAULT_VNODES, seed: int = 0, key_secret: bytes | None = None
) -> RingRecipe:
    """The recipe of the native ring with these options."""
    return RingRecipe(HashRing(vnodes=vnodes, seed=seed, key_secret=key_secret))


def build(
    hosts: tuple[Host, ...],
    *,
    vnodes: int = DEFAULT_VNODES,
    seed: int = 0,
    key_secret: bytes | None = None,
) -> RingTable:
    """The table of the native ring over ``hosts``. Cost: about 2 us a vnode.

    >>> build((Host("a"), Host("b"))).lookup("x")
    'a'
    """
    return HashRing(hosts, vnodes=vnodes, seed=seed, key_secret=key_secret).table
