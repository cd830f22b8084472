"""Where does randomness come from, in a test?  From a seed, so that a run can be repeated."""

from __future__ import annotations

import random


def seeded_rng(seed: int = 0) -> random.Random:
    """A generator of its own with the same numbers in every run, for ``rng=`` anywhere here.

    >>> from hashring import LoadBalancer
    >>> one, two = (LoadBalancer(["a", "b", "c"], rng=seeded_rng(7)) for _ in range(2))
    >>> [one.pick().name for _ in range(5)] == [two.pick().name for _ in range(5)]
    True
    """
    return random.Random(seed)
