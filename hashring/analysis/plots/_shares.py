"""Share per host: its requests, its arc, and the band that theory gives the arc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, GREY, INK, PALE, bare, need_matplotlib, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.analysis.spread import HostSpread, Spread


MOST = 60  # lines of one picture: a page long


def shares(ax: Axes, report: Spread) -> Axes:
    """Bars of each host's requests, a tick at its fair share, a dot at its arc in its 99 % band.

    Of more than 60 hosts, the 30 with the most and the 30 with the least for their weight.
    """
    need_matplotlib()
    hosts = shown_hosts(report)
    at = range(len(hosts))
    ax.barh(
        at,
        [100 * host.request_share for host in hosts],
        height=0.72,
        color=COLOURS[4],
        label="requests",
    )
    for y, host in enumerate(hosts):
        if host.band is not None and host.arc is not None:
            low, high = (100 * edge for edge in host.band)
            label = "99 % band of a random ring" if y == 0 else None
            ax.plot([low, high], [y, y], color=INK, lw=3, alpha=0.35, label=label)
            inside = low <= 100 * host.arc <= high
            ax.plot(
                100 * host.arc,
                y,
                "o",
                ms=4,
                color=INK if inside else COLOURS[5],
                label="all possible keys" if y == 0 else None,
            )
    ax.vlines(
        [100 * host.fair for host in hosts],
        [y - 0.4 for y in at],
        [y + 0.4 for y in at],
        color=COLOURS[5],
        lw=1.2,
        label="fair share",
    )
    rows(ax, [host.host for host in hosts])
    some = "" if len(hosts) == len(report.hosts) else f" (the extreme 60 of {len(report.hosts):,})"
    bare(ax, f"Share of each host{some}", x="% of all")
    ax.grid(axis="x", color=PALE, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    ax.figure.legend(
        loc="outside lower center", ncols=2, fontsize=8, frameon=False, labelcolor=GREY
    )
    return ax


def shown_hosts(report: Spread) -> tuple[HostSpread, ...]:
    """The hosts that a picture has room for, in their order."""
    if len(report.hosts) <= MOST:
        return report.hosts
    order = sorted(report.hosts, key=lambda host: host.request_share / host.fair)
    kept = {host.host for host in (*order[: MOST // 2], *order[-MOST // 2 :])}
    return tuple(host for host in report.hosts if host.host in kept)
