"""What do the strategies' tests look at?  A real ``View``, immutable, over plain counts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hashring.hosts import Host, HostsLike, as_hosts
from hashring.strategies import Strategy

__all__ = ["CountedView", "counts", "pool", "serve", "take"]

_NOTHING: Mapping[str, float] = MappingProxyType({})


def pool(hosts: HostsLike) -> tuple[Host, ...]:
    """Hosts in the order that a view has them: by name."""
    return tuple(sorted(as_hosts(hosts), key=lambda host: host.name))


class CountedView:
    """A view whose loads and latencies (seconds) are given by name; what is not given is 0."""

    def __init__(
        self,
        hosts: tuple[Host, ...],
        in_flight: Mapping[str, int] | None = None,
        latency: Mapping[str, float] = _NOTHING,
        excluded: Iterable[str] = (),
    ) -> None:
        self.excluded = frozenset(excluded)
        self._hosts = hosts
        self._in_flight = dict(in_flight or {})
        self._latency = dict(latency)

    @property
    def hosts(self) -> tuple[Host, ...]:
        return self._hosts

    def in_flight(self, host: Host) -> int:
        return self._in_flight.get(host.name, 0)

    def outstanding(self, host: Host) -> float:
        return float(self.in_flight(host))

    def sessions(self, host: Host) -> int:
        return self.in_flight(host)

    def latency(self, host: Host) -> float:
        return self._latency.get(host.name, 0.0)

    def least_loaded(self) -> Host:
        return min(self._hosts, key=lambda host: self.in_flight(host) / host.weight)

    def least_outstanding(self) -> Host:
        return min(self._hosts, key=lambda host: (self.outstanding(host) + 1) / host.weight)


def take(strategy: Strategy, view: CountedView, count: int) -> list[str]:
    """The names of ``count`` choices in a row."""
    return [strategy.choose(view).name for _ in range(count)]


def serve(
    strategy: Strategy, hosts: tuple[Host, ...], requests: int, *, at_once: int
) -> Counter[str]:
    """Who served: each request stays in flight until ``at_once`` others came after it."""
    latency = {host.name: 0.01 for host in hosts}
    load: Counter[str] = Counter()
    served: Counter[str] = Counter()
    running: deque[str] = deque()
    for _ in range(requests):
        chosen = strategy.choose(CountedView(hosts, load, latency)).name
        served[chosen] += 1
        load[chosen] += 1
        running.append(chosen)
        if len(running) > at_once:
            load[running.popleft()] -= 1
    return served


def counts(names: Iterable[str]) -> dict[str, int]:
    """How often each name comes."""
    return dict(Counter(names))
