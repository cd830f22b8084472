"""One policy on a trace: arrivals, first bytes, ends and scenarios in order of time."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from hashring.analysis.model_host import Engine, ModelHost, ServedTurn
from hashring.analysis.policies import CacheAware, ServingPolicy, SharedOutstanding
from hashring.analysis.traces import Trace, TraceRequest
from hashring.balancer.pin_table import PinTable
from hashring.hosts import Host

COSTS: Final = ("tokens", "bytes", "noisy", "none")
SCENARIOS: Final = (
    "none", "grow", "loss", "return", "death", "slow", "stall", "weights", "hidden"
)  # fmt: skip

_GROUP_BLOCKS: Final = 4  # prefix blocks that requests of a group share: 2,048 tokens
_IDLE: Final = 3600.0  # seconds: the default of PinTable
_SESSIONS_IDLE: Final = 600.0  # seconds: sessions that are counted as a load must expire sooner
_WINDOW_AFTER: Final = 300.0  # seconds of a stall
_STALLED: Final = 0.05  # of its speed
_SLOWED: Final = 0.5  # of its speed, where no router knows


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy on the trace; times are seconds, shares fractions.

    ``reuse`` is the part of all prompt blocks that were found in a cache. ``moved_turns`` is the
    part of turns, after a session's first, that went to another host than the turn before, and
    ``moves`` counts them by the balancer's reason. ``ttft`` has the mean and percentiles of the
    time to first token, ``goodput`` the requests a second within the limit. ``work_peak_to_mean``
    compares the prefill work of the hosts, ``work`` is that of each over time, in seconds.
    """

    name: str
    reuse: float
    moved_turns: float
    moved_sessions: float
    moves: dict[str, int]
    ttft: dict[str, float]
    goodput: float
    work_peak_to_mean: float
    work: dict[str, tuple[float, ...]] = field(repr=False)
    times: tuple[float, ...] = field(repr=False)
    """Time to first token of each request, ascending."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What the replays of all policies have in common; see ``serve``."""

    trace: Trace
    hosts: tuple[Host, ...]
    engine: Engine
    rate: float
    spread: float
    routers: int
    scenario: str
    cost: str
    limit: float
    seed: int
    bins: int
    sync: float = 0.0

    @property
    def bin_seconds(self) -> float:
        """Seconds of a part in which the work of each host is summed."""
        return max(1.0, self.trace.seconds / self.rate) / self.bins


