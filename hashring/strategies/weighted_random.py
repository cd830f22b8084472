"""Any host, the strong ones more often."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from hashring.hosts import Host
from hashring.strategies._base import Rng, Strategy, View


class WeightedRandom(Strategy):
    """Any host with a chance in proportion to its weight.

    Cost: O(log n), no lock; O(n) once when the view's hosts change. Source: inversion of the
    cumulative weights, as in ``random.choices`` (Knuth, TAOCP 2, section 3.4.1).

    >>> import random
    >>> from types import SimpleNamespace
    >>> from hashring.hosts import as_hosts
    >>> view = SimpleNamespace(hosts=as_hosts([("a", 8), ("b", 1), ("c", 1)]))
    >>> strategy = WeightedRandom(rng=random.Random(1))
    >>> "".join(strategy.choose(view).name for _ in range(10))
    'abaaaaaaaa'
    """

    USES_WEIGHT = True

    def __init__(self, *, rng: Rng | None = None) -> None:
        super().__init__(rng=rng)
        # The hosts stand beside their sums: while this tuple lives its identity cannot be another
        # one's, and both change in one assignment, so a thread never sees one without the other.
        self._cached: tuple[tuple[Host, ...], list[float]] = ((), [])

    def choose(self, view: View) -> Host:
        """A random host, in proportion to the weights. Cost: O(log n)."""
        hosts = view.hosts
        known, sums = self._cached
        if known is not hosts:  # "==" would not do: hosts are equal by name, whatever they weigh
            sums = _cumulative(hosts)
            self._cached = (hosts, sums)
        last = len(hosts) - 1
        # searched below the last host only: a product that rounds up to the total stays inside
        return hosts[bisect_right(sums, self._rng.random() * sums[last], 0, last)]


def _cumulative(hosts: tuple[Host, ...]) -> list[float]:
    # in units of the heaviest, so that the sum of finite weights is finite
    heaviest = max(host.weight for host in hosts)
    return list(accumulate(host.weight / heaviest for host in hosts))
