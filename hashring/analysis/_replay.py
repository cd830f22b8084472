"""How is a log replayed?  One balancer, one clock, every request a lease."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Any

from hashring.analysis.arrivals import Arrivals
from hashring.analysis.change import Change
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.balancer import Lease, LoadBalancer

_TOLD = 1 << 14  # requests between two words to ``progress``: some 0.1 s


class Pace:
    """What is the same for all scenarios: who comes when, for how long, and the bins of time."""

    def __init__(self, arrivals: Arrivals, times: list[float], gap: float, bins: int) -> None:
        self.arrivals = arrivals
        self.times = times
        self.gap = gap
        self.bins = bins
        self.start = arrivals.at[0]
        self.bin_seconds = arrivals.seconds / bins or 1.0  # all in one moment: one bin of a second

    def bin(self, now: float) -> int:
        """The bin that ``now`` is in; the last one takes its end too."""
        return min(int((now - self.start) / self.bin_seconds), self.bins - 1)


class Replay:
    """One scenario as it goes: the balancer, the leases that are out, what was seen."""

    def __init__(
        self,
        pace: Pace,
        membership: PlacedHosts,
        changes: Iterable[tuple[float, Change]],
        settings: dict[str, Any],
    ) -> None:
        self.pace = pace
        self.remembers: bool = settings["remembers"]
        self.now = pace.start
        self.balancer = LoadBalancer(
            membership.hosts,
            placement=membership.recipe(),
            load_factor=settings["load_factor"],
            load_floor=settings["load_floor"],
            rng=random.Random(0),  # so that a replay repeats itself
            clock=lambda: self.now,
        )
        self.balancer.keeps_sessions(self.remembers)
        self.todo = _schedule(self, changes, settings["drain"])
        self.out: list[tuple[float, int, Lease]] = []
        self.in_flight: Counter[str] = Counter()
        self.most: dict[str, list[int]] = {}
        self.served: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.found: Counter[int] = Counter()
        self.last: dict[int, tuple[float, str, bool]] = {}  # client: when, where, broken already
        self.sessions = self.broken = self.switches = 0

    def run(self, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Replay it all; what an ``Outcome`` is made of."""
        arrivals = self.pace.arrivals
        for number, (at, who) in enumerate(zip(arrivals.at, arrivals.who, strict=True)):
            self._advance(at)
            self._request(number, who, arrivals.clients[who])
            if progress is not None and number % _TOLD == _TOLD - 1:
                progress(_TOLD)
        while self.out:
            self._finish()
        return {
            "sessions": self.sessions,
            "broken": self.broken,
            "switches": self.switches,
            "reasons": dict(sorted(self.reasons.items())),
            "served": dict(sorted(self.served.items())),
            "peak_in_flight": max(self.found),
            "p99_in_flight": _quantile(self.found, 0.99),
            "in_flight": {host: tuple(most) for host, most in self.most.items()},
        }

    def _advance(self, at: float) -> None:
        """Let time pass to ``at``: what ends before it ends, what is to change changes."""
        while True:
            ends = self.out[0][0] if self.out else at + 1
            changes = self.todo[0][0] if self.todo else at + 1
            if min(ends, changes) > at:
                break
            self.now = max(self.now, min(ends, changes))
            if ends <= changes:
                self._finish()
            else:
                self.todo.pop(0)[1]()
        self.now = at

    def _finish(self) -> None:
        _, _, lease = heappop(self.out)
        self.in_flight[lease.host.name] -= 1
        lease.ok()
        lease.release()

    def _request(self, number: int, who: int, client: bytes) -> None:
        before = self.last.get(who)
        if before is not None and self.now - before[0] > self.pace.gap:
            before = None  # the session is over, and so is what was remembered of it
        prefer = before[1] if before is not None and self.remembers else None
        lease = self.balancer.lease(client, prefer=prefer).acquire()
        host = lease.host.name
        self._note(who, host, before)
        self.reasons[lease.reason] += 1
        self.served[host] += 1
        self.in_flight[host] += 1
        load = self.in_flight[host]
        self.found[load] += 1
        most = self.most.setdefault(host, [0] * self.pace.bins)
        bin_ = self.pace.bin(self.now)
        most[bin_] = max(most[bin_], load)
        heappush(self.out, (self.now + self.pace.times[number], number, lease))

    def _note(self, who: int, host: str, before: tuple[float, str, bool] | None) -> None:
        if before is None:
            self.sessions += 1
            broken = False
        else:
            switched = before[1] != host
            self.switches += switched
            self.broken += switched and not before[2]
            broken = switched or before[2]
        self.last[who] = (self.now, host, broken)


def _schedule(
    replay: Replay, changes: Iterable[tuple[float, Change]], drain: float
) -> list[tuple[float, Callable[[], None]]]:
    """What to do when: a change at its time; hosts that leave drain first, then go."""
    todo: list[tuple[float, Callable[[], None]]] = []
    for after, change in changes:
        at = replay.pace.start + after
        if drain and change.remove:
            stay = Change(add=change.add, weights=change.weights)
            gone = Change(remove=change.remove)
            todo.append((at, _drain_hosts(replay.balancer, change.remove)))
            todo.append((at, _apply_change(replay.balancer, stay)))
            todo.append((at + drain, _apply_change(replay.balancer, gone)))
        else:
            todo.append((at, _apply_change(replay.balancer, change)))
    return sorted(todo, key=lambda entry: entry[0])


def _apply_change(balancer: LoadBalancer, change: Change) -> Callable[[], None]:
    return lambda: balancer.set_hosts(change.apply(balancer.hosts))


def _drain_hosts(balancer: LoadBalancer, names: tuple[str, ...]) -> Callable[[], None]:
    def drain() -> None:
        for name in names:
            balancer.drain(name)

    return drain


def _quantile(found: Counter[int], part: float) -> int:
    """The least value that at least ``part`` of what was found is not above."""
    left = part * found.total()
    for value in sorted(found):
        left -= found[value]
        if left <= 0:
            return value
    return max(found)
