"""Who owns this key, where hosts stand as points on a circle?  What such tables share.

Every placement of this kind defines two things: the positions of its points, and of a key. The
native ring's index then finds the first point at or after the key, in the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes
from hashring.placement._base import RebuiltTable
from hashring.placement._hashes import HashFunction
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, CODE_MASK

Make: TypeAlias = "Callable[[tuple[Host, ...]], RebuiltTable]"
"""``build`` with its options filled in."""


def position_by(hash_function: HashFunction) -> Callable[[Key], int]:
    """Where a key stands: ``hash_function`` of its bytes.

    >>> position_by(len)("é"), position_by(len)(b"abc"), position_by(len)(10)
    (2, 3, 2)
    """

    def position(key: Key) -> int:
        if key.__class__ is str:  # the guard costs 10 ns and saves most keys a call
            try:
                return hash_function(str.encode(key))
            except UnicodeEncodeError:
                pass  # a lone surrogate: key_bytes lets it pass
        return hash_function(key_bytes(key))

    return position


def in_ring_order(points: Iterable[Iterable[int]]) -> list[int]:
    """Every host's points, packed with the host's index; equal ones in the order of hosts.

    >>> from hashring.ring.layout import unpack
    >>> unpack(in_ring_order([[5, 1], [3, 5]]))
    [(1, 0), (3, 1), (5, 0), (5, 1)]
    """
    return sorted(
        point << CODE_BITS | code for code, of_host in enumerate(points) for point in of_host
    )


def host_fields(hosts: Iterable[Host]) -> tuple[tuple[str, float], ...]:
    """What a fingerprint has to know of hosts that count by name and weight.

    >>> host_fields([Host("a", 2)])
    (('a', 2.0),)
    """
    return tuple((host.name, host.weight) for host in hosts)


class RememberingTable(RebuiltTable):
    """A ``RebuiltTable`` that keeps its last ``without``, so that asking again costs no build.

    ``walk`` keeps nothing. A pickle holds the recipe and the hosts, and builds on loading.
    """

    __slots__ = ("_last", "_make")

    def __init__(self, hosts: tuple[Host, ...], fingerprint: str, make: Make) -> None:
        super().__init__(hosts, fingerprint)
        self._make = make
        self._last: tuple[frozenset[str], RebuiltTable] | None = None

    def _rebuilt(self, hosts: tuple[Host, ...]) -> RebuiltTable:
        return self._make(hosts)

    def without(self, names: Iterable[str]) -> RebuiltTable:
        """The table over the hosts not in ``names``. Cost: one build, unless it was asked last."""
        gone = as_names(names, "names").intersection(self.hosts)
        if not gone:
            return self
        last = self._last  # one read: another thread may replace it
        if last is None or last[0] != gone:
            last = self._last = gone, self._over(gone)
        return last[1]

    def _over(self, gone: Iterable[str]) -> RebuiltTable:
        return self._rebuilt(tuple(host for host in self._hosts if host.name not in gone))

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts, owner first. Cost: one build for each host after the first."""
        table: RebuiltTable = self
        given: list[str] = []
        while table.hosts:
            owner = table.lookup(key)
            more = table.hosts if owner is None else (owner,)
            yield from more
            given += more
            table = self._over(given)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._make, (self._hosts,)


class CircleTable(RememberingTable):
    """Points of hosts on a circle; a key belongs to the first point at or after its position.

    ``index`` holds the points, labelled with the hosts' names in their given order. Cost of a
    look-up: that of ``position`` and about 150 ns, at any number of points.
    """

    __slots__ = ("_index", "position")

    position: Callable[[Key], int]

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Make,
        *,
        index: Index[str] | Index[str | None],
        position: Callable[[Key], int],
    ) -> None:
        super().__init__(hosts, fingerprint, make)
        self._index = index
        self.position = position

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The owner of ``key``; None in a table without hosts."""
        if unavailable:
            return self.without(unavailable).lookup(key)
        position = self.position(key)
        index = self._index
        # a copy of Index.find: a call would cost as much as the search
        code = index.cells[position >> index.shift]
        if code < 0:
            packed = index.packed
            at = index.starts[position >> index.block] + ~code
            position <<= CODE_BITS
            while packed[at] < position:
                at += 1
            code = packed[at] & CODE_MASK
        labels = index.labels
        return labels[code] if labels else None

    def _owner(self, key: Key) -> str | None:
        return self.lookup(key)


class RingOrderTable(CircleTable):
    """A ``CircleTable`` whose further hosts are those of the points that follow."""

    __slots__ = ()

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts in the order of their points from ``key`` on; those without points last.

        Cost: a few us for the first hosts, O(points) for all of them.
        """
        return self._walk(self.position(key))

    def _walk(self, position: int) -> Iterator[str]:
        return distinct(self._index, position, self.hosts)


def distinct(
    index: Index[str] | Index[str | None], position: int, hosts: Sequence[str]
) -> Iterator[str]:
    """``hosts`` in the order in which ``index`` meets them from ``position`` on, the rest last.

    >>> from hashring.ring.layout import pack
    >>> index = Index.build(pack([(1, 1), (9, 0)]), ["a", "b"], bits=8)
    >>> list(distinct(index, 5, ["a", "c", "b"]))
    ['a', 'b', 'c']
    """
    labels = index.labels
    left = dict.fromkeys(hosts)  # ordered: what no point stands for comes in the given order
    if labels:
        for code in index.around(position):
            name = labels[code]
            if name is not None and name in left:
                del left[name]
                yield name
                if not left:
                    return
    yield from left
