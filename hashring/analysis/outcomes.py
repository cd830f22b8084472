"""What does a simulation say?  The report of ``simulate``, and the report as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hashring.analysis.reports import Report
from hashring.analysis.scenarios import Scenario, ServiceTime
from hashring.analysis.tables import ReportTable, percent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario did to the sessions and to the hosts.

    A session is a client's requests with pauses of at most the session gap; ``broken`` are those
    in which a request came to another host than the one before it, ``switches`` how many requests
    did. ``reasons`` counts requests by the balancer's reason, ``served`` by the host.
    ``peak_in_flight`` is the most that any host had at the same time, ``p99_in_flight`` what 99 of
    100 requests found at most on their host, themselves included. ``in_flight`` has
    each host's most in each of the report's bins.
    """

    scenario: Scenario
    requests: int
    sessions: int
    broken: int
    switches: int
    reasons: Mapping[str, int]
    served: Mapping[str, int]
    peak_in_flight: int
    p99_in_flight: int
    in_flight: Mapping[str, tuple[int, ...]]

    @property
    def broken_share(self) -> float:
        """Of all sessions, those that were broken."""
        return self.broken / self.sessions if self.sessions else 0.0

    @property
    def switch_share(self) -> float:
        """Of all requests, those that came to another host than the one before them."""
        return self.switches / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Simulation(Report):
    """The report of ``simulate``: one outcome for each scenario.

    ``changes`` are (seconds after the first request, what changed). ``bin_seconds`` is how long
    each entry of an outcome's ``in_flight`` lasts.
    """

    requests: int
    clients: int
    seconds: float
    session_gap: float
    service: ServiceTime
    placement: str
    hosts: tuple[str, ...]
    changes: tuple[tuple[float, str], ...]
    bin_seconds: float
    outcomes: tuple[Outcome, ...]

    def tables(self) -> tuple[ReportTable, ...]:
        """Sessions and load, a line for each scenario."""
        return _tables(self)

    def sentence(self) -> str:
        """The best and the worst for sessions."""
        best = min(self.outcomes, key=lambda o: o.broken)
        worst = max(self.outcomes, key=lambda o: o.broken)
        return (
            f"Of {best.sessions:,} sessions, '{best.scenario.name}' breaks {best.broken:,} and "
            f"'{worst.scenario.name}' {worst.broken:,}."
        )


def _tables(report: Simulation) -> tuple[ReportTable, ...]:
    """Sessions, then load: a line for each scenario."""
    return _sessions(report), _load(report)


def _sessions(report: Simulation) -> ReportTable:
    rows = tuple(
        (
            outcome.scenario.name,
            f"{outcome.sessions:,}",
            f"{outcome.broken:,}",
            percent(outcome.broken_share),
            f"{outcome.switches:,}",
            percent(outcome.switch_share),
        )
        for outcome in report.outcomes
    )
    note = (
        f"A session ends after {report.session_gap / 60:g} min without a request; it is broken "
        "when a request goes to another host than the one before. switches: such requests."
    )
    heads = ("scenario", "sessions", "broken", "", "switches", "")
    return ReportTable("Sessions", heads, rows, note=note)


def _load(report: Simulation) -> ReportTable:
    rows = tuple(
        (
            outcome.scenario.name,
            f"{outcome.peak_in_flight:,}",
            f"{outcome.p99_in_flight:,}",
            percent(outcome.reasons.get("overflow", 0) / outcome.requests),
            percent(outcome.reasons.get("pinned", 0) / outcome.requests),
        )
        for outcome in report.outcomes
    )
    note = (
        "In flight on one host: the most at any time, and what 99 % of the requests found at "
        f"most. A request's time is a model: {report.service}."
    )
    return ReportTable("Load", ("scenario", "peak", "99 %", "overflow", "pinned"), rows, note=note)
