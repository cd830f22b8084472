"""The ring as a coloured circle: every arc outside, every host's whole share inside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hashring.analysis.plots._style import INK, bare, colour, host_labels, ink_on, need_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.ring import HashRing, RingTable


_CIRCLE = 1 << 32
_RASTER = 600  # arcs beyond this go into an SVG as one image: each would be 400 bytes of it
_WIDE = 20.0  # degrees that a horizontal label needs
_FITS = 3.4  # degrees of the inner circle that a line of the smallest text needs
_OUTER, _MIDDLE, _INNER = 1.0, 0.86, 0.83


def circle(ax: Axes, ring: HashRing | RingTable) -> Axes:
    """The arcs of ``ring`` on ``ax``: position 0 at the top, positions run clockwise.

    Cost: O(vnodes). A ring of some hundred arcs shows its arcs one by one; one of many thousands
    is a fine weave, whose sum the inner circle shows.
    """
    need_matplotlib()
    vnodes = ring.vnode_list()
    shares = ring.shares()
    names = sorted(shares)
    colours = {name: colour(number) for number, name in enumerate(names)}
    _arcs(ax, vnodes, colours)
    start = 0.0
    labels = host_labels(names, 14)
    for name in names:
        _sector(ax, labels[name], start, shares[name], colours[name])
        start += shares[name]
    _finish(ax, len(names), len(vnodes))
    return ax


def _arcs(ax: Axes, vnodes: list[tuple[int, str]], colours: dict[str, str]) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Wedge

    arcs = []
    before = vnodes[-1][0] - _CIRCLE if vnodes else 0  # the first vnode owns what wraps around
    for position, name in vnodes:
        if position > before:
            arcs.append((before, position, colours[name]))
        before = position
    wedges = [
        Wedge((0, 0), _OUTER, _angle(end), _angle(begin), width=_OUTER - _MIDDLE)
        for begin, end, _ in arcs
    ]
    fills = [fill for _, _, fill in arcs]
    drawn = PatchCollection(wedges, facecolors=fills, edgecolors="none", antialiaseds=False)
    drawn.set_rasterized(len(arcs) > _RASTER)
    ax.add_collection(drawn)


def _angle(position: float) -> float:
    """Degrees, counter-clockwise from the right, of a position that runs clockwise from the top."""
    return 90.0 - 360.0 * position / _CIRCLE


def _sector(ax: Axes, label: str, start: float, share: float, fill: str) -> None:
    from matplotlib.patches import Wedge

    first, last = 90 - 360 * (start + share), 90 - 360 * start
    ax.add_patch(Wedge((0, 0), _INNER, first, last, facecolor=fill, edgecolor="white", lw=0.8))
    degrees, middle = 360 * share, math.radians((first + last) / 2)
    style: dict[str, Any] = {"color": ink_on(fill), "parse_math": False, "va": "center"}
    if degrees >= _WIDE:
        at = 0.58 * _INNER if share < 1 else 0.0
        text = f"{label}\n{100 * share:.1f} %"
        ax.text(
            at * math.cos(middle), at * math.sin(middle), text, ha="center", fontsize=8, **style
        )  # fmt: skip
    elif degrees >= _FITS:
        right = math.cos(middle) >= 0  # text is never upside down
        ax.text(
            0.97 * _INNER * math.cos(middle),
            0.97 * _INNER * math.sin(middle),
            f"{label}  {100 * share:.1f} %",
            ha="right" if right else "left",
            rotation=math.degrees(middle) + (0 if right else 180),
            rotation_mode="anchor",
            fontsize=min(7.5, 0.95 * degrees),
            **style,
        )


def _finish(ax: Axes, hosts: int, vnodes: int) -> None:
    bare(ax, f"{hosts:,} hosts, {vnodes:,} vnodes on the circle")
    ax.set_aspect("equal")
    ax.set_xlim(-1.12, 1.12)
    ax.set_ylim(-1.06, 1.12)
    ax.axis("off")
    ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=10, color=INK)
    ax.annotate("0", (0, 1.01), ha="center", va="bottom", fontsize=8, color=INK)
