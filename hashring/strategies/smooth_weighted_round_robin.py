"""Each host in turn, heavier ones more often, in nginx's order."""

from __future__ import annotations

from hashring.forks import watch
from hashring.hosts import Host, total_weight
from hashring.locks import GUARD
from hashring.strategies._base import Rng, Strategy, View

_HUGE = 2.0**512  # credits of a few times this sum stay finite; a power of 2, so scaling is exact


class SmoothWeightedRoundRobin(Strategy):
    """nginx's weighted rotation: 5, 1, 1 is a a b a c a a.

    Each choice credits every host with its weight, takes the host with the most credit (the first
    by name of equals) and charges it W, the sum of the weights. Shares are exact over each cycle of
    whole weights, and no host is ever a full turn ahead of its share: the most of n credits that
    sum to W is at least W/n, so a charge of W leaves more than -W.

    Credit belongs to a host's name: it stays when other hosts come and go, and is dropped when its
    own leaves; a retry credits and charges the hosts that it may choose from and no other. Like
    nginx, it starts at the heaviest host: routers that start together choose
    the same hosts, where ``WeightedRoundRobin`` draws a start. Cost: O(n) a choice, under its lock.
    Source: nginx, ``ngx_http_upstream_get_peer`` in ``ngx_http_upstream_round_robin.c`` (2012),
    without its reduction of weights after failures.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import as_hosts
    >>> view = SimpleNamespace(hosts=as_hosts([("a", 5), ("b", 1), ("c", 1)]))
    >>> rotation = SmoothWeightedRoundRobin()
    >>> "".join(rotation.choose(view).name for _ in range(7))
    'aabacaa'
    """

    USES_WEIGHT = True

    def __init__(self, *, rng: Rng | None = None) -> None:
        super().__init__(rng=rng)
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        """Start again, so that workers do not all begin at the same host in step."""
        self._hosts: tuple[Host, ...] = ()
        self._unit = 1.0
        self._weights: list[tuple[Host, float]] = []
        self._total = 0.0
        self._credit: dict[str, float] = {}

    def choose(self, view: View) -> Host:
        """The host with the most credit. Cost: O(n)."""
        hosts = view.hosts
        if len(hosts) == 1:
            return hosts[0]  # takes no turn, see RoundRobin
        try:
            with GUARD.lock:
                if getattr(view, "excluded", None):
                    weights = [(host, host.weight * self._unit) for host in hosts]
                    return self._charge_turn(weights, sum(weight for _, weight in weights))
                if hosts is not self._hosts:
                    self._settle(hosts)
                return self._charge_turn(self._weights, self._total)
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()

    def _charge_turn(self, weights: list[tuple[Host, float]], total: float) -> Host:
        credit = self._credit
        chosen, most = weights[0][0], float("-inf")
        for host, weight in weights:
            credit[host.name] = mine = credit.get(host.name, 0.0) + weight
            if mine > most:
                chosen, most = host, mine
        credit[chosen.name] = most - total
        return chosen

    def _settle(self, hosts: tuple[Host, ...]) -> None:
        """Keep the credit of the hosts that stay; added hosts have none.

        All credit together is always 0. A host that leaves in debt would leave the others rich, and
        a host without any would wait behind them for more than its turn. So those that stay
        share out what is missing, in proportion to their weights.
        """
        unit = self._unit = 1.0 if total_weight(hosts) < _HUGE else 1 / _HUGE
        self._weights = [(host, host.weight * unit) for host in hosts]
        self._total = sum(weight for _, weight in self._weights)
        stay = [(host.name, weight) for host, weight in self._weights if host.name in self._credit]
        kept = {name: self._credit[name] for name, _ in stay}
        if len(stay) < len(self._credit):
            surplus = sum(kept.values()) / (sum(weight for _, weight in stay) or 1.0)
            for name, weight in stay:
                kept[name] -= surplus * weight
        self._credit = {host.name: kept.get(host.name, 0.0) for host in hosts}
        self._hosts = hosts
