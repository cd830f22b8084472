"""Routing policies on a trace of LLM serving: cache reuse, time to first token, moved sessions.

Every policy is a real ``LoadBalancer`` whose clock the trace drives; only the hosts are a model.
A router sees of them what a proxy sees: a request begins, its first byte comes, it ends.

**The model of a host.** Requests wait in one queue. ``lanes`` of them are in prefill together, each
with its part of ``prefill`` tokens a second, and then decode ``decode`` tokens a second each, up to
``slots`` requests in all. With ``chunk`` prefill and decode share steps of that many tokens, so
that each slows the other down. A host keeps the last ``blocks`` prefix blocks; a request skips the
prefill of the blocks it finds, up to the first that is missing. **Limits:** no batching effects, no
eviction in the middle of a request, no network, no preemption; sessions of most traces are derived.
Runs are deterministic for a seed.

>>> from hashring.analysis.traces import Trace, TraceRequest
>>> turns = [TraceRequest(at, number % 2, 1024, 40, (number % 2, 9)) for number, at in enumerate(
...     [0.0, 0.5, 10.0, 10.5])]
>>> report = serve(Trace(tuple(turns), 512, "jsonl"), 2, ["ring"])
>>> report.policies[0].moved_turns, report.policies[0].reuse
(0.0, 0.5)
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, percent
from hashring.analysis.traces import Trace, TraceRequest
from hashring.balancer import Lease, LoadBalancer
from hashring.balancer.pin_table import PinTable
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.strategies import LeastConnections, LeastOutstanding, RoundRobin, Strategy, View
from hashring.text import bounded_repr, suggestion
from hashring.validators import COUNT, SECONDS, SECONDS_OR_ZERO

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

COSTS: Final = ("tokens", "bytes", "noisy", "none")
SCENARIOS: Final = (
    "none", "grow", "loss", "return", "death", "slow", "stall", "weights", "hidden"
)  # fmt: skip

_STRATEGIES: Final = ("round-robin", "least-connections", "fewest-sessions", "least-outstanding")
_BOUND: Final = 1.25  # load factor of +bounded, with a floor of 8, as in the guide
_FLOOR: Final = 8
_PATIENCE: Final = 5.0  # the value that the guide recommends
_GROUP_BLOCKS: Final = 4  # prefix blocks that requests of a group share: 2,048 tokens
_IDLE: Final = 3600.0  # seconds: the default of PinTable
_SESSIONS_IDLE: Final = 600.0  # seconds: sessions that are counted as a load must expire sooner
_ROUNDING: Final = 1e-6  # tokens: two floats that mean one moment
_WINDOW_AFTER: Final = 300.0  # seconds of a stall
_STALLED: Final = 0.05  # of its speed
_SLOWED: Final = 0.5  # of its speed, where no router knows


@dataclass(frozen=True, slots=True)
class Engine:
    """How a host works; see the module. ``prefill`` and ``decode`` are tokens a second."""

    prefill: float = 8000.0
    decode: float = 40.0
    lanes: int = 1
    slots: int = 256
    blocks: int = 2048
    chunk: int | None = None

    def __post_init__(self) -> None:
        for option in ("prefill", "decode"):
            SECONDS(getattr(self, option), option)
        for option in ("lanes", "slots"):
            COUNT(getattr(self, option), option)
        if self.chunk is not None:
            COUNT(self.chunk, "chunk")
            if self.lanes != 1:
                raise ConfigError("chunk and lanes exclude each other: give one", option="chunk")
        if self.blocks < 0:
            raise ConfigError(f"blocks must be at least 0, got {self.blocks!r}", option="blocks")

    def __str__(self) -> str:
        way = f"chunks of {self.chunk:,}" if self.chunk else f"lanes {self.lanes}"
        return (
            f"prefill {self.prefill:,.0f} tokens/s ({way}), decode {self.decode:g} tokens/s a "
            f"request, cache {self.blocks:,} blocks"
        )


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
class Serving(Report):
    """The report of ``serve``: one result for each policy."""

    requests: int
    sessions: int
    seconds: float
    hosts: tuple[str, ...]
    rate: float
    spread: float
    routers: int
    sync: float
    scenario: str
    cost: str
    limit: float
    engine: Engine
    bin_seconds: float
    policies: tuple[PolicyResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and lists, without the time of each request."""
        made = Report.to_dict(self)
        for policy in made["policies"]:
            del policy["times"], policy["work"]
        return made

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each policy."""
        rows = tuple(
            (
                each.name,
                percent(each.reuse),
                f"{each.ttft['mean']:.2f}",
                f"{each.ttft['p99']:.2f}",
                percent(each.moved_turns),
                f"{each.work_peak_to_mean:.3f}",
                f"{each.goodput:.2f}",
                f"{each.ttft['p50']:.2f}",
                f"{each.ttft['p90']:.2f}",
                percent(each.moved_sessions),
            )
            for each in self.policies
        )
        heads = (
            "policy", "reused", "TTFT mean", "p99", "moved", "work peak", "goodput", "p50", "p90",
            "sessions moved",
        )  # fmt: skip
        note = (
            "Time to first token (TTFT) in seconds; moved: turns that left their session's host; "
            f"work peak: busiest host over the mean; goodput: requests/s within {self.limit:g} s. "
            f"Hosts are a model: {self.engine}."
        )
        return (ReportTable("Policies", heads, rows, note=note),)

    def sentence(self) -> str:
        """The quickest and the slowest."""
        best = min(self.policies, key=lambda each: each.ttft["mean"])
        worst = max(self.policies, key=lambda each: each.ttft["mean"])
        return (
            f"'{best.name}' has the first token after {best.ttft['mean']:.2f} s on average, "
            f"'{worst.name}' after {worst.ttft['mean']:.2f} s."
        )


def serve(
    trace: Trace,
    hosts: int | Sequence[Host] = 8,
    policies: Iterable[str] = POLICIES,
    *,
    engine: Engine | None = None,
    rate: float = 1.0,
    spread: float = 0.0,
    routers: int = 1,
    sync: float = 0.0,
    scenario: str = "none",
    cost: str = "tokens",
    limit: float = 2.0,
    seed: int = 1,
    bins: int = 60,
    progress: Callable[[int], None] | None = None,
) -> Serving:
    """Replay ``trace`` once for each policy.

    Cost: about 2 s for 12,000 requests on 8 hosts, for each policy; memory for the trace.

    Parameters
    ----------
    hosts: their number, or hosts with weights: a host of weight 2 works twice as fast.
    policies: a strategy or ``ring``, with ``+pins``, ``+bounded``, ``+patience`` and ``+group``;
        or ``cache-aware``, which sees every cache and queue, as an upper mark.
    engine: the model of a host of weight 1.
    rate: how many times faster than recorded the requests arrive.
    spread: seconds over which arrivals are spread at random, for traces with rounded times.
    routers: routers that each see only their own requests, and share the pins.
    sync: seconds between two exchanges of outstanding work among the routers; 0 is never.
    scenario: one of ``SCENARIOS``, in the middle of the trace: one host joins, is lost, is lost and
        returns after 300 s (``return`` or ``death``), is four times slower, or stalls for 300 s.
        From the start: every second host has twice the weight (``weights``), or one has half the
        speed, which no router knows (``hidden``).
    cost: what a router knows of a request's work: exact tokens, body bytes, a noisy estimate, none.
    limit: seconds to the first token within which a request counts for goodput.
    seed: of the spread, the noise and the choice of a router.
    bins: parts of the time in which the work of each host is summed.
    progress: called with the number of requests that were placed.

    Raises
    ------
    ConfigError: a policy or an option is not valid, or the trace has no request.
    """
    names = list(policies)
    plans = [_Policy.of(name) for name in names]
    if not plans:
        raise ConfigError("a simulation needs at least one policy", option="policies")
    if not trace.requests:
        raise ConfigError("the trace has no request", option="trace")
    SECONDS(rate, "rate")
    SECONDS_OR_ZERO(spread, "spread")
    SECONDS(limit, "limit")
    SECONDS_OR_ZERO(sync, "sync")
    COUNT(routers, "routers")
    COUNT(bins, "bins")
    for option, value, known in (("scenario", scenario, SCENARIOS), ("cost", cost, COSTS)):
        if value not in known:
            raise ConfigError(
                f"{option} must be one of {', '.join(known)}, got {bounded_repr(value)}",
                option=option,
            )
    if isinstance(hosts, int):
        hosts = [Host(f"gpu{number}") for number in range(COUNT(hosts, "hosts"))]
    if scenario in ("loss", "return", "death") and len(hosts) < 2:
        raise ConfigError("the loss of a host needs at least two", option="hosts")
    exchanges = bool(sync) and routers > 1
    if exchanges and any(plan.patience or plan.group for plan in plans):
        raise ConfigError(
            "sync is modelled without +patience and +group: leave them out", option="sync"
        )
    if scenario == "weights":
        hosts = [host.with_weight(1.0 + number % 2) for number, host in enumerate(hosts)]
    settings = _Settings(
        trace, tuple(hosts), engine or Engine(), rate, spread, routers, scenario, cost, limit,
        seed, bins, sync if exchanges else 0.0,
    )  # fmt: skip
    results = tuple(_Run(settings, plan).result(progress) for plan in plans)
    return Serving(
        requests=len(trace.requests),
        sessions=trace.sessions,
        seconds=trace.seconds / rate,
        hosts=tuple(host.name for host in hosts),
        rate=rate,
        spread=spread,
        routers=routers,
        sync=sync,
        scenario=scenario,
        cost=cost,
        limit=limit,
        engine=settings.engine,
        bin_seconds=settings.bin_seconds,
        policies=results,
    )


# -- policies ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Policy:
    """A policy's name, taken apart."""

    name: str
    base: str
    pins: bool = False
    bounded: bool = False
    patience: bool = False
    group: bool = False

    @classmethod
    def of(cls, name: str) -> _Policy:
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
            return _SharedOutstanding() if exchanges else LeastOutstanding()
        if self.base == "fewest-sessions":
            assert pins is not None
            return _FewestSessions(pins)
        return _CacheAware()


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


