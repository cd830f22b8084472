"""How does a result read?  What was measured, beside its target, as plain text or markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import hashring

__all__ = ["Row", "Table", "Target", "as_markdown", "as_text", "at_least", "at_most", "row"]

_HEAD = ("what", "measured", "target", "verdict")
_LIBRARIES = (
    *("mmh3", "sortedcontainers", "numpy", "polars", "polars-hash"),
    *("uhashring", "pymemcache"),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that was promised, and perhaps a stretch that would be better still."""

    bound: float
    stretch: float | None
    most: bool

    def verdict(self, value: float) -> str:
        """``ok``, ``ok, stretch met`` or ``MISSED``."""
        if not self._holds(value, self.bound):
            return "MISSED"
        if self.stretch is not None and self._holds(value, self.stretch):
            return "ok, stretch met"
        return "ok"

    def _holds(self, value: float, bound: float) -> bool:
        return value <= bound if self.most else value >= bound

    def shown(self, unit: str) -> str:
        """The bound in its unit."""
        text = f"{'<=' if self.most else '>='} {self.bound:,g} {unit}"
        return text if self.stretch is None else f"{text} (stretch {self.stretch:,g})"


def at_most(bound: float, stretch: float | None = None) -> Target:
    """The measured number shall not be above ``bound``."""
    return Target(bound, stretch, most=True)


def at_least(bound: float, stretch: float | None = None) -> Target:
    """The measured number shall not be below ``bound``."""
    return Target(bound, stretch, most=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; without a target it is only reported."""

    what: str
    measured: str
    target: str = ""
    verdict: str = ""


def row(
    what: str, value: float, unit: str, target: Target | None = None, *, detail: str = ""
) -> Row:
    """A number in its unit beside its target; ``detail`` says what it was made of."""
    measured = f"{_number(value)} {unit}" + (f" ({detail})" if detail else "")
    if target is None:
        return Row(what, measured)
    return Row(what, measured, target.shown(unit), target.verdict(value))


def _number(value: float) -> str:
    size = abs(value)
    decimals = 0 if size >= 1_000 else 1 if size >= 10 else 2 if size >= 2 else 3
    return f"{value:,.{decimals}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under one title; ``note`` says how they were measured."""

    title: str
    rows: Sequence[Row]
    note: str = ""
    head: tuple[str, ...] = field(default=_HEAD, init=False)

    def cells(self, *, quick: bool) -> list[tuple[str, ...]]:
        """The rows as text; a quick run measures too little for a verdict."""
        return [(r.what, r.measured, r.target, "" if quick else r.verdict) for r in self.rows]


def as_text(table: Table, *, quick: bool) -> str:
    """Aligned columns for a terminal."""
    lines = [table.head, *table.cells(quick=quick)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    note = [table.note] if table.note else []
    return "\n".join([table.title, *note, *("  " + line for line in text), ""])


def as_markdown(tables: Iterable[Table], command: str, *, quick: bool) -> str:
    """A page: the machine, the command, every table. Nothing in it names the machine's owner."""
    page = ["# Benchmarks", "", *(f"- {fact}" for fact in _machine()), f"- `{command}`", ""]
    if quick:
        page += ["A quick run: it shows that the benchmarks work, and the numbers mean little.", ""]
    for table in tables:
        page += [f"## {table.title}", ""]
        page += [table.note, ""] if table.note else []
        page += [_line(table.head), _line("---" for _ in table.head)]
        page += [_line(cells) for cells in table.cells(quick=quick)]
        page.append("")
    return "\n".join(page)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _machine() -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return [
        f"{_cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        f"hashring {hashring.__version__}, {libraries}",
    ]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
