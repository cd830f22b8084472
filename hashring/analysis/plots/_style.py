"""How do all pictures look?  Colours, sizes, and names that are text and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from hashring.analysis.tables import host_label
from hashring.errors import requires_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's, without black; in an order in which neighbours differ in lightness too.
Source: Okabe and Ito, Color Universal Design, 2008."""

INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
WIDTH = 5.2  # inches: 8-point text is still read where a phone shows it at three quarters
_ROW = 0.19  # inches a line of 8-point text needs
NAME = 18  # characters of a host's name beside an axis: a fifth of the picture
_TITLE = 48  # characters of 10 points that fit beside the labels of an axis
_DARK = frozenset({"#0072B2", "#D55E00", "#009E73"})  # white text is easier to read on these


def need_matplotlib() -> None:
    """``ConfigError`` that names the extra where matplotlib is not installed."""
    with requires_extra("plots", "plots"):
        import_module("matplotlib")


def figure(width: float = WIDTH, height: float = 4.0) -> Figure:
    """A figure of a size in inches, without pyplot: nothing to close, no global state.

    >>> figure(height=2).get_size_inches().tolist()
    [5.2, 2.0]
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def colour(number: int) -> str:
    """The colour of the host number ``number``; they repeat after seven."""
    return COLOURS[number % len(COLOURS)]


def ink_on(background: str) -> str:
    """The colour of text on ``background``."""
    return "white" if background in _DARK else INK


def host_labels(names: Iterable[str | None], limit: int = NAME) -> dict[str | None, str]:
    """Each name as a label of at most ``limit`` characters that differs from the others.

    Of long names, the part that they share is cut first, because it distinguishes nothing.

    >>> names = [f"ip-10-0-12-{i}.eu-central-1.compute.internal" for i in range(3)]
    >>> list(host_labels(names).values())
    ['...-0-12-0.eu-c...', '...-0-12-1.eu-c...', '...-0-12-2.eu-c...']
    """
    full = {name: host_label(name, 200) for name in names}
    texts_by_label: dict[str, set[str]] = {}
    for text in full.values():
        texts_by_label.setdefault(host_label(text, limit), set()).add(text)
    labels = {}
    for short, texts in texts_by_label.items():
        first, last = _differ(texts) if len(texts) > 1 else (0, 0)
        for text in texts:
            labels[text] = _cut(text, first, len(text) - last, limit) if len(texts) > 1 else short
    return {name: labels[text] for name, text in full.items()}


def _differ(texts: Iterable[str]) -> tuple[int, int]:
    """How many characters all ``texts`` share at their beginning, and then at their end."""
    low, *_, high = sorted(texts)  # what these two share, those between share too
    first = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False)))
    low, *_, high = sorted(text[first:][::-1] for text in texts)
    last = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False)))
    return first, last


def _cut(text: str, first: int, last: int, limit: int) -> str:
    """``text`` around ``text[first:last]`` in at most ``limit`` characters."""
    spare = limit - (last - first) - 6  # two times three dots
    if spare < 0:
        return host_label(text[first:last], limit)
    begin = max(0, first - (spare + 1) // 2)
    piece = text[begin : begin + limit - 6]
    left = "..." if begin else ""
    return f"{left}{piece}..." if begin + len(piece) < len(text) else f"{left}{piece}"


def height_for(count: int, extra: float = 1.2) -> float:
    """The inches that ``count`` lines of labels need, and ``extra`` for what is around them."""
    return max(2.4, _ROW * count + extra)


def rows(ax: Axes, names: Sequence[str | None]) -> None:
    """One line for each name, from the top down, as labels of the y axis."""
    # parse_math: a $ in a name is a $
    labels = host_labels(names)
    ax.set_yticks(range(len(names)), [labels[n] for n in names], parse_math=False, fontsize=8)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)


def bare(ax: Axes, title: str, **labels: str) -> None:
    """A title to the left, no box, small ticks: what is not data steps back."""
    ax.set_title(host_label(title, _TITLE), loc="left", fontsize=10, color=INK, parse_math=False)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GREY)
    ax.tick_params(labelsize=8, color=GREY)
    settings: dict[str, Any] = {"fontsize": 9, "color": INK}
    if "x" in labels:
        ax.set_xlabel(labels["x"], **settings)
    if "y" in labels:
        ax.set_ylabel(labels["y"], **settings)


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near to ``wanted`` (ascending) as they can be with ``gap`` between them.

    Where they do not fit between ``low`` and ``high``, they are spread evenly.

    >>> apart([0.0, 0.1, 5.0], 1.0, 0.0, 10.0)
    [0.0, 1.0, 5.0]
    >>> apart([9.0, 9.5], 1.0, 0.0, 10.0)
    [9.0, 10.0]
    """
    count = len(wanted)
    if count > 1 and gap * (count - 1) > high - low:
        return [low + (high - low) * i / (count - 1) for i in range(count)]
    placed: list[float] = []
    for at in wanted:
        placed.append(max(at, low if not placed else placed[-1] + gap))
    limit = high
    for i in reversed(range(count)):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed
