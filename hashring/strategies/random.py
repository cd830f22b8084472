"""Any host, each as likely as the others."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import Strategy, View


class Random(Strategy):
    """Any host with the chance 1/n; weights do not count.

    Keeps no state at all, so any number of routers stay independent of one another. The price is
    spread: m requests give a host m/n, give or take sqrt(m/n). Cost: O(1), no lock. Source: Envoy's
    policy ``RANDOM``.

    >>> import random
    >>> from types import SimpleNamespace
    >>> from hashring.hosts import as_hosts
    >>> view = SimpleNamespace(hosts=as_hosts(["a", "b", "c"]))
    >>> strategy = Random(rng=random.Random(1))
    >>> "".join(strategy.choose(view).name for _ in range(8))
    'accabbbc'
    """

    USES_WEIGHT = False

    def choose(self, view: View) -> Host:
        """A random host. Cost: O(1)."""
        hosts = view.hosts
        # int(random() * n) < n holds for every n below 2^53 and costs a third of randrange
        return hosts[int(self._rng.random() * len(hosts))]
