"""How does a report look on a rich console?  Tables without lines, and its sentence."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hashring.analysis.sheets import Sheet

_NAME = 12  # columns of a name in any case


def rendered(sheets: Iterable[Sheet], sentence: str) -> Group:
    """Every table under its title, then what they say in one sentence."""
    parts: list[RenderableType] = []
    for sheet in sheets:
        parts += [Text(sheet.title, style="bold"), table(sheet)]
        parts += [Text(sheet.note, style="dim")] if sheet.note else []
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


def table(sheet: Sheet, width: int | None = None) -> Table:
    """``sheet`` as a table; in a narrow ``width`` its last numbers give way, names never do.

    Cells are not read as markup, because names come from outside.
    """
    widths = [
        max([len(head), *(len(row[column]) for row in sheet.rows)])
        for column, head in enumerate(sheet.heads)
    ]
    names = [min(_NAME, longest) for longest in widths[: sheet.left]]
    kept = len(widths)
    while kept > sheet.left and width is not None:
        if sum(names) + sum(widths[sheet.left : kept]) + 2 * (kept - 1) <= width:
            break
        kept -= 1
    made = grid(sheet.heads[:kept], sheet.left)
    for column, least in zip(made.columns, names, strict=False):
        column.min_width = least
    for number, row in enumerate(sheet.rows):
        style = "bold" if number in sheet.strong else ""
        made.add_row(*(Text(cell) for cell in row[:kept]), style=style)
    return made
