"""The vnodes of a ring in one sorted array, and a guide into it: the immutable read side.

A guide table ("indexed search"; Chen and Asau 1974, Devroye 1986 section III.2.4). ``packed`` holds
each vnode as ``position << 24 | code`` in ring order; a code is an index into ``labels``. The
circle is cut into a power of two of equal **cells**, and the top bits of a position choose one. A
cell without a vnode inside belongs to one host and holds that host's code (>= 0). A cell with
vnodes inside holds ``~offset`` (< 0) of its first vnode, counted from the first vnode of its
**block**, a run of cells; ``starts`` holds the number of each block's first vnode. From there a
look-up steps to the first vnode at or after the position.

A look-up costs one array read, and for one position in ten two more and a step, at any ring size. A
change never edits an index: ``with_vnodes`` splices a copy of ``packed`` and paints the blocks that
changed in a copy of ``cells``. Offsets within blocks leave all other cells as they are.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from itertools import chain, pairwise
from operator import mul, sub
from typing import Any, Generic, TypeVar

from hashring.ring.layout import CODE_BITS, CODE_MASK

Label = TypeVar("Label")
Other = TypeVar("Other")

_CELL_BYTES_PER_VNODE = 30
"""At most, rounded down to a power of two of cells: an index of a large ring then takes less than
40 bytes a vnode. With cells of two bytes 87 to 93 % of the positions lie in cells without a
vnode (e^(-1/7) to e^(-1/15))."""

_SMALL_CELL_BYTES_PER_VNODE = 64  # 96 % and more; for a ring whose cells stay within ...
_SMALL_CELL_BYTES = 1 << 19  # ... 512 kB, which a level-2 cache holds and a change copies in 50 us

_VNODES_PER_BLOCK = 16  # a change counts again what follows it in its block, ...
_MOST_BLOCKS = 1 << 13  # ... and counts all blocks, in 0.1 ms
_REBUILD_FRACTION = 3  # a change of over a third of the vnodes is cheaper to build than to patch


class Index(Generic[Label]):
    """The vnodes of one membership, frozen for look-ups.

    ``labels[code]`` is the answer of a look-up; positions lie in 0 .. 2^bits-1. ``seed`` is stored
    here so that a look-up reads everything from one object.

    >>> index = Index.build([10 << CODE_BITS | 0, 200 << CODE_BITS | 1], ["a", "b"], bits=8)
    >>> [index.labels[index.find(p)] for p in (0, 10, 11, 200, 201)]
    ['a', 'a', 'b', 'b', 'a']
    """

    __slots__ = ("bits", "block", "cells", "labels", "packed", "seed", "shift", "starts")

    def __init__(
        self,
        packed: MutableSequence[int],
        cells: array[int],
        starts: array[int],
        labels: Sequence[Label],
        *,
        bits: int,
        seed: int,
    ) -> None:
        self.packed = packed  # and after the last vnode the first one again, one circle further
        self.cells = cells
        self.starts = starts  # and after the last block the number of vnodes
        self.labels = labels
        self.bits = bits
        self.shift = bits - (len(cells).bit_length() - 1)
        self.block = bits - ((len(starts) - 1).bit_length() - 1)
        self.seed = seed

    @classmethod
    def build(
        cls, packed: Iterable[int], labels: Sequence[Label], *, bits: int = 32, seed: int = 0
    ) -> Index[Label]:
        """An index of ``packed`` vnodes in ring order: by position, ties in the order to win.

        Cost: O(V), about 0.4 us a vnode. Without vnodes there is no label either, so that a
        look-up ends in an IndexError and the hot path needs no test for it.
        """
        # wider positions do not fit into 64 bits beside a code
        vnodes = list(packed)
        ring: MutableSequence[int]
        ring = array("Q", vnodes) if bits + CODE_BITS < 64 else vnodes[:]
        size = len(vnodes)
        ring.append(_end(ring, bits))
        wanted = min(size // _VNODES_PER_BLOCK, _MOST_BLOCKS)
        blocks = 1 << min(bits, max(1, wanted).bit_length() - 1)
        step = bits + CODE_BITS - (blocks.bit_length() - 1)
        starts = array("I", [bisect_left(vnodes, block << step) for block in range(blocks)])
        starts.append(size)
        fullest = max(map(sub, starts[1:], starts))
        # the narrowest cells that hold each code and each offset
        kind = next(k for k in "bhi" if max(len(labels), fullest) <= 1 << 8 * _width(k) - 1)
        cells = array(kind, [0]) * max(blocks, _cell_count(size, bits, kind))
        index = cls(ring, cells, starts, labels if size else (), bits=bits, seed=seed)
        if size:
            index._paint(vnodes)
        return index

    def _paint(self, vnodes: list[int]) -> None:
        """Fill the cells of a new index, whose ``vnodes`` these are: at least one."""
        cells, shift = self.cells, self.shift + CODE_BITS
        inside = [vnode >> shift for vnode in vnodes]
        # a vnode has the cells after its predecessor's up to its own, the first one also the rest
        codes = [vnode & CODE_MASK for vnode in vnodes]
        codes.append(codes[0])
        width, order = cells.itemsize, sys.byteorder
        unit = [code.to_bytes(width, order) for code in range(len(self.labels))]
        lengths = map(sub, [*inside, len(cells) - 1], [-1, *inside])
        cells[:] = array(cells.typecode, b"".join(map(mul, map(unit.__getitem__, codes), lengths)))
        offsets: list[int] = []  # each as its ~
        for first, stop in pairwise(self.starts):
            offsets += range(-1, first - stop - 1, -1)
        for cell, offset in zip(reversed(inside), reversed(offsets), strict=True):
            cells[cell] = offset  # of several vnodes in a cell the first is written last, and stays

    def find(self, position: int) -> int:
        """The code of the first vnode at or after ``position``, wrapping. Cost: O(1).

        The look-ups of ``HashRing``, ``CircleTable`` and the balancer hold copies of these lines,
        because a call costs as much as the search; a test holds all of them equal. An index
        without vnodes returns 0, for which there is no label.
        """
        code = self.cells[position >> self.shift]
        if code >= 0:
            return code
        packed = self.packed
        at = self.starts[position >> self.block] + ~code
        position <<= CODE_BITS
        while packed[at] < position:
            at += 1
        return packed[at] & CODE_MASK

    @property
    def size(self) -> int:
        """The number of vnodes."""
        return len(self.packed) - 1

    def around(self, position: int) -> Iterator[int]:
        """The codes of all vnodes in ring order from ``position`` on, wrapping; lazily.

        Cost: O(log V), and some 50 ns a vnode.
        """
        packed, size = self.packed, self.size
        start = bisect_left(packed, position << CODE_BITS, 0, size)
        for at in chain(range(start, size), range(start)):
            yield packed[at] & CODE_MASK

    def vnodes(self) -> list[int]:
        """All packed vnodes in ring order from 0. Cost: O(V)."""
        return list(self.packed[:-1])

    def with_labels(self, labels: Sequence[Other]) -> Index[Other]:
        """The same vnodes under other labels; shares the arrays. Cost: O(1).

        >>> Index.build([7 << CODE_BITS], ["a"]).with_labels([1.5]).labels
        [1.5]
        """
        return Index(self.packed, self.cells, self.starts, labels, bits=self.bits, seed=self.seed)

    def with_vnodes(
        self, added: Iterable[int], removed: Iterable[int], labels: Sequence[Label]
    ) -> Index[Label]:
        """The index with some packed vnodes more and some less; ``self`` stays as it is.

        Of two vnodes at one position that of the lower label wins. They stand in the order of
        their codes, and where that is another one the result has its own labels and codes, in
        order: at 160,000 vnodes, after one change of 160 in 170. Cost: about 3 us a changed vnode
        plus a copy of the arrays, or one build where that is cheaper. Equal to a build from the
        changed list.

        >>> index = Index.build([10 << CODE_BITS, 200 << CODE_BITS | 1], ["a", "b"], bits=8)
        >>> more = index.with_vnodes([90 << CODE_BITS], [], ["a", "b"])
        >>> [vnode >> CODE_BITS for vnode in more.vnodes()]
        [10, 90, 200]
        """
        names: Sequence[Any] = labels
        edits = sorted([*((vnode, 1) for vnode in added), *((vnode, -1) for vnode in removed)])
        if not edits:
            return self.with_labels(labels)
        ring, places, ties = self._splice_packed(edits)
        if any(names[one & CODE_MASK] > names[two & CODE_MASK] for one, two in ties):
            return _recode_ring(ring, labels, bits=self.bits, seed=self.seed)
        size, kind = len(ring) - 1, self.cells.typecode
        wanted = _cell_count(size, self.bits, kind)
        if (
            len(edits) * _REBUILD_FRACTION > size
            or not wanted <= 2 * len(self.cells) <= 4 * wanted
            or len(labels) > 1 << 8 * self.cells.itemsize - 1
        ):
            return Index.build(ring[:-1], labels, bits=self.bits, seed=self.seed)
        starts = _shift_starts(self.starts, edits, self.block + CODE_BITS)
        index = Index(ring, self.cells[:], starts, labels, bits=self.bits, seed=self.seed)
        try:
            index._repaint(edits, places)
        except OverflowError:  # more vnodes in one block than a cell can count
            return Index.build(ring[:-1], labels, bits=self.bits, seed=self.seed)
        return index

    def _splice_packed(
        self, edits: list[tuple[int, int]]
    ) -> tuple[MutableSequence[int], list[int], list[tuple[int, int]]]:
        """``packed`` after ``edits``, how many of its vnodes stand before each, and new ties."""
        old = self.packed
        ring, places, ties, at = old[:0], [], [], 0
        for vnode, sign in edits:
            start, at = at, bisect_left(old, vnode, at)
            ring += old[start:at]
            places.append(len(ring))
            if sign > 0:
                below, above = ring[-1] if ring else -1, old[at]
                if 0 <= below ^ vnode <= CODE_MASK:
                    ties.append((below, vnode))
                if above ^ vnode <= CODE_MASK:
                    ties.append((vnode, above))
                ring.append(vnode)
            else:
                at += 1
        ring += old[at:-1]
        places.append(len(ring))
        ring.append(_end(ring, self.bits))
        return ring, places, ties

    def _repaint(self, edits: list[tuple[int, int]], places: list[int]) -> None:
        """Bring the cells of the old index up to date: where arcs changed, and all offsets."""
        packed, cells, starts = self.packed, self.cells, self.starts
        shift, to_block = self.shift + CODE_BITS, self.block - self.shift
        codes = {packed[place] & CODE_MASK for place in places}
        unit = {code: array(cells.typecode, [code]) for code in codes}
        number = places[0]
        before = packed[number - 1] >> shift if number else -1
        for (vnode, sign), place, next_place in zip(edits, places, places[1:], strict=False):
            if place != number:
                before = packed[place - 1] >> shift
            cell, owner = vnode >> shift, packed[place]
            # the arc that ends at an added vnode, or that had a removed one inside
            stop = cell if sign > 0 else min(cell + 1, owner >> shift)
            if stop > before + 1:
                cells[before + 1 : stop] = unit[owner & CODE_MASK] * (stop - before - 1)
            block = cell >> to_block
            start = starts[block]
            number = place
            for follower in packed[place : min(next_place, starts[block + 1])]:
                number += 1
                here = follower >> shift
                if here != before:
                    cells[here] = start - number
                    before = here
        end = (packed[-2] >> shift) + 1  # the last arc wraps to the first vnode
        cells[end:] = array(cells.typecode, [packed[0] & CODE_MASK]) * (len(cells) - end)


def _end(ring: Sequence[int], bits: int) -> int:
    """The vnode at which a step past the last one ends: the first, one circle further."""
    return 1 << bits + CODE_BITS | (ring[0] & CODE_MASK if ring else 0)


def _recode_ring(
    ring: MutableSequence[int], labels: Sequence[Label], *, bits: int, seed: int
) -> Index[Label]:
    """The index of ``ring`` with the codes in the order of the labels."""
    names: Sequence[Any] = labels
    used = sorted({vnode & CODE_MASK for vnode in ring[:-1]}, key=names.__getitem__)
    rank = {code: place for place, code in enumerate(used)}
    packed = sorted(vnode & ~CODE_MASK | rank[vnode & CODE_MASK] for vnode in ring[:-1])
    return Index.build(packed, [labels[code] for code in used], bits=bits, seed=seed)


def _shift_starts(starts: array[int], edits: list[tuple[int, int]], step: int) -> array[int]:
    """``starts`` after ``edits``: each counts for the blocks after its own.

    The numbers of all blocks are added as one int of 32 bits a block, in a fifth of the time of a
    loop. No block carries into the next, because the removals that make a difference negative are
    counted up front and taken off at the end.
    """
    width, order = starts.itemsize, sys.byteorder
    removed = sum(sign < 0 for _, sign in edits)
    runs, total, at = [], removed, 0
    for vnode, sign in edits:
        block = (vnode >> step) + 1
        if block > at:
            runs.append(total.to_bytes(width, order) * (block - at))
            at = block
        total += sign
    runs.append(total.to_bytes(width, order) * (len(starts) - at))
    offset = removed.to_bytes(width, order) * len(starts)
    parts = [int.from_bytes(part, order) for part in (starts.tobytes(), b"".join(runs), offset)]
    return array("I", (parts[0] + parts[1] - parts[2]).to_bytes(len(offset), order))


def _width(kind: str) -> int:
    return array(kind).itemsize


def _cell_count(size: int, bits: int, kind: str) -> int:
    small = min(size * _SMALL_CELL_BYTES_PER_VNODE, _SMALL_CELL_BYTES)
    wanted = max(size * _CELL_BYTES_PER_VNODE, small) // _width(kind)
    return int(1 << min(bits, max(1, wanted).bit_length() - 1))
