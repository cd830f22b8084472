"""Peak/mean against vnodes: real rings, and the closed form through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hashring.analysis.plots._style import COLOURS, GREY, PALE, bare, need_matplotlib
from hashring.ring import HashRing
from hashring.ring.layout import expected_peak

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_VNODES = (16, 32, 64, 128, 256, 512, 1024, 2048)
_BUILD = 60_000  # vnodes built for one dot column at most: a tenth of a second


def peak_by_vnodes(
    ax: Axes,
    hosts: Sequence[int] = (3, 10, 100),
    vnodes: Sequence[int] = _VNODES,
    *,
    seeds: int = 8,
    wanted: float | None = None,
) -> Axes:
    """The peak/mean of exact arcs of real rings (dots) and ``ring.layout.expected_peak`` (lines).

    ``wanted`` is a peak to mark. Every dot is a ring of another seed; large rings get fewer dots.
    Cost: about 1 us a vnode, some two seconds in all.
    """
    need_matplotlib()
    for number, count in enumerate(hosts):
        tint = COLOURS[(0, 5, 2, 3)[number % 4]]
        line = [expected_peak(each, count) for each in vnodes]
        ax.plot(vnodes, line, color=tint, lw=1.5)
        for each in vnodes:
            peaks = [_peak(each, count, seed) for seed in range(_seeds(seeds, each * count))]
            ax.plot([each] * len(peaks), peaks, "o", ms=3, color=tint, alpha=0.5, mew=0)
        # to the left, where the lines are far apart
        ax.annotate(
            f"{count:,} hosts",
            (vnodes[0], line[0]),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color=tint,
        )
    if wanted is not None:
        ax.axhline(wanted, color=GREY, lw=1, ls="--")
        at = (vnodes[0] * 0.5, wanted)  # left of all lines
        ax.annotate(f"{wanted:g} wanted", at, va="bottom", fontsize=8, color=GREY)
    bare(ax, "Peak/mean of a ring: measured and closed form", x="vnodes a host", y="peak/mean")
    ax.set_xscale("log", base=2)
    ax.set_xticks(vnodes, [f"{each:,}" for each in vnodes], fontsize=8)
    ax.minorticks_off()
    ax.set_xlim(vnodes[0] * 0.45, vnodes[-1] * 1.2)
    ax.grid(axis="y", color=PALE, lw=0.6)
    return ax


def _seeds(seeds: int, size: int) -> int:
    return max(1, min(seeds, _BUILD // size))


def _peak(vnodes: int, hosts: int, seed: int) -> float:
    ring = HashRing((f"host-{number:04}" for number in range(hosts)), vnodes=vnodes, seed=seed)
    return max(ring.shares().values()) * hosts
