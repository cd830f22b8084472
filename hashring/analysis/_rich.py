"""How does a report look on a rich console?  Tables without lines, and its sentence."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hashring.analysis.sheets import Sheet

__all__ = ["rendered", "table"]


def rendered(sheets: Iterable[Sheet], sentence: str) -> Group:
    """Every table under its title, then what they say in one sentence."""
    parts: list[RenderableType] = []
    for sheet in sheets:
        parts += [Text(sheet.title, style="bold"), table(sheet)]
        parts += [Text(sheet.note, style="dim")] if sheet.note else []
        parts.append(Text())
    return Group(*parts, Text(sentence, style="bold"))


def table(sheet: Sheet) -> Table:
    """``sheet`` for a rich console. Cells are never read as markup: names are other people's."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, head in enumerate(sheet.heads):
        if number < sheet.left:
            made.add_column(Text(head), overflow="fold")
        else:
            made.add_column(Text(head), justify="right", no_wrap=True)
    for number, row in enumerate(sheet.rows):
        style = "bold" if number in sheet.strong else ""
        made.add_row(*(Text(cell) for cell in row), style=style)
    return made