class _SharedOutstanding(Strategy):
    """Least outstanding work, with what the other routers last reported of theirs."""

    USES_WEIGHT = True
    REASON = "least"

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[str, float] = {}
        self._chosen: dict[str, int] = {}
        self._turns = count()

    def choose(self, view: View) -> Host:
        def level(host: Host) -> tuple[float, float, int]:
            work = view.outstanding(host) + self.others.get(host.name, 0.0)
            few = view.in_flight(host) / host.weight
            return (work + 1) / host.weight, few, self._chosen.get(host.name, -1)

        host = min(view.hosts, key=level)
        self._chosen[host.name] = next(self._turns)
        return host


class _CacheAware(Strategy):
    """The host on which the request would have its first token soonest: an upper mark.

    It reads the true queues and caches, which no router can.
    """

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, _ModelHost] = {}
        self.request: TraceRequest | None = None

    def choose(self, view: View) -> Host:
        request = self.request
        assert request is not None

        def seconds(host: Host) -> float:
            model = self.models[host.name]
            return model.backlog() + model.missing(request) / model.prefill

        turn = self._rng.randrange(len(view.hosts))
        return min(view.hosts[turn:] + view.hosts[:turn], key=seconds)


# -- one run -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Settings:
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
        return max(1.0, self.trace.seconds / self.rate) / self.bins


