"""What does a plan say?  The report of ``plan``, and the report as tables."""

from __future__ import annotations

from dataclasses import dataclass

from hashring.analysis._counting import Moved
from hashring.analysis.balance import Balance
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, host_label, percent
from hashring.text import printable

_FLOWS = 20  # a page's worth; to_dict() has them all


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host before and after; a weight or an arc is None where the host (or a circle) is not."""

    host: str
    weight_before: float | None
    weight_after: float | None
    clients_before: int
    clients_after: int
    requests_before: int
    requests_after: int
    share_before: float
    share_after: float
    fair_before: float
    fair_after: float
    arc_before: float | None
    arc_after: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """What moves from one host to another; None stands for the fallback. ``arc`` is exact."""

    origin: str | None
    target: str | None
    clients: int
    requests: int
    arc: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a change in several: what moves in it, and how even its hosts are after it.

    ``moved_so_far`` are those that have moved at least once since the beginning.
    """

    change: str
    hosts: int
    moved: Moved
    collateral: Moved
    moved_so_far: Moved
    minimum: float
    arc: float | None
    request_balance: Balance
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PlanReport(Report):
    """The report of ``plan``.

    ``moved`` is who has another host in the end than in the beginning, ``collateral`` those of
    them that move between two hosts that stay as they are: a perfect placement moves none.

    ``minimum`` is the fraction that any placement must move to reach the new fair shares, ``arc``
    the exact fraction of all possible keys that moves (ring only), ``modulo`` what ``hash % n``
    would have moved (None where the placement is ``hash % n`` itself).
    ``hosts`` has those that stay and leave first, then those that come. ``steps`` is empty for a
    change in one step.
    """

    clients: int
    requests: int
    moved: Moved
    collateral: Moved
    minimum: float
    arc: float | None
    modulo: Moved | None
    hosts: tuple[HostPlan, ...]
    flows: tuple[Flow, ...]
    fingerprint: str
    fingerprint_after: str
    steps: tuple[Step, ...] = ()

    def tables(self) -> tuple[ReportTable, ...]:
        """What moves, the hosts, the flows and the steps."""
        return _tables(self)

    def sentence(self) -> str:
        """What happens to the sessions, in one sentence."""
        verb = "moves" if self.moved.clients == 1 else "move"
        all_of = f"of {self.clients:,} client{'' if self.clients == 1 else 's'}"
        share = f"({100 * self.moved.client_share:.1f} %)"
        text = f"{self.moved.clients:,} {all_of} {share} {verb}{self._whither()}"
        if not self.moved.clients:
            text = f"None {all_of} moves"
        if self.modulo is not None:
            share = f"({100 * self.modulo.client_share:.1f} %)"
            text += f"; hash % n would have moved {self.modulo.clients:,} {share}"
        return text + "."

    def _whither(self) -> str:
        origins = {flow.origin for flow in self.flows}
        targets = {flow.target for flow in self.flows}
        if len(origins) > 1 and len(targets) > 1:
            return f", from {len(origins):,} hosts to {len(targets):,}"
        way = "".join(
            f" {word} {_host_label(*ends)}"
            for word, ends in (("from", origins), ("to", targets))
            if len(ends) == 1
        )
        return way if self.moved.clients == 1 else f", all of them{way}"


def _host_label(host: str | None) -> str:
    return "the fallback" if host is None else printable(host)


def _tables(report: PlanReport) -> tuple[ReportTable, ...]:
    """What moves, the hosts, the flows where something moves, the steps where there are any."""
    made = [comparison(report), host_sheet(report)]
    made += [flow_sheet(report, _FLOWS)] if report.flows else []
    made += [step_sheet(report)] if report.steps else []
    return tuple(made)


def comparison(report: PlanReport, placement: str = "this placement") -> ReportTable:
    """What moves, beside the least that must and what ``hash % n`` would move."""
    least = percent(report.minimum)
    rows = [
        (f"moved by {placement}", *_moved_cells(report.moved)),
        ("  between hosts that stay", *_moved_cells(report.collateral)),
    ]
    if report.arc is not None:
        rows.append(("  of all possible keys", "", percent(report.arc), "", ""))
    rows.append(("theoretical minimum", "", least, "", least))
    if report.modulo is not None:
        rows.append(("hash % n", *_moved_cells(report.modulo)))
    return ReportTable(
        "What moves", ("", "clients", "", "requests", ""), tuple(rows), strong=frozenset({0})
    )


def _moved_cells(moved: Moved) -> tuple[str, str, str, str]:
    return (
        f"{moved.clients:,}",
        percent(moved.client_share),
        f"{moved.requests:,}",
        percent(moved.request_share),
    )


def host_sheet(report: PlanReport) -> ReportTable:
    """Each host before and after."""
    heads = (
        "host",
        "weight",
        "clients",
        "clients after",
        "requests",
        "requests after",
        "share",
        "share after",
    )
    rows = tuple(
        (
            host_label(host.host),
            weight(host),
            f"{host.clients_before:,}",
            f"{host.clients_after:,}",
            f"{host.requests_before:,}",
            f"{host.requests_after:,}",
            percent(host.share_before),
            percent(host.share_after),
        )
        for host in report.hosts
    )
    return ReportTable("Hosts before and after", heads, rows)


def weight(host: HostPlan) -> str:
    """The weight, or both where it changes."""
    before, after = host.weight_before, host.weight_after
    if before is None or after is None or before == after:
        return f"{after if before is None else before:g}"
    return f"{before:g} -> {after:g}"


def flow_sheet(report: PlanReport, most: int, width: int = 60) -> ReportTable:
    """Who gives clients to whom: the ``most`` largest flows, names in ``width`` characters."""
    exact = () if report.arc is None else ("of all keys",)
    rows = tuple(
        (
            host_label(flow.origin, width),
            host_label(flow.target, width),
            f"{flow.clients:,}",
            f"{flow.requests:,}",
            *((percent(flow.arc),) if exact else ()),
        )
        for flow in report.flows[:most]
    )
    hidden = len(report.flows) - most
    note = f"... and {hidden:,} smaller flows" if hidden > 0 else ""
    return ReportTable(
        "Flows", ("from", "to", "clients", "requests", *exact), rows, left=2, note=note
    )


def step_sheet(report: PlanReport, width: int = 30) -> ReportTable:
    """What moves in each step, and the peak after it."""
    heads = ("step", "clients", "moved", "stayers", "so far", "minimum", "peak/mean")
    rows = tuple(
        (
            f"{number}. {host_label(step.change, width)}",
            f"{step.moved.clients:,}",
            percent(step.moved.client_share),
            percent(step.collateral.client_share),
            percent(step.moved_so_far.client_share),
            percent(step.minimum),
            f"{step.request_balance.peak:.3f}",
        )
        for number, step in enumerate(report.steps, 1)
    )
    note = (
        "unnecessary: between hosts that stay; so far: moved at least once; "
        "peak/mean: of the requests, after the step"
    )
    return ReportTable("Step by step", heads, rows, note=note)
