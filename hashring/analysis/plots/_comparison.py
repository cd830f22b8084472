"""Placements side by side: what must move, and what moves besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, GREY, INK, PALE, bare, need_matplotlib, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.analysis.comparison import Comparison


def comparison(ax: Axes, report: Comparison) -> Axes:
    """Bars of the clients that a change moves, those between hosts that stay apart; else peaks."""
    need_matplotlib()
    able = [one for one in report.candidates if one.request_balance is not None]
    at = range(len(able))
    if report.minimum is None:
        over = [100 * (one.request_balance.peak - 1) for one in able if one.request_balance]
        ax.barh(at, over, height=0.7, color=COLOURS[0])
        bare(ax, "The busiest host, above its fair share", x="% more requests than is fair")
    else:
        between = [100 * one.collateral.client_share for one in able if one.collateral]
        whole = [100 * one.moved.client_share for one in able if one.moved]
        needed = [all_ - some for all_, some in zip(whole, between, strict=True)]
        ax.barh(at, needed, height=0.7, color=COLOURS[4], label="to or from a host that changes")
        ax.barh(
            at, between, left=needed, height=0.7, color=COLOURS[5], label="between hosts that stay"
        )  # fmt: skip
        ax.axvline(100 * report.minimum, color=INK, lw=1, ls="--", label="the least possible")
        bare(ax, f"Clients that move: {report.change}", x="% of all clients")
        ax.figure.legend(
            loc="outside lower center", ncols=2, fontsize=8, frameon=False, labelcolor=GREY
        )
    rows(ax, [one.label for one in able])
    ax.grid(axis="x", color=PALE, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    return ax
