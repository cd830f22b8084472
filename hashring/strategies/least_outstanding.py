"""The host with the least outstanding work."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import Strategy, View


class LeastOutstanding(Strategy):
    """The host with the least ``(outstanding + 1) / weight``; of equals the fewest in flight.

    Outstanding is the work of the leases whose response has not begun, in average requests: call
    ``lease.started()`` at the first byte of the body, or all work counts until the release. Meant
    for ``new_clients="fallback"`` with pins, where it places sessions and they stay
    (``LoadBalancer.sticky_by_load``). Equal hosts are taken in rotation. Cost: O(log n). Source:
    ``sed`` of LVS, with work in the place of connections.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import Host
    >>> view = SimpleNamespace(hosts=(Host("a"), Host("b")), least_outstanding=lambda: Host("b"))
    >>> LeastOutstanding().choose(view)
    Host('b')
    """

    USES_WEIGHT = True
    REASON = "least"

    def choose(self, view: View) -> Host:
        """The host with the least outstanding work. Cost: O(log n)."""
        return view.least_outstanding()
