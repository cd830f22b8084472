"""A report on a rich console: tables without lines, and its sentence."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hashring.analysis.tables import ReportTable

_NAME = 12  # columns of a name in any case


def render(tables: Iterable[ReportTable], sentence: str) -> Group:
    """Every table under its title, then the result in one sentence."""
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Text(table.title, style="bold"), rich_table(table)]
        parts += [Text(table.note, style="dim")] if table.note else []
        parts.append(Text())
    return Group(*parts, Text(sentence, style="bold"))


def grid(heads: Iterable[str], left: int = 1) -> Table:
    """A table without lines: the first ``left`` columns to the left, the others to the right."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        if number < left:
            made.add_column(Text(head), overflow="fold")
        else:
            made.add_column(Text(head), justify="right", no_wrap=True)
    return made


def rich_table(table: ReportTable, width: int | None = None) -> Table:
    """``table`` as a table; in a narrow ``width`` its last numbers give way, names never do.

    Cells are not read as markup, because names come from outside.
    """
    widths = [
        max([len(head), *(len(row[column]) for row in table.rows)])
        for column, head in enumerate(table.heads)
    ]
    names = [min(_NAME, longest) for longest in widths[: table.left]]
    kept = len(widths)
    while kept > table.left and width is not None:
        if sum(names) + sum(widths[table.left : kept]) + 2 * (kept - 1) <= width:
            break
        kept -= 1
    made = grid(table.heads[:kept], table.left)
    for column, least in zip(made.columns, names, strict=False):
        column.min_width = least
    for number, row in enumerate(table.rows):
        style = "bold" if number in table.strong else ""
        made.add_row(*(Text(cell) for cell in row[:kept]), style=style)
    return made
