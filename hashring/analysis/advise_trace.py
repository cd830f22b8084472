"""Which of the three ways of being sticky suits a trace or a log?  Replayed, not guessed.

The ways: by hash (the ring), by memory (the ring with pins), and by memory, placed by load (least
outstanding work, with and without patience). Each is replayed as it is, and while a host joins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hashring.analysis.arrivals import Arrivals
from hashring.analysis.model_host import Engine
from hashring.analysis.policy_replay import PolicyResult
from hashring.analysis.reports import Report
from hashring.analysis.serving import Serving, serve
from hashring.analysis.tables import ReportTable, percent
from hashring.analysis.traces import Trace, TraceRequest
from hashring.hosts import Host

WAYS = {
    "ring": "by hash",
    "ring+pins": "by memory",
    "least-outstanding+pins": "by memory, placed by load",
    "least-outstanding+pins+patience": "by memory, placed by load, with patience",
}
"""Policies, the least demanding first, and what they are called."""

_BETTER = 0.9  # of the mean time to first byte: what needs more must be a tenth better
_FEW = 0.005  # turns that may move when a host joins before memory pays
_SERVICE = 0.1  # seconds of work of a request of a log, which does not have it


@dataclass(frozen=True, slots=True)
class TraceAdvice(Report):
    """The report of ``advise_trace``. ``steady`` and ``grow`` are the replays behind it."""

    policy: str
    way: str
    why: str
    steady: Serving
    grow: Serving

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and lists, without the time of each request."""
        return {
            "policy": self.policy,
            "way": self.way,
            "why": self.why,
            "steady": self.steady.to_dict(),
            "grow": self.grow.to_dict(),
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each way."""
        joins = {each.name: each for each in self.grow.policies}
        rows = tuple(
            (
                each.name,
                WAYS[each.name],
                f"{each.ttft['mean']:.2f}",
                f"{each.ttft['p99']:.2f}",
                percent(each.reuse),
                percent(each.moved_turns),
                percent(joins[each.name].moved_turns),
            )
            for each in self.steady.policies
        )
        heads = ("policy", "way", "mean", "p99", "reused", "moved", "moved, growth")
        note = (
            "mean, p99: seconds to the first byte, by a model of hosts. moved: turns that left "
            f"their session's host; growth: while a host joins. Hosts: {self.steady.engine}."
        )
        strong = frozenset(n for n, row in enumerate(rows) if row[0] == self.policy)
        return (ReportTable("Ways to be sticky", heads, rows, left=2, note=note, strong=strong),)

    def sentence(self) -> str:
        """The recommendation and its reason."""
        return f"Use {self.policy} ({self.way}): {self.why}"


def advise_trace(
    trace: Trace,
    hosts: int | Sequence[Host],
    *,
    engine: Engine | None = None,
    rate: float = 1.0,
    spread: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> TraceAdvice:
    """The way of being sticky for ``trace`` on ``hosts``. Cost: eight replays.

    A way that needs more memory or knowledge is recommended only where it is a tenth faster, or
    where it saves more than 0.5 % of the turns from a move when a host joins.
    """
    steady, grow = (
        serve(
            trace, hosts, WAYS, engine=engine, rate=rate, spread=spread, scenario=scenario,
            progress=progress,
        )
        for scenario in ("none", "grow")
    )  # fmt: skip
    policy, why = _recommend_way(steady.policies, {each.name: each for each in grow.policies})
    return TraceAdvice(policy, WAYS[policy], why, steady, grow)


def _recommend_way(
    steady: Sequence[PolicyResult], grow: dict[str, PolicyResult]
) -> tuple[str, str]:
    times = {each.name: each.ttft["mean"] for each in steady}
    best = "ring"
    for name in ("least-outstanding+pins", "least-outstanding+pins+patience"):
        limit = _BETTER if best == "ring" else (1 + _BETTER) / 2  # patience is only an option more
        if times[name] < limit * times[best]:
            best = name
    if best != "ring":
        return best, (
            f"the mean time to the first byte is {times[best]:.2f} s, by hash it is "
            f"{times['ring']:.2f} s."
        )
    saved = grow["ring"].moved_turns - grow["ring+pins"].moved_turns
    if saved > _FEW:
        return "ring+pins", (
            f"load makes no difference of a tenth, and a host that joins would move "
            f"{percent(grow['ring'].moved_turns)} of the turns by hash."
        )
    return "ring", "the other ways are not a tenth faster, and it needs no memory."


def trace_of_log(arrivals: Arrivals) -> Trace:
    """A log as a trace: each client a session, each request 0.1 s of one of a host's workers."""
    begin = arrivals.at[0] if len(arrivals) else 0.0
    tokens = round(_SERVICE * WORKERS.prefill / WORKERS.lanes)
    requests = tuple(
        TraceRequest(at - begin, who, tokens, 1, ())
        for at, who in zip(arrivals.at, arrivals.who, strict=True)
    )
    return Trace(requests, 512, "log")


WORKERS = Engine(lanes=8, blocks=0)
"""The model of a host for a log: eight workers and no cache."""
