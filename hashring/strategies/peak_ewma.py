"""Of two random hosts, the one likely to answer sooner."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import View
from hashring.strategies._two import CheaperOfTwo

# Finagle's Long.MaxValue >> 16 nanoseconds, 39 hours in seconds: above every latency, and small
# enough for a float to tell one lease from the next.
_UNKNOWN = ((2**63 - 1) >> 16) / 1e9


class PeakEwma(CheaperOfTwo):
    """Of two distinct random hosts, the one with the lower ``latency * (in_flight + 1) / weight``.

    The latency is the view's mean: a slow answer raises it at once, time lets it decay, so a host
    that stumbles is left alone and cautiously tried again. A host that has not answered yet is
    tried while it is idle, and then comes after all others until its first answer. Equal costs are
    settled by a lot in proportion to the weights, which bring a host at most a share of 2/n. Only
    leases are measured: with ``pick`` alone this is a random choice. Cost: O(1), no lock. Source:
    ``PeakEwma.scala`` and ``P2C.scala`` of Finagle's loadbalancer; the weight is our addition.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import Host
    >>> near, far = Host("near"), Host("far")
    >>> view = SimpleNamespace(
    ...     hosts=(far, near), in_flight={near: 8, far: 0}.get, latency={near: 0.01, far: 0.1}.get
    ... )
    >>> PeakEwma().choose(view)  # 0.01 * 9 against 0.1 * 1
    Host('near')
    """

    USES_WEIGHT = True

    def _cost(self, view: View, host: Host) -> float:
        latency, in_flight = view.latency(host), view.in_flight(host)
        if latency == 0.0 and in_flight:
            return _UNKNOWN + in_flight / host.weight
        return latency * (in_flight + 1) / host.weight
