"""How much does a host get that has just come up?  A growing part of its share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from hashring.balancer import Event, LoadBalancer
from hashring.balancer.options import Fallback
from hashring.hosts import Host
from hashring.load import LoadView
from hashring.strategies import Rng, RoundRobin, Strategy, View
from hashring.validators import ABOVE_0, SECONDS

LEAST = 0.1
"""A host that gets nothing never warms: Envoy's least weight, 10 %."""

_COMING = frozenset({"register", "replace", "mark_up", "resume"})


def ramp(age: float, window: float, aggression: float) -> float:
    """The part of its share that a host gets ``age`` seconds after it came.

    ``max(10 %, (age / window) ** (1 / aggression))``: linear with 1, faster at first above it.
    Source: Envoy's slow start.

    >>> ramp(0, 60, 1), ramp(15, 60, 1), ramp(15, 60, 2), ramp(60, 60, 1)
    (0.1, 0.25, 0.5, 1.0)
    """
    return 1.0 if age >= window else max(LEAST, (age / window) ** (1 / aggression))


class SlowStart(Strategy):
    """Another strategy, but a host that has just come gets a part of its share that grows.

    For ``window`` seconds after a host comes (registered, replaced, up or resumed) an anonymous
    request goes to it with the probability ``ramp`` times its fair share (by weight if the other
    strategy goes by weight), drawn by lot; all other requests go where ``strategy`` chooses
    among the warm hosts. So the formula holds for every strategy, also for one that goes by load
    and would send everything to an added host with none. Clients with an ID are not affected: they
    belong to their host. If all hosts are new, nothing is held back.

    ``follow(lb)`` starts it: before that nothing ramps. Cost: one truth test before any host came,
    O(ramping) a choice, O(n) when hosts come, go or are warm.

    >>> import random
    >>> now = 0.0
    >>> slow = SlowStart(window=60, clock=lambda: now, rng=random.Random(1))
    >>> lb = LoadBalancer(["a", "b"], fallback=slow)
    >>> stop = slow.follow(lb)
    >>> lb.register("c").name
    'c'
    >>> now = 15.0  # a quarter of the window: a quarter of a third
    >>> sum(lb.pick().name == "c" for _ in range(1200))
    99
    """

    def __init__(
        self,
        strategy: Fallback | None = None,
        *,
        window: float = 30.0,
        aggression: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        rng: Rng | None = None,
    ) -> None:
        super().__init__(rng=rng)
        inner = RoundRobin() if strategy is None else strategy
        self._inner = inner
        choose: Any = getattr(inner, "choose", inner)
        self._choose: Callable[[View], Host] = choose
        self._by_weight: bool = getattr(inner, "USES_WEIGHT", False)
        self.USES_WEIGHT = self._by_weight  # type: ignore[misc]  # as the strategy inside, so per object
        self._window = SECONDS(window, "window")
        self._aggression = ABOVE_0(aggression, "aggression")
        self._clock = clock
        self._since: dict[str, float] = {}  # who ramps: replaced as a whole, never edited
        self._seen = _Seen(None, self._since, self._by_weight)

    def bind(self, rng: Rng | None) -> None:
        """Called once, by the balancer; binds the other strategy too."""
        super().bind(rng)
        if isinstance(self._inner, Strategy):
            self._inner.bind(rng)

    def follow(self, lb: LoadBalancer) -> Callable[[], None]:
        """Ramp the hosts that come to ``lb`` from now on; the answer ends that."""

        def heard(event: Event) -> None:
            name = event.host.name
            member = lb.snapshot.members.get(name)
            now = self._clock()
            since = {host: at for host, at in self._since.items() if now - at < self._window}
            if member is None or not member.takes_new:
                since.pop(name, None)
            elif event.kind in _COMING:
                since[name] = now
            self._since = since

        return lb.subscribe(heard)

    def choose(self, view: View) -> Host:
        """A ramping host by its lot, else the strategy's choice among the warm ones."""
        since = self._since
        if not since or not isinstance(view, LoadView):  # only the balancer's view can be narrowed
            return self._choose(view)
        seen = self._seen
        if seen.view is not view or seen.since is not since:
            seen = self._seen = _Seen(view, since, self._by_weight)
        now = self._clock()
        parts = [ramp(now - at, self._window, self._aggression) for _, _, at in seen.ramping]
        new = frozenset(
            host.name for (host, _, _), part in zip(seen.ramping, parts, strict=True) if part < 1.0
        )
        if not new or len(new) == len(view.hosts):
            return self._choose(view)
        lot = self._rng.random()
        for (host, share, _), part in zip(seen.ramping, parts, strict=True):
            if host.name in new:
                lot -= share * part
                if lot < 0:
                    return host
        return self._choose(seen.without(new))


class _Seen:
    """What is derived from a view, for as long as the view and who ramps are the same."""

    __slots__ = ("_warm", "ramping", "since", "view")

    def __init__(self, view: LoadView | None, since: Mapping[str, float], by_weight: bool) -> None:
        self.view, self.since = view, since
        hosts = () if view is None else view.hosts
        total = math.fsum(host.weight for host in hosts) if by_weight else len(hosts)
        self.ramping = [  # host, its fair share, when it came
            (host, (host.weight if by_weight else 1.0) / total, since[host.name])
            for host in hosts
            if host.name in since
        ]
        self._warm: tuple[frozenset[str], LoadView] | None = None

    def without(self, new: frozenset[str]) -> LoadView:
        """The view of the warm ones: one object, so that strategies keep what they derived."""
        warm = self._warm
        if warm is None or warm[0] != new:
            assert self.view is not None
            warm = self._warm = (new, self.view.excluding(new))
        return warm[1]
