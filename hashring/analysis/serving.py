"""Routing policies on a trace of LLM serving: cache reuse, time to first token, moved sessions.

Every policy is a real ``LoadBalancer`` whose clock the trace drives; only the hosts are a model.
A router sees of them what a proxy sees: a request begins, its first byte comes, it ends.

The model of a host, with its limits, is in ``hashring.analysis.model_host``; beyond those, sessions
of most traces are derived. Runs are deterministic for a seed.

>>> from hashring.analysis.traces import Trace, TraceRequest
>>> turns = [TraceRequest(at, number % 2, 1024, 40, (number % 2, 9)) for number, at in enumerate(
...     [0.0, 0.5, 10.0, 10.5])]
>>> report = serve(Trace(tuple(turns), 512, "jsonl"), 2, ["ring"])
>>> report.policies[0].moved_turns, report.policies[0].reuse
(0.0, 0.5)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hashring.analysis.model_host import (  # what ``serve`` takes and returns is exported here too
    Engine as Engine,  # noqa: PLC0414  # the form that type checkers take for an export
)
from hashring.analysis.policies import (
    POLICIES as POLICIES,  # noqa: PLC0414  # as above
)
from hashring.analysis.policies import (
    ServingPolicy,
)
from hashring.analysis.policy_replay import (
    COSTS as COSTS,  # noqa: PLC0414  # as above
)
from hashring.analysis.policy_replay import (
    SCENARIOS as SCENARIOS,  # noqa: PLC0414  # as above
)
from hashring.analysis.policy_replay import (
    PolicyReplay,
    ReplaySettings,
)
from hashring.analysis.policy_replay import (
    PolicyResult as PolicyResult,  # noqa: PLC0414  # as above
)
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, percent
from hashring.analysis.traces import Trace
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.text import bounded_repr
from hashring.validators import COUNT, SECONDS, SECONDS_OR_ZERO


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
    plans = [ServingPolicy.of(name) for name in names]
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
    settings = ReplaySettings(
        trace, tuple(hosts), engine or Engine(), rate, spread, routers, scenario, cost, limit,
        seed, bins, sync if exchanges else 0.0,
    )  # fmt: skip
    results = tuple(PolicyReplay(settings, plan).result(progress) for plan in plans)
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