class _Turn:
    """A request on its way: where it is, and since when."""

    __slots__ = ("at", "begun", "cost", "first", "group", "key", "lease", "number", "request",
                 "router", "todo")  # fmt: skip

    def __init__(self, number: int, request: TraceRequest, at: float) -> None:
        self.number, self.request, self.at = number, request, at
        self.key = f"session-{request.session}"
        self.cost: float | None = None
        self.group: str | None = None
        self.router = 0
        self.lease: Lease | None = None
        self.first = -1.0
        self.begun = False
        self.todo = 0


class _ModelHost:
    """A host as the module describes it. Its two clocks count tokens of one lane and one decode."""

    def __init__(self, host: Host, engine: Engine, block: int) -> None:
        self.name, self.weight, self.engine, self.block = host.name, host.weight, engine, block
        self.speed = host.weight
        self.time = self.work = 0.0
        self.version = 0  # of the next wake-up; an older one is ignored
        self.clear()

    def clear(self) -> None:
        """Forget all requests and the cache."""
        self.queue: deque[_Turn] = deque()
        self.prefilling: list[tuple[float, int, _Turn]] = []  # (end on the prefill clock, ...)
        self.decoding: list[tuple[float, int, _Turn]] = []  # (end on the decode clock, ...)
        self.prefill_clock = self.decode_clock = 0.0
        self.cache: OrderedDict[int, None] = OrderedDict()

    @property
    def prefill(self) -> float:
        """Tokens a second of the whole host."""
        return self.engine.prefill * self.speed

    def _rates(self) -> tuple[float, float]:
        """Tokens a second of one lane and of one decode: constant between two events."""
        prefill, decode = self.prefill, self.engine.decode * self.speed
        if self.engine.chunk and self.prefilling:
            # a step holds one token of each decode, and prefill in the rest of it
            left = max(0.05, 1 - len(self.decoding) / self.engine.chunk)
            return prefill * left, min(decode, prefill / self.engine.chunk)
        return prefill / self.engine.lanes, decode

    def advance(self, now: float) -> None:
        """Let time pass up to ``now``."""
        prefill, decode = self._rates()
        passed = now - self.time
        self.prefill_clock += prefill * passed
        self.decode_clock += decode * passed
        self.time = now

    def wakes(self) -> float:
        """When the next request has its first token or its last."""
        prefill, decode = self._rates()
        ends = [math.inf]
        if self.prefilling:
            ends.append((self.prefilling[0][0] - self.prefill_clock) / prefill)
        if self.decoding:
            ends.append((self.decoding[0][0] - self.decode_clock) / decode)
        return self.time + max(0.0, min(ends))

    def found(self, request: TraceRequest) -> int:
        """Blocks of the prompt that are in the cache, up to the first that is not."""
        cache = self.cache
        for number, block in enumerate(request.blocks):
            if block not in cache:
                return number
        return len(request.blocks)

    def missing(self, request: TraceRequest) -> int:
        """Tokens that must be computed."""
        return max(0, request.input_tokens - self.block * self.found(request))

    def backlog(self) -> float:
        """Seconds of prefill ahead of a request that comes now."""
        ahead = sum(end - self.prefill_clock for end, _, _ in self.prefilling)
        ahead += sum(self.missing(turn.request) for turn in self.queue)
        return ahead / self.prefill

    def admit(self) -> Iterator[tuple[int, int]]:
        """Begin the requests that there is room for; (blocks found, blocks) of each."""
        engine = self.engine
        while (
            self.queue
            and len(self.prefilling) < engine.lanes
            and len(self.prefilling) + len(self.decoding) < engine.slots
        ):
            turn = self.queue.popleft()
            found = self.found(turn.request)
            turn.todo = max(0, turn.request.input_tokens - self.block * found)
            if engine.blocks:
                for block in turn.request.blocks:
                    self.cache[block] = None
                    self.cache.move_to_end(block)
                while len(self.cache) > engine.blocks:
                    self.cache.popitem(last=False)
            self.work += turn.todo
            heapq.heappush(self.prefilling, (self.prefill_clock + turn.todo, turn.number, turn))
            yield found, len(turn.request.blocks)

    def first_tokens(self) -> Iterator[_Turn]:
        """The requests whose prefill has ended; they decode from now on."""
        while self.prefilling and self.prefilling[0][0] <= self.prefill_clock + _ROUNDING:
            turn = heapq.heappop(self.prefilling)[2]
            end = self.decode_clock + turn.request.output_tokens
            heapq.heappush(self.decoding, (end, turn.number, turn))
            yield turn

    def ended(self) -> Iterator[_Turn]:
        """The requests that have their last token."""
        while self.decoding and self.decoding[0][0] <= self.decode_clock + _ROUNDING:
            yield heapq.heappop(self.decoding)[2]

    def lose_all(self) -> list[_Turn]:
        """Every request here, in order of arrival; the host is empty afterwards."""
        running = [turn for _, _, turn in (*self.prefilling, *self.decoding)]
        lost = sorted((*self.queue, *running), key=lambda turn: turn.number)
        self.clear()
        return lost


