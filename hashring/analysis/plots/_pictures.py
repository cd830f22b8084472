"""Which pictures does a report have?  Each drawn when it is asked for, as SVG, PNG or PDF."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashring.analysis.advise import Advice
from hashring.analysis.advise_trace import TraceAdvice
from hashring.analysis.comparison import Comparison
from hashring.analysis.outcomes import Simulation
from hashring.analysis.planned import PlanReport
from hashring.analysis.plots._circle import circle
from hashring.analysis.plots._clients import client_cdf
from hashring.analysis.plots._comparison import comparison
from hashring.analysis.plots._flows import flows
from hashring.analysis.plots._load import load_over_time
from hashring.analysis.plots._serving import first_tokens, work_over_time
from hashring.analysis.plots._shares import shares, shown_hosts
from hashring.analysis.plots._style import WIDTH, figure, height_for, need_matplotlib
from hashring.analysis.plots._vnodes import peak_by_vnodes
from hashring.analysis.reports import Report
from hashring.analysis.serving import Serving
from hashring.analysis.spread import Spread
from hashring.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hashring.ring import HashRing, RingTable


_KINDS = (".png", ".svg", ".pdf")
_DPI = {"png": 150, "svg": 100, "pdf": 150}  # sharp; an SVG has dots only in a large ring
# An SVG inside a page needs neither prolog nor name spaces, which are addresses; what matplotlib
# adds as metadata is full of them.
_OUTSIDE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)
_NAMESPACES = re.compile(r'\s+xmlns(:\w+)?="[^"]*"')


@dataclass(frozen=True)
class Picture:
    """A title, a size in inches, and what draws it on an ``ax``."""

    title: str
    draw: Callable[[Axes], Axes]
    height: float = 4.0
    width: float = WIDTH

    def figure(self) -> Figure:
        """The picture, drawn."""
        made = figure(self.width, self.height)
        self.draw(made.subplots())
        return made


def pictures(
    report: Report,
    *,
    counts: Mapping[bytes, int] | None = None,
    ring: HashRing | RingTable | None = None,
) -> tuple[Picture, ...]:
    """The pictures of ``report``, the telling one first; ``counts`` and ``ring`` bring more.

    Raises ``ConfigError`` without matplotlib and for a report that has no picture.
    """
    need_matplotlib()
    found = list(_own(report))
    if ring is not None:
        found.append(Picture("The ring", lambda ax: circle(ax, ring), 4.9, 4.8))
    if counts:
        found.append(Picture("Clients", lambda ax: client_cdf(ax, counts), 3.2))
    return tuple(found)


def _own(report: Report) -> Iterator[Picture]:
    if isinstance(report, Spread):
        height = height_for(len(shown_hosts(report)), 1.6)
        yield Picture("Shares", lambda ax: shares(ax, report), height)
    elif isinstance(report, PlanReport):
        height = max(3.4, height_for(len(report.hosts), 0.8))
        yield Picture("Flows", lambda ax: flows(ax, report), height)
    elif isinstance(report, Comparison):
        height = height_for(len(report.candidates), 1.6)
        yield Picture("What moves", lambda ax: comparison(ax, report), height)
    elif isinstance(report, Simulation):
        yield Picture("Load over time", lambda ax: load_over_time(ax, report))
    elif isinstance(report, Serving):
        height = 3.4 + 0.12 * len(report.policies)
        yield Picture("Time to first token", lambda ax: first_tokens(ax, report), height)
        yield Picture("Work over time", lambda ax: work_over_time(ax, report), height)
    elif isinstance(report, TraceAdvice):
        yield from _own(report.steady)
    elif isinstance(report, Advice):
        yield Picture(
            "Peak/mean and vnodes",
            lambda ax: peak_by_vnodes(ax, (report.hosts,), wanted=report.peak),
        )
    else:
        raise ConfigError(f"there is no picture of a {type(report).__name__}")


def save(picture: Picture, path: str | Path) -> None:
    """Write ``picture`` to a .png, .svg or .pdf file, equal bytes for equal reports.

    Raises ``ConfigError`` for another ending, ``OSError`` where it cannot be written.
    """
    Path(path).write_bytes(_render_picture(picture, kind_of(path), fonttype="path"))


def kind_of(path: str | Path) -> str:
    """The kind of picture that the name of a file means; ``ConfigError`` for another.

    >>> kind_of("out.SVG")
    'svg'
    """
    kind = Path(path).suffix.lower()
    if kind not in _KINDS:
        what = repr(kind) if kind else "without an ending"
        raise ConfigError(f"a picture is written as {', '.join(_KINDS)}, not {what}")
    return kind[1:]


def svg(picture: Picture, name: str) -> str:
    """``picture`` as an ``<svg>`` element for a page: no address in it, its ids made of ``name``.

    Equal reports give equal text.
    """
    text = _render_picture(picture, "svg", fonttype="none", salt=name).decode()
    return _NAMESPACES.sub("", _OUTSIDE.sub("", text)).strip()


def _render_picture(picture: Picture, kind: str, *, fonttype: str, salt: str = "hashring") -> bytes:
    import matplotlib

    made = io.BytesIO()
    settings: Any = {"svg.fonttype": fonttype, "svg.hashsalt": salt}
    stamps: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with matplotlib.rc_context(settings), _no_complaints():
        picture.figure().savefig(made, format=kind, dpi=_DPI[kind], metadata=stamps[kind])
    return made.getvalue()


@contextmanager
def _no_complaints() -> Iterator[None]:
    """A name in a script that the font lacks shows as boxes in a PNG: no reason to complain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing", category=UserWarning)
        yield
