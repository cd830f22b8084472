"""Policies on a trace: the distribution of the time to first token, and the work of the hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, PALE, bare, need_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.analysis.policy_replay import PolicyResult
    from hashring.analysis.serving import Serving

_TINTS = (COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[5], COLOURS[3], COLOURS[4])
_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))  # so that no two lines look the same
_POINTS = 300  # of a line: more are not visible
_SHORTEST = 0.01  # seconds: on a logarithmic axis there is no 0


def first_tokens(ax: Axes, report: Serving) -> Axes:
    """The share of requests that have their first token within a time, a line for each policy."""
    need_matplotlib()
    for number, policy in enumerate(report.policies):
        step = max(1, len(policy.times) // _POINTS)
        times = policy.times[::step]
        shares = [at * step / len(policy.times) for at in range(len(times))]
        colour, dash = _look(number)
        seconds = [max(_SHORTEST, time) for time in times]
        ax.plot(seconds, shares, color=colour, ls=dash, lw=1.4, label=policy.name)
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.axvline(report.limit, color=PALE, lw=1.2, zorder=0)
    bare(ax, "Time to first token", x="seconds", y="requests within")
    _legend(ax)
    return ax


def work_over_time(ax: Axes, report: Serving) -> Axes:
    """Prefill work of the busiest host over time, in seconds a second, a line for each policy."""
    need_matplotlib()
    per = 60 if report.seconds >= 180 else 1
    for number, policy in enumerate(report.policies):
        busiest = [value / report.bin_seconds for value in _busiest(policy)]
        edges = [at * report.bin_seconds / per for at in range(len(busiest) + 1)]
        colour, dash = _look(number)
        ax.stairs(busiest, edges, color=colour, ls=dash, lw=1.2, baseline=None, label=policy.name)
    bare(ax, "Work that arrives at the busiest host", x="minutes" if per == 60 else "seconds",
         y="seconds of prefill a second")  # fmt: skip
    ax.set_ylim(bottom=0)
    _legend(ax)
    return ax


def _busiest(policy: PolicyResult) -> Iterator[float]:
    return (max(at) for at in zip(*policy.work.values(), strict=True))


def _look(number: int) -> tuple[str, str | tuple[int, tuple[int, ...]]]:
    """A colour and a dash; all pairs of the first thirty differ."""
    return _TINTS[number % len(_TINTS)], _DASHES[(number + number // len(_TINTS)) % len(_DASHES)]


def _legend(ax: Axes) -> None:
    ax.figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