class _Run:
    """One policy on the trace: events in order of time."""

    def __init__(self, settings: _Settings, policy: _Policy) -> None:
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
            host.name: _ModelHost(host, settings.engine, settings.trace.block)
            for host in settings.hosts
        }
        self._turns = self._arrivals(rng)
        self._schedule_scenario(late)
        if any(isinstance(each, _SharedOutstanding) for each in self._strategies):
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

    def _arrivals(self, rng: random.Random) -> list[_Turn]:
        settings, turns = self._settings, []
        for number, request in enumerate(settings.trace.requests):
            at = request.at / settings.rate + rng.random() * settings.spread
            turn = _Turn(number, request, at)
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

    def _place(self, turn: _Turn) -> None:
        balancer = self._balancers[turn.router]
        session: str | None = turn.key
        if self._policy.base != "ring" and not self._policy.pins:
            session = None
        strategy = self._strategies[turn.router]
        if isinstance(strategy, _CacheAware):
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
        total: Counter[str] = Counter()
        for loads in own:
            for name, work in loads.items():
                total[name] += work  # type: ignore[assignment]  # a Counter of floats
        for strategy, loads in zip(self._strategies, own, strict=True):
            assert isinstance(strategy, _SharedOutstanding)
            strategy.others = {name: total[name] - loads.get(name, 0.0) for name in total}
        self._schedule(self._now + self._settings.sync, "sync", None)

    def _note_home(self, turn: _Turn, name: str) -> None:
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

    def _touch(self, model: _ModelHost) -> None:
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

    def _wake(self, model: _ModelHost) -> None:
        model.advance(self._now)
        for turn in model.first_tokens():
            assert turn.lease is not None
            turn.first = self._now
            turn.lease.started()
        for turn in model.ended():
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
