"""A resize as a flow diagram: the hosts before on the left, the hosts after on the right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashring.analysis.plots._style import (
    GREY,
    INK,
    PALE,
    apart,
    bare,
    colour,
    host_labels,
    need_matplotlib,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hashring.analysis.planned import PlanReport


_GAP = 0.2  # of the height, between all hosts of a column together
_COLUMN = 0.035
_FINE = 1.15  # a label needs its own height and a little air
_LEFT, _RIGHT = 0.0, 1.0
Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class _Column:
    """Where each host's clients stand in a column: bottom and height, from the top down."""

    places: Mapping[str | None, tuple[float, float]]
    scale: float


def flows(ax: Axes, report: PlanReport) -> Axes:
    """Who gives clients to whom: a ribbon for each flow, as high as it has clients.

    What moves has its old host's colour; what stays is pale.
    """
    need_matplotlib()
    numbers = _pairs(report)
    names = list(dict.fromkeys(host for pair in numbers for host in pair))
    order: list[str | None] = [host.host for host in report.hosts if host.host in names]
    order += [None] if None in names else []
    colours = {name: colour(number) for number, name in enumerate(order)}
    before = _column(order, _sums(numbers, 0))
    after = _column(order, _sums(numbers, 1))
    _ribbons(ax, numbers, order, before, after, colours)
    for column, x, side in ((before, _LEFT, "right"), (after, _RIGHT, "left")):
        _blocks(ax, column, x, side, colours)
    _finish(ax, report)
    return ax


def _pairs(report: PlanReport) -> dict[Pair, int]:
    """Every (host before, host after) with its clients, those that stay too."""
    numbers: dict[Pair, int] = {(f.origin, f.target): f.clients for f in report.flows}
    for host in report.hosts:
        gone = sum(n for (old, _), n in numbers.items() if old == host.host)
        stays = host.clients_before - gone
        if stays:
            numbers[host.host, host.host] = stays
    return numbers


def _sums(numbers: Mapping[Pair, int], side: int) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for pair, clients in numbers.items():
        found[pair[side]] = found.get(pair[side], 0) + clients
    return found


def _column(order: list[str | None], sums: Mapping[str | None, int]) -> _Column:
    present = [name for name in order if sums.get(name)]
    gap = _GAP / max(1, len(present) - 1) if len(present) > 1 else 0.0
    scale = (1 - gap * (len(present) - 1)) / (sum(sums.values()) or 1)
    places, top = {}, 1.0
    for name in present:
        height = scale * sums[name]
        places[name] = (top - height, height)
        top -= height + gap
    return _Column(places, scale)


def _ribbons(
    ax: Axes,
    numbers: Mapping[Pair, int],
    order: list[str | None],
    before: _Column,
    after: _Column,
    colours: Mapping[str | None, str],
) -> None:
    rank = {name: number for number, name in enumerate(order)}
    left = {name: bottom + height for name, (bottom, height) in before.places.items()}
    right = {name: bottom + height for name, (bottom, height) in after.places.items()}
    ends: dict[Pair, tuple[float, float]] = {}
    for pair in sorted(numbers, key=lambda p: (rank[p[0]], rank[p[1]])):
        ends[pair] = (left[pair[0]], 0.0)
        left[pair[0]] -= before.scale * numbers[pair]
    for pair in sorted(numbers, key=lambda p: (rank[p[1]], rank[p[0]])):
        ends[pair] = (ends[pair][0], right[pair[1]])
        right[pair[1]] -= after.scale * numbers[pair]
    # the pale ones first, so that nothing that moves is hidden
    for old, new in sorted(ends, key=lambda pair: pair[0] != pair[1]):
        a, b = ends[old, new]
        high, low = before.scale * numbers[old, new], after.scale * numbers[old, new]
        fill, alpha = (PALE, 0.55) if old == new else (colours[old], 0.8)
        _ribbon(ax, (a, a - high), (b, b - low), fill, alpha)


def _ribbon(
    ax: Axes, left: tuple[float, float], right: tuple[float, float], fill: str, alpha: float
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x0, x1, middle = _LEFT + _COLUMN, _RIGHT - _COLUMN, (_LEFT + _RIGHT) / 2
    corners = [
        (x0, left[0]), (middle, left[0]), (middle, right[0]), (x1, right[0]),
        (x1, right[1]), (middle, right[1]), (middle, left[1]), (x0, left[1]), (x0, left[0]),
    ]  # fmt: skip
    curve, line = Path.CURVE4, Path.LINETO
    codes = [Path.MOVETO, curve, curve, curve, line, curve, curve, curve, Path.CLOSEPOLY]
    patch = PathPatch(Path(corners, codes), facecolor=fill, alpha=alpha, lw=0.3, edgecolor=fill)
    ax.add_patch(patch)


def _blocks(
    ax: Axes, column: _Column, x: float, side: str, colours: Mapping[str | None, str]
) -> None:
    from matplotlib.patches import Rectangle

    names = list(column.places)[::-1]  # from the bottom up, as apart() wants them
    inner = x if side == "right" else x - _COLUMN
    for name in names:
        bottom, height = column.places[name]
        block = Rectangle((inner, bottom), _COLUMN, height, facecolor=colours[name], lw=0)
        ax.add_patch(block)
    middles = [column.places[name][0] + column.places[name][1] / 2 for name in names]
    size = min(8.0, max(4.5, 72 * _inches(ax) / (_FINE * 1.4 * max(1, len(names)))))
    gap = _FINE * 1.25 * size / 72 / _inches(ax)
    outer = x - 0.015 if side == "right" else x + 0.015
    labels = host_labels(names)
    for name, middle, at in zip(names, middles, apart(middles, gap, 0.0, 1.0), strict=True):
        clients = round(column.places[name][1] / column.scale)
        text = f"{labels[name]}  {clients:,}"
        if side == "left":
            text = f"{clients:,}  {labels[name]}"
        ax.text(
            outer, at, text, ha=side, va="center", fontsize=size, color=INK, parse_math=False
        )  # fmt: skip
        if abs(at - middle) > gap / 4:
            ax.plot([x, outer], [middle, at], color=GREY, lw=0.4)


def _inches(ax: Axes) -> float:
    """How high the picture is, less what the title takes."""
    return max(1.0, float(ax.get_figure(root=True).get_size_inches()[1]) - 0.6)  # type: ignore[union-attr]  # it has one


def _finish(ax: Axes, report: PlanReport) -> None:
    share = f"{100 * report.moved.client_share:.1f} %"
    bare(ax, f"{report.moved.clients:,} of {report.clients:,} clients ({share}) move")
    ax.set_xlim(-0.52, 1.52)
    ax.set_ylim(-0.02, 1.02)
    ax.axis("off")
