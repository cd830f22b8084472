"""How does a report look?  Numbers right-aligned, bars as wide as the terminal lets them be."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from hashring.analysis._formats import show
from hashring.analysis._rich import table as sheet_table
from hashring.analysis.sheets import named as name_of
from hashring.analysis.sheets import percent
from hashring.cli._facts import kind_lines, log_parts, placement_text

if TYPE_CHECKING:
    from hashring.analysis import Clients, Report
    from hashring.cli._options import Pool

__all__ = [
    "Bar",
    "HostRow",
    "arrow",
    "host_table",
    "legend",
    "log_line",
    "name_of",
    "page",
    "percent",
    "placement_line",
    "print_report",
    "sheet",
    "sheet_table",
    "show",
]

_BAR = 8  # columns a bar gets before names give way: an eighth is still seen
_NAME = 12  # columns a name keeps in any case
_BLOCKS = ("█", "▓", "░")  # a share up to its fair one, above it, and what is missing to it
_ASCII = ("#", "+", ".")


@contextmanager
def page() -> Iterator[Console]:
    """A console whose text goes to stdout at the end: in colour on a terminal, plain elsewhere.

    Nothing is ever read as markup: names of hosts and clients are other people's text.
    """
    out = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    with out.capture() as captured:
        yield out
    text = captured.get()
    if not out.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    sys.stdout.write(text)  # click.echo() would overrule an encoding that is ASCII


def arrow(before: int, after: int, width: int) -> str:
    """``before -> after``, both right-aligned in ``width`` characters.

    >>> arrow(5, 1200, 5)
    '    5 -> 1,200'
    """
    return f"{before:>{width},} -> {after:>{width},}"


def log_line(clients: Clients) -> Text:
    """What was read: sources, format, lines used and not used, clients; then why not used."""
    before, bad, after = log_parts(clients)
    text = Text(before)
    text.append(bad, style="yellow" if clients.unreadable else "")
    text.append(after)
    for line in kind_lines(clients):
        text.append(f"\n  {line}", style="yellow")
    return text


def placement_line(pool: Pool, hosts: str) -> Text:
    """Which hosts, under which placement, with which options."""
    return Text(placement_text(pool, hosts))


def print_report(title: str, about: Sequence[str | Text], report: Report) -> None:
    """A whole report: its title, what it was made of, its tables, and its sentence."""
    with page() as out:
        out.print(title, style="bold")
        for line in about:
            out.print(line)
        out.print()
        for part in report.sheets():
            out.print(part.title, style="bold")
            out.print(sheet_table(part))
            if part.note:
                out.print(part.note, style="dim")
            out.print()
        out.print(report.sentence(), style="bold", soft_wrap=not out.is_terminal)


def sheet(*columns: str, left: int = 1) -> Table:
    """A table without lines: the first ``left`` columns to the left, the others to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        if number < left:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def host_table(out: Console, heads: tuple[str, ...], rows: list[HostRow]) -> Table:
    """One line a host: its name, its numbers under ``heads``, a bar in the width that is left."""
    fixed = sum(
        2 + max(len(head), *(len(row.cells[column]) for row in rows))
        for column, head in enumerate(heads)
    )
    room = out.width - fixed - 2 - _BAR
    table = sheet("  host", *heads)
    table.expand = True
    longest = max(len(row.host) for row in rows) + 2
    table.columns[0].min_width = min(longest, _NAME)  # where all is too wide, numbers give way
    table.add_column("", ratio=1)
    for row in rows:
        name = name_of(row.host, max(_NAME, room - 2))
        table.add_row(Text(f"{row.sign} {name}", style=row.style), *row.cells, row.bar)
    return table


def legend(out: Console, what: str) -> Text:
    """What the signs of a bar mean."""
    full, over, under = _signs(out.encoding)
    return Text(f"{full} {what}  {over} above its fair share  {under} below it", style="dim")


@dataclass(frozen=True)
class HostRow:
    """One line of a ``host_table``."""

    host: str
    cells: tuple[str, ...]
    bar: Bar
    sign: str = " "
    style: str = ""


class Bar:
    """A share beside its fair share, drawn in the width that is left; ``scale`` fills it."""

    def __init__(self, share: float, fair: float, scale: float) -> None:
        self.share = share
        self.fair = fair
        self.scale = scale or 1.0

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(4, options.max_width), options.max_width)

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> Iterator[Text]:
        full, over, under = _signs(out.encoding)
        share = round(options.max_width * self.share / self.scale)
        fair = round(options.max_width * self.fair / self.scale)
        bar = Text(no_wrap=True, overflow="crop")
        bar.append(full * min(share, fair), style="cyan")
        bar.append(over * (share - fair), style="yellow")
        yield bar.append(under * (fair - share), style="dim")


def _signs(encoding: str) -> tuple[str, str, str]:
    try:
        "".join(_BLOCKS).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _BLOCKS
