"""Load over time: the busiest host of each scenario, with and without bounded loads."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, GREY, PALE, bare, need_matplotlib
from hashring.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.analysis.outcomes import Outcome, Simulation


_TINTS = (COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[5], COLOURS[3], COLOURS[4])
_LEGEND = 60  # characters of a line of the legend, which is as wide as the picture
_STEPS = 60  # of a line at most; finer ones run into each other
_LINES = ("-", "--", "-.", ":")
_UNITS = ((86_400 * 3, 86_400, "days"), (3 * 3600, 3600, "hours"), (180, 60, "minutes"))


def load_over_time(ax: Axes, report: Simulation) -> Axes:
    """The most requests in flight on any one host over time, a line for each scenario.

    Scenarios with one and the same load share a line. Changes are marked.
    """
    need_matplotlib()
    from matplotlib.ticker import MaxNLocator

    per, unit = _unit(report.seconds)
    lines: dict[tuple[int, ...], list[str]] = {}
    for outcome in report.outcomes:
        lines.setdefault(_busiest(outcome), []).append(outcome.scenario.name)
    for number, (most, names) in enumerate(lines.items()):
        step = -(-len(most) // _STEPS)  # bins
        end = len(most) * report.bin_seconds / per
        edges = [i * report.bin_seconds / per for i in range(0, len(most), step)] + [end]
        ax.stairs(
            [max(most[i : i + step]) for i in range(0, len(most), step)],
            edges,
            color=_TINTS[number % len(_TINTS)],
            ls=_LINES[number % len(_LINES)],
            lw=max(1.2, 3.2 - 0.7 * number),  # what lies under another still shows
            baseline=None,
            label="\n".join(wrap(printable("; ".join(names), 400), _LEGEND)),
        )
    for at, _ in report.changes:
        ax.axvline(at / per, color=GREY, lw=1, ls=":")
        ax.annotate(" change", (at / per, 1), xycoords=("data", "axes fraction"), va="top",
                    fontsize=8, color=GREY)  # fmt: skip
    bare(ax, "Requests in flight on the busiest host", x=f"{unit} of the log", y="in flight")
    top = max((most for line in lines for most in line), default=1)
    ax.set_ylim(0, 1.15 * max(1, top))  # room for the word at a change
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))  # there is no half a request
    ax.set_xlim(0, max(report.seconds, report.bin_seconds) / per)
    ax.grid(axis="y", color=PALE, lw=0.6)
    legend = ax.figure.legend(loc="outside lower center", ncols=1, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return ax


def _busiest(outcome: Outcome) -> tuple[int, ...]:
    return tuple(max(loads) for loads in zip(*outcome.in_flight.values(), strict=True))


def _unit(seconds: float) -> tuple[float, str]:
    return next(((per, unit) for least, per, unit in _UNITS if seconds >= least), (1, "seconds"))
