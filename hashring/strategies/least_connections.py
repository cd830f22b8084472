"""The host that has the least to do."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import Strategy, View


class LeastConnections(Strategy):
    """The host with the fewest leases in flight per weight; equals in rotation.

    The balancer keeps the hosts in this order, fed by every lease, sticky ones too; nothing is
    scanned here. Only leases count: ``pick`` alone leaves every host idle, and this a rotation.
    Cost: O(log n). Source: ``least_conn`` of nginx, ``leastconn`` of HAProxy, ``wlc`` of LVS.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import Host
    >>> view = SimpleNamespace(hosts=(Host("a"), Host("b")), least_loaded=lambda: Host("b"))
    >>> LeastConnections().choose(view)
    Host('b')
    """

    USES_WEIGHT = True

    def choose(self, view: View) -> Host:
        """The least loaded host. Cost: O(log n)."""
        return view.least_loaded()
