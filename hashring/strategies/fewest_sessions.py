"""The host with the fewest pinned sessions."""

from __future__ import annotations

from hashring.hosts import Host
from hashring.strategies._base import View
from hashring.strategies._turns import Turns


class FewestSessions(Turns):
    """The host with the fewest pinned clients per weight; equals in rotation.

    For ``new_clients="fallback"`` with a store that counts (``PinTable``): each host then has the
    same number of sessions, however busy they are. By outstanding work, sessions are placed better
    (``LeastOutstanding``): a host may have the sessions that send the most. Cost: O(n). Source: the
    "fewest sessions" of session brokers (Microsoft RD Connection Broker).

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import Host
    >>> a, b = Host("a"), Host("b", 2)
    >>> FewestSessions().choose(SimpleNamespace(hosts=(a, b), sessions={a: 2, b: 3}.get))
    Host('b', 2.0)
    """

    USES_WEIGHT = True

    def choose(self, view: View) -> Host:
        """The host with the fewest pinned clients per weight. Cost: O(n)."""
        hosts = view.hosts
        start = next(self._turns) % len(hosts)
        order = hosts[start:] + hosts[:start]
        return min(order, key=lambda host: view.sessions(host) / host.weight)
