"""The wait before a source is asked again: a random part of a growing bound."""

from __future__ import annotations

from hashring.strategies import Rng

BASE = 0.1
"""Seconds: a server that restarts is back in some; the first retries may come quicker."""

MOST = 1.0
"""Seconds: a server that returns is noticed within one, plus the connection's own time."""

STEADY = 5.0
"""Seconds that a watch must have lasted for its loss to count as the first one."""


class Backoff:
    """Full jitter: attempt n waits a random time from 0 to ``min(most, base * 2**n)``.

    From AWS, "Exponential Backoff And Jitter" (2015): of the schemes compared there it makes the
    fewest calls and no crowds, when a thousand routers lose one server in one moment. A watch that
    lasted ``steady`` seconds ends the series; one that broke sooner continues it, whatever it
    returned.

    >>> from random import Random
    >>> backoff = Backoff(1.0, 4.0, rng=Random(1))
    >>> waits = [backoff.wait(lasted=0.0) for _ in range(50)]
    >>> waits[0] < 1, waits[1] < 2, 3 < max(waits) < 4, backoff.wait(lasted=60.0) < 1
    (True, True, True, True)
    """

    def __init__(
        self, base: float = BASE, most: float = MOST, steady: float = STEADY, *, rng: Rng
    ) -> None:
        self._base, self._most, self._steady, self._rng = base, most, steady, rng
        self.attempts = 0

    def wait(self, lasted: float) -> float:
        """The seconds to wait after a watch that lasted ``lasted`` seconds."""
        if lasted >= self._steady:
            self.attempts = 0
        # 2**60 times any base is above any bound, and the power stays a small number
        bound: float = min(self._most, self._base * 2 ** min(self.attempts, 60))
        self.attempts += 1
        return bound * self._rng.random()
