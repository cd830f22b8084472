"""A strategy's view in tests: hosts with given loads and latencies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hashring.hosts import Host, HostsLike, as_hosts, as_names


class FakeView:
    """A ``View`` over plain numbers by name; what is not given is 0. Immutable.

    ``hosts`` are sorted by name, as in a balancer; ``latency`` is in seconds; ``excluded`` names
    hosts that a retry has left out of ``hosts``.

    >>> from hashring.strategies import LeastConnections
    >>> view = FakeView(["web1", "web2"], in_flight={"web1": 3})
    >>> LeastConnections().choose(view)
    Host('web2')
    """

    __slots__ = ("_in_flight", "_latency", "excluded", "hosts")

    def __init__(
        self,
        hosts: HostsLike,
        in_flight: Mapping[str, int] = MappingProxyType({}),
        latency: Mapping[str, float] = MappingProxyType({}),
        excluded: Iterable[str] = (),
    ) -> None:
        self.hosts = tuple(sorted(as_hosts(hosts), key=lambda host: host.name))
        self.excluded = as_names(excluded, "excluded")
        self._in_flight = dict(in_flight)
        self._latency = dict(latency)

    def in_flight(self, host: Host) -> int:
        """How many leases ``host`` serves."""
        return self._in_flight.get(host.name, 0)

    def outstanding(self, host: Host) -> float:
        """The outstanding work of ``host``: as if no response had begun."""
        return float(self.in_flight(host))

    def sessions(self, host: Host) -> int:
        """How many clients are pinned to ``host``: as many as it has leases."""
        return self.in_flight(host)

    def latency(self, host: Host) -> float:
        """The host's mean latency in seconds."""
        return self._latency.get(host.name, 0.0)

    def least_loaded(self) -> Host:
        """The host with the least in flight per weight, the first by name of equals."""
        return min(self.hosts, key=lambda host: self.in_flight(host) / host.weight)

    def least_outstanding(self) -> Host:
        """The host with the least outstanding work per weight, the first by name of equals."""
        return min(self.hosts, key=lambda host: (self.outstanding(host) + 1) / host.weight)

    def __repr__(self) -> str:
        return f"FakeView({list(self.hosts)!r}, {self._in_flight!r}, {self._latency!r})"
