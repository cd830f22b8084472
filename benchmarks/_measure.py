"""How long does a call take?  Fresh loops, a warm pass, interleaved rounds, ratios of one run.

Machines are noisy and their speed drifts, so two numbers are compared only when they were measured
in turns: a ratio is taken in each round, and the median of these ratios is what counts. The garbage
collector stays on, as it is where the library is used.

What is measured here only computes: it waits for nothing, so its time is the processor's. On a
machine that has nothing else to do the wall clock says the same. On a busy one the wall clock also
counts the others' turns, and counts them against the candidate with the longer loop.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from statistics import median
from time import process_time as clock
from types import FunctionType
from typing import Any, TypeAlias

__all__ = [
    "COLD",
    "HOT",
    "Rounds",
    "Timed",
    "clock",
    "each",
    "host_names",
    "interleaved",
    "keys",
    "times",
]

HOT = 2_000
"""Distinct keys whose vnodes all stay in a core's own cache."""

COLD = 100_000
"""Distinct keys that touch most of a large index."""

_PASSES = 10  # of 2,000 keys: 20,000 calls, so that filling the caches is a small part

Timed: TypeAlias = Callable[[], float]
"""Runs once and answers with the seconds that one call took on average."""


def host_names(count: int, prefix: str = "host") -> list[str]:
    """``count`` names of equal form, as pools have."""
    return [f"{prefix}{number}" for number in range(count)]


def keys(distinct: int) -> list[str]:
    """``distinct`` client IDs, the hot ones several times over.

    They stand in memory in the order of their use, as a key that was just read from a request is
    in the cache: what is cold in a cold round is the index.
    """
    made = [f"session-{number:08}" for number in range(distinct)]
    return made * _PASSES if distinct <= HOT else made


def each(call: Callable[[Any], object], keys: Sequence[Any]) -> Timed:
    """``call(key)`` for each key, in a loop of its own."""
    loop = _fresh(_each)
    return lambda: loop(call, keys) / len(keys)


def times(call: Callable[[], object], count: int) -> Timed:
    """``call()``, ``count`` times, in a loop of its own."""
    loop = _fresh(_times)
    return lambda: loop(call, count) / count


def _fresh(loop: Callable[..., float]) -> Callable[..., float]:
    # the interpreter specialises a loop for what it calls: one that is shared by two candidates
    # would be specialised for the first and slow for the second
    return FunctionType(loop.__code__.replace(), globals(), loop.__name__)


def _each(call: Callable[[Any], object], keys: Sequence[Any]) -> float:
    began = clock()
    for key in keys:
        call(key)
    return clock() - began


def _times(call: Callable[[], object], count: int) -> float:
    began = clock()
    for _ in repeat(None, count):
        call()
    return clock() - began


class Rounds:
    """What the candidates took: one measurement of each in every round."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self._seconds = seconds

    def median(self, name: str) -> float:
        """Seconds a call."""
        return median(self._seconds[name])

    def ns(self, name: str) -> str:
        """Nanoseconds a call, as text."""
        return f"{self.median(name) * 1e9:,.0f} ns"

    def ratio(self, name: str, other: str) -> float:
        """How many times as long as ``other`` it took: the median of the rounds' ratios."""
        pairs = zip(self._seconds[name], self._seconds[other], strict=True)
        return median(mine / theirs for mine, theirs in pairs)


def interleaved(candidates: Mapping[str, Timed], rounds: int) -> Rounds:
    """Measure all candidates in turns, after one pass that is thrown away."""
    for run in candidates.values():
        run()
    gc.collect()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    turns = list(candidates)
    for _ in range(rounds):
        for name in turns:
            seconds[name].append(candidates[name]())
        turns.reverse()  # so that nobody always comes after the same
    return Rounds(seconds)
