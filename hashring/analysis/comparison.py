"""What does a comparison say?  The report of ``compare``, and the report as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hashring.analysis._counting import Moved
from hashring.analysis.balance import Balance
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, host_label, percent


@dataclass(frozen=True, slots=True)
class Loss:
    """The effect of the death of one host, before it is removed from the configuration.

    ``heirs`` are the hosts that take any of its clients. ``largest_heir_share`` is the part of its
    requests that the largest successor takes, ``surge`` what that host then serves as a multiple of
    what it served (None where it served nothing).
    ``collateral`` are the clients of other hosts that move as well.
    """

    heirs: int
    largest_heir: str | None
    largest_heir_share: float
    surge: float | None
    collateral: Moved


@dataclass(frozen=True, slots=True)
class Candidate:
    """One placement: how even it is, what the change moves, and what the death of a host does.

    ``moved`` and ``collateral`` are None where nothing is to change, ``loss`` where there is one
    host only. A placement that cannot place these hosts has a ``refusal`` and nothing else.
    """

    placement: str
    options: Mapping[str, Any]
    guarantees: tuple[str, ...]
    client_balance: Balance | None = None
    request_balance: Balance | None = None
    request_balance_after: Balance | None = None
    moved: Moved | None = None
    collateral: Moved | None = None
    loss: Loss | None = None
    unrouted: int = 0
    fingerprint: str | None = None
    refusal: str | None = None

    @property
    def label(self) -> str:
        """The placement, with its options where some were given."""
        settings = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.placement} ({settings})" if settings else self.placement


@dataclass(frozen=True, slots=True)
class Comparison(Report):
    """The report of ``compare``: one candidate for each placement, in the order given.

    ``lost`` is the host whose death is looked at, ``even_surge`` what each other host would then
    serve if its load spread evenly, as a multiple; ``minimum`` is what any placement must move.
    """

    clients: int
    requests: int
    hosts: int
    change: str
    minimum: float | None
    lost: str | None
    even_surge: float | None
    candidates: tuple[Candidate, ...]

    def tables(self) -> tuple[ReportTable, ...]:
        """Balance and change; the death of a host; fingerprints; what could not be placed."""
        made = [_change_sheet(self)]
        if self.lost is not None:
            made.append(_loss_sheet(self))
        marks = tuple((c.label, c.fingerprint) for c in self.candidates if c.fingerprint)
        if marks:
            made.append(ReportTable("Fingerprints", ("placement", "fingerprint"), marks, left=2))
        refused = [(c.label, c.refusal) for c in self.candidates if c.refusal is not None]
        if refused:
            made.append(
                ReportTable("Not possible here", ("placement", "why"), tuple(refused), left=2)
            )
        return tuple(made)

    def sentence(self) -> str:
        """Which placements move no client between hosts that stay, and which is the most even."""
        able = [c for c in self.candidates if c.request_balance is not None]
        if not able:
            return "None of these placements can place these hosts."
        even = min(able, key=lambda c: c.request_balance.peak if c.request_balance else 0.0)
        peak = even.request_balance.peak if even.request_balance else 0.0
        text = f"{even.label} is the most even for these requests (peak/mean {peak:.3f})"
        calm = [c.label for c in able if c.collateral is not None and not c.collateral.clients]
        if self.minimum is None:
            return f"{text}."
        if not calm:
            return f"{text}; every one moves clients between hosts that stay."
        return f"{text}; between hosts that stay, no client moves with {', '.join(calm)}."


def _change_sheet(report: Comparison) -> ReportTable:
    changes = report.minimum is not None
    heads: tuple[str, ...] = ("placement", "peak/mean", "CoV")
    rows: list[tuple[str, ...]] = []
    for one in report.candidates:
        if one.request_balance is None:
            continue
        row: tuple[str, ...] = (
            one.label,
            f"{one.request_balance.peak:.3f}",
            percent(one.request_balance.cov),
        )
        if one.moved and one.collateral and one.request_balance_after:
            row += (
                f"{one.request_balance_after.peak:.3f}",
                percent(one.moved.client_share),
                percent(one.collateral.client_share),
            )
        rows.append(row)
    if changes:
        heads += ("peak/mean after", "moved", "unnecessary")
        rows.append(
            ("theoretical minimum", "1.000", "0.0 %", "1.000", percent(report.minimum), "0.0 %")
        )
    note = "peak/mean and CoV: of the requests"
    if changes:
        note += "; moved: of the clients; unnecessary: of those, between hosts that stay"
    return ReportTable(
        "Balance and change" if changes else "Balance", heads, tuple(rows), note=note
    )


def _loss_sheet(report: Comparison) -> ReportTable:
    rows = tuple(
        (
            one.label,
            f"{one.loss.heirs:,}",
            host_label(one.loss.largest_heir, 20) if one.loss.heirs else "(fallback)",
            percent(one.loss.largest_heir_share),
            "" if one.loss.surge is None else f"{one.loss.surge:.2f} x",
            percent(one.loss.collateral.client_share),
        )
        for one in report.candidates
        if one.loss is not None
    )
    note = (
        f"takes: of its requests, the largest successor; surge: its load afterwards (evenly: "
        f"{report.even_surge:.2f} x); others: of the clients, those of other hosts that move too"
    )
    heads = ("placement", "successors", "largest", "takes", "surge", "others")
    return ReportTable(f"When {host_label(report.lost)} dies", heads, rows, note=note)
