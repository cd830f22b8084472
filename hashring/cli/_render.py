"""Reports on a terminal: numbers to the right, bars in the width that is left."""

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

from hashring.analysis._rich import grid, rich_table
from hashring.analysis.tables import host_label
from hashring.text import printable

if TYPE_CHECKING:
    from hashring.analysis import Clients, Report
    from hashring.cli._options import PoolOptions

_BAR = 8  # columns of a bar before names are shortened
_NAME = 12  # columns of a name in any case
_DROPPED_FIRST = ("weight", "fair", "arc", "requests", "clients")
"""Columns of a host table that give way in a narrow terminal, in this order."""

_BLOCKS = ("█", "▓", "░")  # a share up to its fair one, above it, and what is missing to it
_ASCII = ("#", "+", ".")


@contextmanager
def page() -> Iterator[Console]:
    """A console whose text goes to stdout at the end: in colour on a terminal, plain elsewhere.

    Nothing is read as markup: names of hosts and clients come from outside.
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


def facts(pool: PoolOptions, hosts: str, clients: Clients) -> list[str]:
    """The lines under the title of a page."""
    read = "".join(log_parts(clients))
    return [placement_text(pool, hosts), read, *kind_lines(clients), *clients.warnings]


def log_parts(clients: Clients) -> tuple[str, str, str]:
    """The sources, format and used lines; the unused lines; the clients."""
    sources = ", ".join(printable(source, 40) for source in clients.sources[:3])
    more = len(clients.sources) - 3
    sources += f" and {more:,} more" if more > 0 else ""
    bad = f"{clients.unreadable:,} unreadable"
    if clients.first_unreadable is not None:
        where = _line(clients, clients.first_unreadable, clients.first_unreadable_in)
        bad += f" (the first is {where})"
    before = f"{sources}: {clients.format}, {clients.used:,} lines used, "
    return before, bad, f", {len(clients.counts):,} clients"


def kind_lines(clients: Clients) -> list[str]:
    """Why lines were not used: each kind, its number, and the place of the first."""
    return [
        f"{bad.lines:,} {bad.kind}, "
        + "the first is " * (bad.lines > 1)
        + _line(clients, bad.first, bad.source)
        for bad in clients.kinds
    ]


def _line(clients: Clients, number: int, source: str | None) -> str:
    several = len(clients.sources) > 1
    return f"line {number:,}" + (f" of {printable(source or '', 40)}" if several else "")


def placement_text(pool: PoolOptions, hosts: str) -> str:
    """The hosts, the placement and its options."""
    settings = ", ".join(f"{k}={v}" for k, v in pool.settings().items())
    return f"{hosts}, placement {pool.placement}" + (f" ({settings})" if settings else "")


def log_line(clients: Clients) -> Text:
    """The sources, format, used and unused lines and clients; then why lines were not used."""
    before, bad, after = log_parts(clients)
    text = Text(before)
    text.append(bad, style="yellow" if clients.unreadable else "")
    text.append(after)
    for line in kind_lines(clients):
        text.append(f"\n  {line}", style="yellow")
    return text


def placement_line(pool: PoolOptions, hosts: str) -> Text:
    """The hosts, the placement and its options."""
    return Text(placement_text(pool, hosts))


def print_report(title: str, about: Sequence[str | Text], report: Report) -> None:
    """A whole report: its title, facts, tables and summary."""
    with page() as out:
        out.print(title, style="bold")
        for line in about:
            out.print(line)
        out.print()
        for part in report.tables():
            out.print(part.title, style="bold")
            out.print(rich_table(part, out.width))
            if part.note:
                out.print(part.note, style="dim")
            out.print()
        out.print(report.sentence(), style="bold", soft_wrap=not out.is_terminal)


def host_table(out: Console, heads: tuple[str, ...], rows: list[HostRow]) -> Table:
    """One line per host: its name, its numbers under ``heads``, a bar in the width that is left."""
    longest = max(len(row.host) for row in rows)
    kept = list(range(len(heads)))

    def room() -> int:
        """Columns that the numbers leave for names."""
        widths = (
            max(len(heads[column]), *(len(row.cells[column]) for row in rows)) for column in kept
        )
        return out.width - sum(2 + width for width in widths) - 2

    for head in _DROPPED_FIRST:
        if room() < min(longest, _NAME) and head in heads:
            kept.remove(heads.index(head))
    with_bar = room() - min(longest, _NAME) > _BAR
    width = max(_NAME, room() - (_BAR + 2 if with_bar else 0))
    table = grid(["  host", *(heads[column] for column in kept)])
    table.columns[0].no_wrap = True
    table.columns[0].min_width = 2 + min(longest, width)
    if with_bar:
        table.expand = True
        table.add_column("", ratio=1)
    for row in rows:
        name = Text(f"{row.sign} {host_label(row.host, width)}", style=row.style)
        cells = [row.cells[column] for column in kept]
        table.add_row(name, *cells, *([row.bar] if with_bar else []))
    return table


def legend(out: Console, what: str) -> Text:
    """The meaning of the signs of a bar."""
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
