"""Which of two hosts is cheaper?  What the strategies that compare two random hosts share."""

from __future__ import annotations

from abc import abstractmethod

from hashring.hosts import Host
from hashring.strategies._base import Strategy, View


class CheaperOfTwo(Strategy):
    """Draws two distinct hosts, each pair as likely as any, and takes the cheaper. Cost: O(1).

    Equal costs are settled by a lot in proportion to the weights, so that an idle pool, where all
    costs are equal, prefers its strong hosts too. One host of n is in a share of 2/n of the pairs:
    no weight brings it more than that. With weights further apart, use another strategy.
    """

    @abstractmethod
    def _cost(self, view: View, host: Host) -> float:
        """What one more request to ``host`` costs; the unit is the subclass's own."""

    def choose(self, view: View) -> Host:
        """The cheaper of two random hosts of ``view``."""
        hosts = view.hosts
        n = len(hosts)
        if n == 1:
            return hosts[0]
        random = self._rng.random
        # int(random() * n) < n holds for every n below 2^53 and costs a third of randrange
        first = int(random() * n)
        second = int(random() * (n - 1))
        if second >= first:
            second += 1
        one, other = hosts[first], hosts[second]
        cost, rival = self._cost(view, one), self._cost(view, other)
        if cost != rival:
            return one if cost < rival else other
        if one.weight == other.weight:
            return one  # which of the pair came first was a lot already
        return one if random() < one.weight / (one.weight + other.weight) else other
