"""Policies that route a trace, each a real ``LoadBalancer``; their names taken apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from hashring.analysis.model_host import ModelHost
from hashring.analysis.traces import TraceRequest
from hashring.balancer import LoadBalancer
from hashring.balancer.pin_table import PinTable
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.strategies import LeastConnections, LeastOutstanding, RoundRobin, Strategy, View
from hashring.text import bounded_repr, suggestion

POLICIES: Final = (
    "round-robin",
    "least-connections",
    "ring",
    "ring+bounded",
    "least-connections+pins",
    "fewest-sessions+pins",
    "least-outstanding+pins",
    "least-outstanding+pins+patience",
    "least-outstanding+pins+patience+group",
    "cache-aware",
)
"""The policies that are compared by default, the upper mark last."""

_STRATEGIES: Final = ("round-robin", "least-connections", "fewest-sessions", "least-outstanding")
_BOUND: Final = 1.25  # load factor of +bounded, with a floor of 8, as in the guide
_FLOOR: Final = 8
_PATIENCE: Final = 5.0  # the value that the guide recommends


@dataclass(frozen=True, slots=True)
class ServingPolicy:
    """A policy's name, taken apart."""

    name: str
    base: str
    pins: bool = False
    bounded: bool = False
    patience: bool = False
    group: bool = False

    @classmethod
    def of(cls, name: str) -> ServingPolicy:
        """The policy of this name. Raises ``ConfigError``."""
        base, *suffixes = name.split("+")
        bases = ("ring", "cache-aware", *_STRATEGIES)
        if base not in bases:
            raise ConfigError(
                f"there is no policy {bounded_repr(name)}: {suggestion(base, bases)}",
                option="policies",
            )
        known = ("pins", "bounded", "patience", "group")
        for suffix in suffixes:
            if suffix not in known:
                raise ConfigError(
                    f"policy {bounded_repr(name)}: there is no suffix {suffix!r}: use "
                    f"{', '.join('+' + each for each in known)}",
                    option="policies",
                )
        made = cls(name, base, **dict.fromkeys(suffixes, True))
        made._check()
        return made

    def _check(self) -> None:
        problem = None
        if self.base == "cache-aware" and self.name != "cache-aware":
            problem = "cache-aware takes no suffix"
        elif (self.patience or self.group) and not (self.base == "least-outstanding" and self.pins):
            problem = "+patience and +group are options of least-outstanding+pins"
        elif self.bounded and self.base != "ring":
            problem = "+bounded is an option of ring"
        elif self.base == "fewest-sessions" and not self.pins:
            problem = "fewest-sessions counts pins: write fewest-sessions+pins"
        if problem is not None:
            raise ConfigError(f"policy {bounded_repr(self.name)}: {problem}", option="policies")

    def balancer(
        self,
        hosts: Sequence[Host],
        pins: PinTable | None,
        strategy: Strategy | None,
        clock: Callable[[], float],
        seed: int,
    ) -> LoadBalancer:
        """A balancer of this policy. ``pins`` are shared by all routers."""
        options: dict[str, Any] = {"clock": clock, "rng": random.Random(seed)}
        if self.bounded:
            options |= {"load_factor": _BOUND, "load_floor": _FLOOR}
        if self.pins:
            options["pins"] = pins
        if self.base != "ring":
            options["fallback"] = strategy
            if self.pins:
                options["new_clients"] = "fallback"
            else:
                options["placement"] = None
        if self.patience:
            options["patience"] = _PATIENCE
        return LoadBalancer(hosts, **options)

    def strategy(self, pins: PinTable | None, *, exchanges: bool = False) -> Strategy | None:
        """A strategy object for one balancer; None for the ring."""
        if self.base == "ring":
            return None
        if self.base == "round-robin":
            return RoundRobin()
        if self.base == "least-connections":
            return LeastConnections()
        if self.base == "least-outstanding":
            return SharedOutstanding() if exchanges else LeastOutstanding()
        if self.base == "fewest-sessions":
            assert pins is not None
            return _FewestSessions(pins)
        return CacheAware()


class _FewestSessions(Strategy):
    """The host with the fewest pinned sessions per weight; of equals the fewest in flight."""

    USES_WEIGHT = True

    def __init__(self, pins: PinTable) -> None:
        super().__init__()
        self._pins = pins
        self._turns = count()

    def choose(self, view: View) -> Host:
        turn = next(self._turns) % len(view.hosts)
        hosts = view.hosts[turn:] + view.hosts[:turn]
        return min(
            hosts,
            key=lambda host: (
                self._pins.count(host.name) / host.weight,
                view.in_flight(host) / host.weight,
            ),
        )


class SharedOutstanding(Strategy):
    """Least outstanding work, with what the other routers last reported of theirs."""

    USES_WEIGHT = True
    REASON = "least"

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[str, float] = {}
        self._chosen: dict[str, int] = {}
        self._turns = count()

    def choose(self, view: View) -> Host:
        """The host with the least work, of all routers, per weight."""

        def level(host: Host) -> tuple[float, float, int]:
            work = view.outstanding(host) + self.others.get(host.name, 0.0)
            few = view.in_flight(host) / host.weight
            return (work + 1) / host.weight, few, self._chosen.get(host.name, -1)

        host = min(view.hosts, key=level)
        self._chosen[host.name] = next(self._turns)
        return host


class CacheAware(Strategy):
    """The host on which the request would have its first token soonest: an upper mark.

    It reads the true queues and caches, which no router can.
    """

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, ModelHost] = {}
        self.request: TraceRequest | None = None

    def choose(self, view: View) -> Host:
        """The host with the shortest time to the first token of ``request``."""
        request = self.request
        assert request is not None

        def seconds(host: Host) -> float:
            model = self.models[host.name]
            return model.backlog() + model.missing(request) / model.prefill

        turn = self._rng.randrange(len(view.hosts))
        return min(view.hosts[turn:] + view.hosts[:turn], key=seconds)
