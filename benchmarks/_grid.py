"""How do many candidates read beside each other?  One line each, one column a property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks._report import Table

__all__ = ["Grid", "grid"]


@dataclass(frozen=True, slots=True)
class Grid(Table):
    """A table with columns of its own and no targets."""

    head: tuple[str, ...] = ()
    lines: Sequence[tuple[str, ...]] = ()

    def cells(self, *, quick: bool) -> list[tuple[str, ...]]:
        """The lines as they are: nothing is judged."""
        return list(self.lines)


def grid(title: str, head: Sequence[str], lines: Sequence[Sequence[str]], note: str) -> Grid:
    """The first column is a name, the others are numbers, which align at the right."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]

    def aligned(line: Sequence[str]) -> tuple[str, ...]:
        return line[0], *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))

    return Grid(title, (), note, head=aligned(head), lines=[aligned(line) for line in lines])
