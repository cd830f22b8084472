"""Shares of the circle and differences between two rings, exact by arcs.

Every arc is an integer number of 2^32 positions, so the fractions here are exact in a float: sums
of at most 2^32 / 2^32 parts lose nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from hashring.errors import ConfigError
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, CODE_MASK

NO_HOST = ""
"""The owner of all keys of an empty ring in ``Diff.flows``; no host can have this name."""

_MARK_BITS = CODE_BITS + 1  # a host's rank by name, and the side: which of two rings
_MARK = (1 << _MARK_BITS) - 1


class MovedRange(NamedTuple):
    """Positions ``first`` to ``last``, both inclusive, whose keys go from ``old`` to ``new``."""

    first: int
    last: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Diff:
    """What moves between two rings: ``moved`` is a fraction of all keys, ``flows`` its parts.

    ``flows[(old, new)]`` is the fraction of keys that go from host ``old`` to host ``new``; the
    values sum to ``moved``. Out of an empty ring (or into one) the other side is ``""``.

    >>> from hashring.ring import HashRing
    >>> one, two = HashRing(["a"]), HashRing(["a", "b"])
    >>> diff = one.diff(two)
    >>> diff.moved == two.shares()["b"] == diff.flows["a", "b"]
    True
    """

    moved: float
    flows: Mapping[tuple[str, str], float]
    _ranges: Callable[[], list[MovedRange]] | None = field(default=None, repr=False, compare=False)

    @property
    def ranges(self) -> list[MovedRange]:
        """Which positions move, ascending and exact. Cost: O(V log V), each time.

        Raises ``ConfigError`` for a diff that was not made of two rings, or that was pickled.

        >>> from hashring.ring import HashRing
        >>> moves = HashRing(["a"], vnodes=1).diff(HashRing(["a", "b"], vnodes=1)).ranges
        >>> [(one.first, one.last, one.old, one.new) for one in moves]
        [(720152693, 2461118074, 'a', 'b')]
        """
        if self._ranges is None:
            raise ConfigError("this diff has no ranges: only ring.diff(other) of two rings has")
        return self._ranges()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.moved, dict(self.flows))


def _rebuild(moved: float, flows: dict[tuple[str, str], float]) -> Diff:
    return Diff(moved, MappingProxyType(flows))


def shares(
    vnodes: Iterable[int], labels: Sequence[str], hosts: Iterable[str], bits: int
) -> dict[str, float]:
    """name -> fraction of the circle, summing to 1; empty for no hosts. Cost: O(V).

    A vnode owns the positions after its predecessor up to its own.
    """
    owned = dict.fromkeys(sorted(hosts), 0)
    circle = 1 << bits
    before, first = -1, -1
    for vnode in vnodes:
        position = vnode >> CODE_BITS
        owned[labels[vnode & CODE_MASK]] += position - before
        before = position
        if first < 0:
            first = vnode
    if first >= 0:  # beyond the last vnode the first one owns
        owned[labels[first & CODE_MASK]] += circle - 1 - before
    return {name: arc / circle for name, arc in owned.items()}


def ranges(vnodes: Sequence[int], own: Iterable[int], bits: int) -> list[tuple[int, int]]:
    """The positions of the host whose vnodes are ``own``, as (first, last), both inclusive.

    ``vnodes`` are all packed vnodes in ring order. Ascending, and adjacent arcs are one; the arc
    that wraps is two. Cost: O(own log V).
    """
    found = []
    for vnode in set(own):
        at, position = bisect_left(vnodes, vnode), vnode >> CODE_BITS
        before = vnodes[at - 1] >> CODE_BITS
        if not at:
            found += [(0, position), (before + 1, (1 << bits) - 1)]
        else:  # of vnodes at one position the first owns it
            found.append((before + 1, position))
    merged: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if first > last:
            continue
        if merged and merged[-1][1] == first - 1:
            merged[-1] = merged[-1][0], last
        else:
            merged.append((first, last))
    return merged


def _cuts(index: Index[str], names: Sequence[str], side: int) -> list[int]:
    """Each vnode as ``position << 25 | rank of its host in names << 1 | side``, in ring order."""
    rank = {name: place << 1 | side for place, name in enumerate(names)}
    marks = [rank.get(label, 0) for label in index.labels]
    return [vnode >> CODE_BITS << _MARK_BITS | marks[vnode & CODE_MASK] for vnode in index.vnodes()]


def diff(old: Index[str], new: Index[str]) -> Diff:
    """What moves from ``old`` to ``new``. Cost: O(V log V), 0.4 us a vnode of both, 1 us a flow.

    Raises ``ConfigError`` when the two do not place keys at the same positions.
    """
    _check_comparable(old, new)
    names = sorted({NO_HOST, *old.labels, *new.labels})
    cuts = _cuts(old, names, 0) + _cuts(new, names, 1)
    cuts.sort(reverse=True)
    ranges = partial(_moved_ranges, cuts, names, old.bits)
    circle = 1 << old.bits
    flows: dict[tuple[str, str], float] = {}
    moved = 0
    for source, row in enumerate(_merge_cuts(cuts, len(names), circle)):
        row.pop(source, None)  # what stays
        moved += sum(row.values())
        for target in sorted(row):
            flows[names[source], names[target]] = row[target] / circle
    return Diff(moved / circle, MappingProxyType(flows), ranges)


def _merge_cuts(cuts: list[int], hosts: int, circle: int) -> list[dict[int, int]]:
    """For each rank before, rank after -> positions; from the top of the circle down.

    At each cut the owner of what lies at and below it becomes known, on one of the two sides. A
    dict for each host before is filled faster than one for all pairs, of which there are millions.
    """
    rows: list[dict[int, int]] = [{} for _ in range(hosts)]
    row, target = rows[_lowest(cuts, 0)], _lowest(cuts, 1)  # who owns what is past the last vnode
    above = circle - 1
    for cut in cuts:
        position = cut >> _MARK_BITS
        if position != above:
            if target in row:
                row[target] += above - position
            else:
                row[target] = above - position
            above = position
        if cut & 1:
            target = (cut & _MARK) >> 1
        else:
            row = rows[(cut & _MARK) >> 1]
    row[target] = row.get(target, 0) + above + 1
    return rows


def _moved_ranges(cuts: list[int], names: Sequence[str], bits: int) -> list[MovedRange]:
    """The arcs of ``_merged`` whose owner changes, in ascending order; adjacent ones are one."""
    found: list[MovedRange] = []
    owners = [_lowest(cuts, 0), _lowest(cuts, 1)]
    above = (1 << bits) - 1
    for cut in [*cuts, -1]:
        position = cut >> _MARK_BITS
        if position != above and owners[0] != owners[1]:
            moved = MovedRange(position + 1, above, names[owners[0]], names[owners[1]])
            if found and found[-1].first == above + 1 and found[-1][2:] == moved[2:]:
                moved = MovedRange(moved.first, found.pop().last, *moved[2:])
            found.append(moved)
        above = position
        owners[cut & 1] = (cut & _MARK) >> 1
    return found[::-1]


def _lowest(cuts: list[int], side: int) -> int:
    """The rank of the host of a side's first vnode; without vnodes 0, the rank of ``NO_HOST``."""
    return next((cut & _MARK for cut in reversed(cuts) if cut & 1 == side), side) >> 1


def _check_comparable(old: Index[str], new: Index[str]) -> None:
    if old.seed != new.seed:
        raise ConfigError(
            f"these rings place keys by different seeds ({old.seed} and {new.seed}): nearly "
            "every key "
            "would move, so build both with one seed to compare them",
            option="seed",
        )
