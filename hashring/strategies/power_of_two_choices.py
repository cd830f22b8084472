"""The less busy of two random hosts."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import View
from hashring.strategies._two import CheaperOfTwo


class PowerOfTwoChoices(CheaperOfTwo):
    """Of two distinct random hosts, the one with fewer leases in flight per weight.

    Nearly as even as asking all hosts: of n requests on n hosts the fullest host gets
    log2(log2(n)) + O(1), where one random choice gives it about log(n) / log(log(n)). Many
    routers that each see only their own leases do not all run to one idle host. Equal loads are
    settled by a lot in proportion to the weights, which bring a host at most a share of 2/n.
    Cost: O(1), no lock. Source: Mitzenmacher, *The Power of Two Choices in Randomized Load
    Balancing*, IEEE TPDS 12 (10), 2001.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import Host
    >>> busy, idle = Host("busy"), Host("idle")
    >>> view = SimpleNamespace(hosts=(busy, idle), in_flight={busy: 3, idle: 0}.get)
    >>> PowerOfTwoChoices().choose(view)
    Host('idle')
    """

    USES_WEIGHT = True

    def _cost(self, view: View, host: Host) -> float:
        return view.in_flight(host) / host.weight
