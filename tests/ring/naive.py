"""What would a ring do that nobody made fast?  A sorted list of (position, name), and bisect."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

import mmh3

__all__ = ["CIRCLE", "Flows", "NaiveRing", "encoded", "stand"]

CIRCLE = 1 << 32
Flows = dict[tuple[str, str], Fraction]


def encoded(key: str | bytes | int | UUID) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")


def stand(data: bytes, seed: int) -> int:
    """Where these bytes stand. Bytes only: mmh3 ends the process on a str with a lone surrogate."""
    return mmh3.hash(data, seed, signed=False)


class NaiveRing:
    """The ring of a mapping name -> weight. ``mask`` drops low bits of the vnodes, to make ties."""

    def __init__(
        self, weights: Mapping[str, float], *, vnodes: int, seed: int = 0, mask: int = CIRCLE - 1
    ) -> None:
        self.weights, self.seed = dict(weights), seed
        self.vnodes = sorted(
            (stand(encoded(f"{name}#{i}"), seed) & mask, name)
            for name, weight in weights.items()
            for i in range(max(1, math.floor(vnodes * weight + 0.5)))
        )
        self.places = [position for position, _ in self.vnodes]

    def walk_from(self, position: int) -> list[str]:
        start = bisect_left(self.places, position)
        turn = self.vnodes[start:] + self.vnodes[:start]
        return list(dict.fromkeys(name for _, name in turn))

    def walk(self, key: str | bytes | int | UUID) -> list[str]:
        return self.walk_from(stand(encoded(key), self.seed))

    def owner_at(self, position: int) -> str:
        return self.vnodes[bisect_left(self.places, position) % len(self.vnodes)][1]

    def flows_to(self, other: NaiveRing) -> Flows:
        """(old owner, new owner) -> fraction of the circle, for all pairs, equal ones too.

        Both owners stay the same from one vnode of either ring to the next.
        """
        cuts = sorted({-1, *self.places, *other.places, CIRCLE - 1})
        flows: Flows = {}
        for before, end in pairwise(cuts):
            pair = (self.owner_at(end), other.owner_at(end))
            flows[pair] = flows.get(pair, Fraction()) + Fraction(end - before, CIRCLE)
        return flows

    def shares(self) -> dict[str, Fraction]:
        own = self.flows_to(self)
        return {name: own.get((name, name), Fraction()) for name in self.weights}
