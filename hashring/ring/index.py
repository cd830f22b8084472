"""Which vnode is the first at or after a position?  The immutable read side of a ring.

A guide table ("indexed search"; Chen and Asau 1974, Devroye 1986 section III.2.4) over the sorted
vnodes. The circle is cut into a power of two of equal **cells**; the top bits of a position choose
one. A cell without a vnode inside belongs to one host, and holds that host's *code* (>= 0). A cell
with vnodes inside holds ``~node`` (< 0) of a small balanced search tree, whose nodes stand in three
arrays: ``positions``, ``low`` (at or before the position) and ``high`` (after it), where low and
high are again codes or nodes. A code is an index into ``labels``.

So a look-up costs one array read, and one or two comparisons in the one cell of five that is cut by
a vnode, at any ring size. A change never edits an index: ``patched`` works out which cells differ,
copies the arrays (a memcpy) and stores those.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from hashring.ring._patch import Patch, Vnode, remaining

__all__ = ["CELLS_PER_VNODE", "Index", "Vnode"]

Label = TypeVar("Label")
Other = TypeVar("Other")

CELLS_PER_VNODE = 4
"""Cells a vnode at a build, rounded up to a power of two: 4 to 8, which leaves 78 to 88 % of the
positions in cells without a vnode (e^(-1/4) to e^(-1/8)) for 16 to 32 bytes a vnode."""

_ROOMY_CELLS_PER_VNODE = 16  # leaves 94 %; for a ring that stays within ...
_ROOMY_CELLS = 1 << 18  # ... 1 MB, which a level-2 cache holds and a change copies in 0.1 ms

_FEWEST_CELLS_PER_VNODE = 2  # below, patched() builds anew: a third of the look-ups enter a tree
_REBUILD_FRACTION = 4  # a change of over a quarter of the vnodes is cheaper to build than to patch


class Index(Generic[Label]):
    """The vnodes of one membership, frozen for look-ups.

    ``labels[code]`` is what a look-up answers; ``size`` the number of vnodes; positions lie in
    0 .. 2^bits-1. ``seed`` rides along so that a look-up reads everything from one object.

    >>> index = Index.build([(10, 0), (200, 1)], ["a", "b"], bits=8)
    >>> [index.labels[index.find(p)] for p in (0, 10, 11, 200, 201)]
    ['a', 'a', 'b', 'b', 'a']
    """

    __slots__ = (
        "_free",
        "bits",
        "cells",
        "high",
        "labels",
        "low",
        "positions",
        "seed",
        "shift",
        "size",
    )

    def __init__(
        self,
        cells: array[int],
        nodes: tuple[array[int], array[int], array[int]],
        labels: Sequence[Label],
        *,
        size: int,
        bits: int,
        seed: int,
        free: list[int] | None = None,
    ) -> None:
        self._free = free or []  # nodes that no cell leads to, for the next patch to use again
        self.cells = cells
        self.positions, self.low, self.high = nodes
        self.labels = labels
        self.size = size
        self.bits = bits
        self.shift = bits - (len(cells).bit_length() - 1)
        self.seed = seed

    @classmethod
    def build(
        cls, vnodes: Sequence[Vnode], labels: Sequence[Label], *, bits: int = 32, seed: int = 0
    ) -> Index[Label]:
        """An index of ``vnodes``, which are in ring order: by position, ties as they shall win.

        Cost: O(cells), about 0.6 us a vnode. Without vnodes there is no label either, so that a
        look-up ends in an IndexError and the hot path needs no test for it.
        """
        labels = labels if vnodes else ()
        cells = array("i", [0]) * _cell_count(len(vnodes), bits)
        nodes = (array("I" if bits <= 32 else "Q"), array("i"), array("i"))
        index = cls(cells, nodes, labels, size=len(vnodes), bits=bits, seed=seed)
        if vnodes:
            index._fill(vnodes)
        return index

    def _fill(self, vnodes: Sequence[Vnode]) -> None:
        cells, shift, grow = self.cells, self.shift, self._grow
        end, after = len(cells), vnodes[0][1]  # the last arc wraps to the first vnode
        stop = len(vnodes)
        while stop:
            cell = vnodes[stop - 1][0] >> shift
            for empty in range(cell + 1, end):
                cells[empty] = after
            start = stop - 1
            while start and vnodes[start - 1][0] >> shift == cell:
                start -= 1
            cells[cell] = grow(vnodes, start, stop, after)
            end, after, stop = cell, vnodes[start][1], start
        for empty in range(end):
            cells[empty] = after

    def _grow(self, vnodes: Sequence[Vnode], start: int, stop: int, after: int) -> int:
        """A tree over ``vnodes[start:stop]``, ``after`` behind them; its root, or a bare code."""
        if start == stop:
            return after
        middle = (start + stop) // 2
        position, code = vnodes[middle]
        low = self._grow(vnodes, start, middle, code)
        high = self._grow(vnodes, middle + 1, stop, after)
        if self._free:
            node = self._free.pop()
            self.positions[node], self.low[node], self.high[node] = position, low, high
            return ~node
        self.positions.append(position)
        self.low.append(low)
        self.high.append(high)
        return -len(self.low)  # ~ of the last node

    def find(self, position: int) -> int:
        """The code of the first vnode at or after ``position``, wrapping. Cost: O(1).

        An index without vnodes answers 0, which no label stands behind.
        """
        code = self.cells[position >> self.shift]
        while code < 0:
            code = ~code
            code = self.low[code] if position <= self.positions[code] else self.high[code]
        return code

    def around(self, position: int) -> Iterator[int]:
        """The codes of all vnodes in ring order from ``position`` on, wrapping; lazily."""
        home = position >> self.shift
        inside, _ = self._open(home)
        yield from [code for at, code in inside if at >= position]
        cells = self.cells
        for arc in (range(home + 1, len(cells)), range(home)):
            for cell in arc:
                if cells[cell] < 0:
                    for _, code in self._open(cell)[0]:
                        yield code
        yield from [code for at, code in inside if at < position]

    def vnodes(self) -> list[Vnode]:
        """All (position, code) in ring order from 0. Cost: O(cells)."""
        found: list[Vnode] = []
        positions, low, high = self.positions, self.low, self.high
        for cell in [cell for cell, root in enumerate(self.cells) if root < 0]:
            node = ~self.cells[cell]
            if low[node] >= 0 and high[node] >= 0:  # most cells with vnodes have one
                found.append((positions[node], low[node]))
            else:
                found += self._open(cell)[0]
        return found

    def marked(self, marks: Sequence[int], bits: int) -> list[int]:
        """``position << bits | marks[code]`` of each vnode, in no order. Cost: O(V), 0.1 us each.

        Ints of one size sort several times as fast as pairs, and the garbage collector skips them.

        >>> sorted(Index.build([(10, 0), (200, 1)], ["a", "b"], bits=8).marked([5, 7], 4))
        [165, 3207]
        """
        found: list[int] = []
        add, low, high, dead = found.append, self.low, self.high, set(self._free)
        for node, position in enumerate(self.positions):
            if node in dead:
                continue
            code = low[node]
            while code < 0:  # the last leaf before a node is the code of its vnode
                code = high[~code]
            add(position << bits | marks[code])
        return found

    def _open(self, cell: int) -> tuple[list[Vnode], int]:
        """The vnodes inside ``cell`` in order, and the code that stands after them."""
        root = self.cells[cell]
        inside: list[Vnode] = []
        if root >= 0:
            return inside, root
        trail: list[int] = []
        # in order, leaves and nodes alternate: the leaf before a node is the code of its vnode
        while True:
            while root < 0:
                trail.append(~root)
                root = self.low[~root]
            if not trail:
                return inside, root
            node = trail.pop()
            inside.append((self.positions[node], root))
            root = self.high[node]

    def relabelled(self, labels: Sequence[Other]) -> Index[Other]:
        """The same vnodes under other labels; shares the arrays. Cost: O(1).

        >>> Index.build([(7, 0)], ["a"]).relabelled([1.5]).labels
        [1.5]
        """
        nodes = (self.positions, self.low, self.high)
        return Index(
            self.cells,
            nodes,
            labels,
            size=self.size,
            bits=self.bits,
            seed=self.seed,
            free=self._free,  # nobody writes into it: a patch copies it first
        )

    def patched(
        self,
        added: Iterable[Vnode],
        removed: Iterable[Vnode],
        labels: Sequence[Label],
        order: Callable[[Vnode], Any],
    ) -> Index[Label]:
        """The index with some vnodes more and some less; ``self`` stays as it is.

        ``order`` is the sort key of ring order. Cost: O(changed vnodes) plus a copy of the arrays,
        or one build where that is cheaper. Equal to a build from the changed list.
        """
        added, removed = list(added), list(removed)
        size = self.size + len(added) - len(removed)
        changed = len(added) + len(removed)
        if changed * _REBUILD_FRACTION > size or size * _FEWEST_CELLS_PER_VNODE > len(self.cells):
            vnodes = remaining(self.vnodes(), removed) + added
            if added:
                vnodes.sort(key=order)
            return Index.build(vnodes, labels, bits=self.bits, seed=self.seed)
        patch = Patch(self.cells, self.shift, self._open, added, removed, order)
        copy = Index(
            self.cells[:],
            (self.positions[:], self.low[:], self.high[:]),
            labels,
            size=size,
            bits=self.bits,
            seed=self.seed,
            free=self._free[:],
        )
        for cell, code in patch.plain.items():
            copy._drop(copy.cells[cell])
            copy.cells[cell] = code
        for cell, inside in patch.inside.items():
            copy._drop(copy.cells[cell])
            copy.cells[cell] = copy._grow(inside, 0, len(inside), patch.after[cell])
        return copy

    def _drop(self, root: int) -> None:
        """Give back the nodes of a tree; this index is a copy that nobody else reads yet."""
        if root < 0:
            self._drop(self.low[~root])
            self._drop(self.high[~root])
            self._free.append(~root)


def _cell_count(vnodes: int, bits: int) -> int:
    roomy = min(vnodes * _ROOMY_CELLS_PER_VNODE, _ROOMY_CELLS)
    wanted = max(vnodes * CELLS_PER_VNODE, roomy, 1)
    return int(1 << min(bits, (wanted - 1).bit_length()))
