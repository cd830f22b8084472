"""Turns: a counter that threads share without a lock, with a random start."""

from __future__ import annotations

import itertools

from hashring.forks import watch
from hashring.strategies._base import PROCESS_RNG, Rng, Strategy

# A start below 2^20 hits each of n hosts with a chance of 1/n to within n / 2^20, and leaves the
# counter a one-digit int (below 2^30, the fast path of CPython) for a billion turns.
_STARTS = 1 << 20

_MOST_APART = 64  # sets of excluded hosts whose turns are remembered


class Turns(Strategy):
    """The base of rotations: ``next(self._turns)`` is the turn of a first try.

    Retries without a host have turns of their own. Else a host that fails would shift the turns of
    first tries by one each time, and of three hosts it would be the first of every second request,
    and another host never the first.

    A turn is atomic under the GIL, so that no two threads get the same. A forked worker draws a
    new start, unless the caller gave an rng to repeat a run.
    """

    def __init__(self, *, rng: Rng | None = None) -> None:
        super().__init__(rng=rng)
        self._draw_start()
        watch(self)

    def bind(self, rng: Rng | None) -> None:
        """Called once by the balancer; its ``rng``, if it has one, draws the start again."""
        before = self._rng
        super().bind(rng)
        if self._rng is not before:
            self._draw_start()

    def after_fork(self) -> None:
        """Leave the step that the parent and all its other workers are in."""
        if self._rng is PROCESS_RNG:
            self._draw_start()

    def _turns_without(self, excluded: frozenset[str]) -> itertools.count[int]:
        """The turns of retries that leave out these hosts."""
        turns = self._apart.get(excluded)
        if turns is None:
            if len(self._apart) >= _MOST_APART:
                self._apart.clear()
            turns = self._apart.setdefault(excluded, self._new_count())
        return turns

    def _draw_start(self) -> None:
        self._turns = self._new_count()
        self._apart: dict[frozenset[str], itertools.count[int]] = {}

    def _new_count(self) -> itertools.count[int]:
        return itertools.count(self._rng.randrange(_STARTS))
