"""``--plot`` and ``--report``: pictures and pages, checked before a log is read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._options import Function, usage

if TYPE_CHECKING:
    from hashring.analysis import Report


@dataclass(frozen=True)
class Pictures:
    """The files to write; None for none."""

    plot: str | None
    report: str | None

    def check(self) -> None:
        """Report now what would fail after a minute of reading: no matplotlib, a wrong ending."""
        if self.plot is None and self.report is None:
            return
        from hashring.analysis import plots

        plots.figure()
        if self.plot is not None:
            with usage():
                plots.kind_of(self.plot)

    def write(self, report: Report, *, title: str, facts: list[str], **more: Any) -> None:
        """Write both files; some pictures need ``more`` (``counts``, ``ring``)."""
        if self.plot is not None:
            from hashring.analysis import plots

            with _writing(self.plot):
                plots.save(plots.pictures(report)[0], self.plot)
        if self.report is not None:
            import hashring
            from hashring.analysis.page import page

            footer = f"{_now()}, hashring {hashring.__version__}: {_command_line()}"
            made = page(report, title=title, facts=facts, footer=footer, **more)
            with _writing(self.report):
                Path(self.report).write_text(made, encoding="utf-8")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _command_line() -> str:
    """The command line as it can be typed again, without the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise click.ClickException(f"cannot write {path}: {why}") from error


def picture_options(function: Function) -> Function:
    """``--plot`` and ``--report``; ``function`` gets them as one ``draw``, a ``Pictures``."""

    @click.option("--plot", metavar="FILE", help="Write a picture (.png, .svg or .pdf).")
    @click.option("--report", metavar="FILE", help="Write an HTML page with tables and pictures.")
    @wraps(function)
    def with_pictures(*args: Any, plot: str | None, report: str | None, **kwargs: Any) -> Any:
        return function(*args, draw=Pictures(plot, report), **kwargs)

    return with_pictures
