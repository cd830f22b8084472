"""Shares of the circle and differences between two rings, exact by arcs.

Every arc is an integer number of 2^32 positions, so the fractions here are exact in a float: sums
of at most 2^32 / 2^32 parts lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hashring.errors import ConfigError
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, CODE_MASK

NO_HOST = ""
"""The owner of all keys of an empty ring in ``Diff.flows``; no host can have this name."""

_MARK_BITS = CODE_BITS + 1  # a host's rank by name, and the side: which of two rings
_MARK = (1 << _MARK_BITS) - 1


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

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.moved, dict(self.flows))


def _rebuild(moved: float, flows: dict[tuple[str, str], float]) -> Diff:
    return Diff(moved, MappingProxyType(flows))


def shares(index: Index[str], hosts: Iterable[str]) -> dict[str, float]:
    """name -> fraction of the circle, summing to 1; empty for no hosts. Cost: O(V).

    A vnode owns the positions after its predecessor up to its own.
    """
    owned = dict.fromkeys(sorted(hosts), 0)
    circle = 1 << index.bits
    before, labels, vnodes = -1, index.labels, index.vnodes()
    for vnode in vnodes:
        position = vnode >> CODE_BITS
        owned[labels[vnode & CODE_MASK]] += position - before
        before = position
    if vnodes:  # beyond the last vnode the first one owns
        owned[labels[vnodes[0] & CODE_MASK]] += circle - 1 - before
    return {name: arc / circle for name, arc in owned.items()}


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
    circle = 1 << old.bits
    flows: dict[tuple[str, str], float] = {}
    moved = 0
    for source, row in enumerate(_merged(cuts, len(names), circle)):
        row.pop(source, None)  # what stays
        moved += sum(row.values())
        for target in sorted(row):
            flows[names[source], names[target]] = row[target] / circle
    return Diff(moved / circle, MappingProxyType(flows))


def _merged(cuts: list[int], hosts: int, circle: int) -> list[dict[int, int]]:
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
