"""How much of the circle does each host own, and what moves between two rings?  Exactly, by arcs.

Every arc is an integer number of 2^32 positions, so the fractions here are exact in a float: sums
of at most 2^32 / 2^32 parts lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hashring.errors import ConfigError
from hashring.ring.index import Index

__all__ = ["NOBODY", "Diff", "diff", "shares"]

NOBODY = ""
"""Who owns the keys of a ring without hosts, in ``Diff.flows``; no host can have this name."""


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
    owned = dict.fromkeys(hosts, 0)
    circle = 1 << index.bits
    before = -1
    for position, name in _boundaries(index):
        owned[name] += position - before
        before = position
    return {name: arc / circle for name, arc in owned.items()}


def _boundaries(index: Index[str]) -> list[tuple[int, str]]:
    """(last position of an arc, its owner), from position 0 to the end of the circle."""
    labels = index.labels
    vnodes = index.vnodes()
    if not vnodes:
        return []
    cut = [(position, labels[code]) for position, code in vnodes]
    cut.append(((1 << index.bits) - 1, cut[0][1]))  # beyond the last vnode the first one owns
    return cut


def diff(old: Index[str], new: Index[str]) -> Diff:
    """What moves from ``old`` to ``new``. Cost: O(V), one merge of both lists of arcs.

    Raises ``ConfigError`` when the two do not place keys at the same positions.
    """
    _check_comparable(old, new)
    whole = [((1 << old.bits) - 1, NOBODY)]
    lefts, rights = _boundaries(old) or whole, _boundaries(new) or whole
    flows: dict[tuple[str, str], int] = {}
    i = j = 0
    before = -1
    left, source = lefts[0]
    right, target = rights[0]
    while True:
        end = left if left < right else right
        if source != target and end > before:
            pair = (source, target)
            flows[pair] = flows.get(pair, 0) + end - before
        before = end
        # both lists end at the last position of the circle, so neither runs out before the other
        if left == end:
            i += 1
            if i == len(lefts):
                break
            left, source = lefts[i]
        if right == end:
            j += 1
            if j == len(rights):
                break
            right, target = rights[j]
    circle = 1 << old.bits
    fractions = {pair: arc / circle for pair, arc in sorted(flows.items())}
    return Diff(sum(flows.values()) / circle, MappingProxyType(fractions))


def _check_comparable(old: Index[str], new: Index[str]) -> None:
    if old.seed != new.seed:
        raise ConfigError(
            f"these rings place keys by different seeds ({old.seed} and {new.seed}): nearly "
            "every key "
            "would move, so build both with one seed to compare them",
            option="seed",
        )
