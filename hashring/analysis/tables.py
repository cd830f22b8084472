"""What does a report look like as tables?  Rows of text that a terminal and a page both show."""

from __future__ import annotations

from dataclasses import dataclass

from hashring.text import printable


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: the first ``left`` columns are text, the others numbers. Cells are safe to show.

    ``strong`` are the numbers of the rows that matter most.

    >>> ReportTable("hosts", ("host", "share"), (("web1", "50.0 %"),)).rows[0]
    ('web1', '50.0 %')
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    note: str = ""
    strong: frozenset[int] = frozenset()


def percent(fraction: float | None) -> str:
    """A fraction for people; empty for None.

    >>> percent(0.2019)
    '20.2 %'
    """
    return "" if fraction is None else f"{100 * fraction:.1f} %"


def host_label(host: str | None, limit: int = 60) -> str:
    """A host's name for people, in at most ``limit`` characters; None is what the fallback serves.

    Long names tend to differ at an end, so it is the middle that goes.

    >>> host_label("ip-10-0-12-34.eu-central-1.internal:8080", 20)
    'ip-10-0-1...nal:8080'
    """
    name = "(fallback)" if host is None else printable(host, 1000)
    if len(name) <= limit:
        return name
    tail = (limit - 3) // 2
    return f"{name[: limit - 3 - tail]}...{name[-tail:]}"