class PolicyReplay:
    """One policy on the trace: events in order of time."""

    def __init__(self, settings: ReplaySettings, policy: ServingPolicy) -> None:
        self._settings = settings
        self._policy = policy
        self._now = 0.0
        self._events: list[tuple[float, int, str, Any]] = []
        self._order = count()
        idle = _SESSIONS_IDLE if policy.base == "fewest-sessions" else _IDLE
        pins = PinTable(idle=idle, clock=self._clock) if policy.pins else None
        rng = random.Random(settings.seed)
        late = self._late_host()
        members = [host for host in settings.hosts if host is not late]
        exchanges = bool(settings.sync)
        self._strategies = [
            policy.strategy(pins, exchanges=exchanges) for _ in range(settings.routers)
        ]
        self._balancers = [
            policy.balancer(members, pins, strategy, self._clock, rng.randrange(1 << 32))
            for strategy in self._strategies
        ]
        self._models = {
            host.name: ModelHost(host, settings.engine, settings.trace.block)
            for host in settings.hosts
        }
        self._turns = self._arrivals(rng)
        self._schedule_scenario(late)
        if any(isinstance(each, SharedOutstanding) for each in self._strategies):
            self._schedule(settings.sync, "sync", None)
        self._counts: Counter[str] = Counter()
        self._moves: Counter[str] = Counter()
        self._homes: dict[int, str] = {}
        self._moved: set[int] = set()
        self._work: dict[str, Counter[int]] = {name: Counter() for name in self._models}

    def _clock(self) -> float:
        return self._now

    def _late_host(self) -> Host | None:
        """The host that joins in the middle."""
        return self._settings.hosts[-1] if self._settings.scenario == "grow" else None

    def _arrivals(self, rng: random.Random) -> list[ServedTurn]:
        settings, turns = self._settings, []
        for number, request in enumerate(settings.trace.requests):
            at = request.at / settings.rate + rng.random() * settings.spread
            turn = ServedTurn(number, request, at)
            turn.cost = _known_cost(request, settings.cost, rng)
            turn.router = rng.randrange(settings.routers)
            if self._policy.group and len(request.blocks) >= _GROUP_BLOCKS:
                turn.group = f"{request.blocks[_GROUP_BLOCKS - 1]}"
            turns.append(turn)
            self._schedule(at, "arrive", turn)
        return turns

    def _schedule(self, at: float, what: str, about: Any) -> None:
        heapq.heappush(self._events, (at, next(self._order), what, about))

    def _schedule_scenario(self, late: Host | None) -> None:
        middle = self._settings.trace.seconds / self._settings.rate / 2
        scenario, victim = self._settings.scenario, self._settings.hosts[0].name
        if late is not None:
            self._schedule(middle, "join", late)
        elif scenario == "hidden":
            self._models[victim].speed *= _SLOWED
        elif scenario in ("loss", "return", "death"):
            self._schedule(middle, "down", victim)
            if scenario != "loss":
                self._schedule(middle + _WINDOW_AFTER, "up", victim)
        elif scenario == "slow":
            self._schedule(middle, "speed", (victim, 0.25))
        elif scenario == "stall":
            self._schedule(middle, "speed", (victim, _STALLED))
            self._schedule(middle + _WINDOW_AFTER, "speed", (victim, 1.0))

    def result(self, progress: Callable[[int], None] | None) -> PolicyResult:
        """Run to the end."""
        placed = 0
        while self._events:
            self._now, _, what, about = heapq.heappop(self._events)
            if what == "arrive":
                self._place(about)
                placed += 1
                if progress is not None and not placed % 256:
                    progress(256)
            elif what == "wake":
                name, version = about
                model = self._models[name]
                if version == model.version:
                    self._wake(model)
            elif what == "sync":
                if placed < len(self._turns) or self._events:
                    self._exchange()
            else:
                self._change(what, about)
        if progress is not None:
            progress(placed % 256)
        return self._summary()

    # -- events --------------------------------------------------------------------------------

    def _place(self, turn: ServedTurn) -> None:
        balancer = self._balancers[turn.router]
        session: str | None = turn.key
        if self._policy.base != "ring" and not self._policy.pins:
            session = None
        strategy = self._strategies[turn.router]
        if isinstance(strategy, CacheAware):
            strategy.models, strategy.request = self._models, turn.request
        turn.lease = balancer.lease(session, cost=turn.cost, group=turn.group).acquire()
        name = turn.lease.host.name
        self._note_home(turn, name)
        model = self._models[name]
        model.advance(self._now)
        model.queue.append(turn)
        self._touch(model)

    def _exchange(self) -> None:
        """Each router learns the outstanding work of all others, as it is now."""
        own = [
            {host.name: balancer.load(host.name).outstanding for host in balancer.hosts}
            for balancer in self._balancers
        ]
        total: dict[str, float] = {}
        for loads in own:
            for name, work in loads.items():
                total[name] = total.get(name, 0.0) + work
        for strategy, loads in zip(self._strategies, own, strict=True):
            assert isinstance(strategy, SharedOutstanding)
            strategy.others = {name: total[name] - loads.get(name, 0.0) for name in total}
        self._schedule(self._now + self._settings.sync, "sync", None)

    def _note_home(self, turn: ServedTurn, name: str) -> None:
        session = turn.request.session
        home = self._homes.get(session)
        self._homes[session] = name
        if home is None:
            return
        self._counts["turns"] += 1
        if home != name:
            assert turn.lease is not None
            self._counts["moved"] += 1
            self._moves[turn.lease.reason] += 1
            self._moved.add(session)

    def _touch(self, model: ModelHost) -> None:
        """Begin what can begin, and schedule the next event of the host."""
        before = model.work
        for found, asked in model.admit():
            self._counts["found"] += found
            self._counts["asked"] += asked
        if model.work != before:
            at = int(self._now / self._settings.bin_seconds)
            self._work[model.name][at] += int(model.work - before)
        model.version += 1
        at_time = model.wakes()
        if at_time < math.inf:
            self._schedule(at_time, "wake", (model.name, model.version))

    def _wake(self, model: ModelHost) -> None:
        model.advance(self._now)
        for turn in model.first_tokens():
            assert turn.lease is not None
            turn.first = self._now
            turn.lease.started()
        for turn in model.pop_ended():
            assert turn.lease is not None
            turn.lease.release()
        self._touch(model)

    def _change(self, what: str, about: Any) -> None:
        if what == "join":
            for balancer in self._balancers:
                balancer.register(about)
            return
        name = about if isinstance(about, str) else about[0]
        model = self._models[name]
        model.advance(self._now)
        if what == "speed":
            model.speed = model.weight * about[1]
            self._touch(model)
        elif what == "up":
            for balancer in self._balancers:
                balancer.mark_up(name, by="scenario")
        else:
            for balancer in self._balancers:
                balancer.mark_down(name, "lost", by="scenario")
            model.version += 1
            lost = model.lose_all()
            for turn in lost:
                assert turn.lease is not None
                turn.lease.release()
            for turn in lost:  # sent again to another host
                self._place(turn)

    # -- the end -------------------------------------------------------------------------------

    def _summary(self) -> PolicyResult:
        assert all(turn.first >= 0 for turn in self._turns), "a request was lost"
        times = sorted(turn.first - turn.at for turn in self._turns)
        seconds = max(1.0, self._settings.trace.seconds / self._settings.rate)
        work = [model.work / model.weight for model in self._models.values()]
        mean = sum(work) / len(work)
        counts = self._counts
        prefill = self._settings.engine.prefill
        return PolicyResult(
            name=self._policy.name,
            reuse=counts["found"] / max(1, counts["asked"]),
            moved_turns=counts["moved"] / max(1, counts["turns"]),
            moved_sessions=len(self._moved) / max(1, len(self._homes)),
            moves=dict(sorted(self._moves.items())),
            ttft={
                "mean": sum(times) / len(times),
                **{f"p{part}": _percentile(times, part) for part in (50, 90, 99)},
            },
            goodput=sum(time <= self._settings.limit for time in times) / seconds,
            work_peak_to_mean=max(work) / mean if mean else 1.0,
            work={
                name: tuple(done.get(at, 0) / prefill for at in range(self._settings.bins))
                for name, done in self._work.items()
            },
            times=tuple(times),
        )


def _percentile(ascending: Sequence[float], part: int) -> float:
    return ascending[min(len(ascending) - 1, int(part / 100 * len(ascending)))]


def _known_cost(request: TraceRequest, kind: str, rng: random.Random) -> float | None:
    """What a router knows of the work of a request."""
    tokens = float(request.input_tokens)
    if kind == "none":
        return None
    if kind == "bytes":
        # a body: JSON around about four bytes a token, which differ by language from chat to chat
        return 800 + 4.2 * tokens * random.Random(request.session).lognormvariate(0, 0.15)
    if kind == "noisy":
        return tokens * rng.lognormvariate(0, 0.7)
    return tokens
