"""Where do pictures and pages go?  ``--plot`` and ``--report``, checked before a log is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._options import Function, usage

if TYPE_CHECKING:
    from hashring.analysis import Report

__all__ = ["Pictures", "picture_options"]


@dataclass(frozen=True)
class Pictures:
    """The files that were asked for; None where one was not."""

    plot: str | None
    report: str | None

    def check(self) -> None:
        """Say now what would go wrong after a minute of reading: no matplotlib, a wrong ending."""
        if self.plot is None and self.report is None:
            return
        from hashring.analysis import plots

        plots.figure()
        if self.plot is not None:
            with usage():
                plots.kind_of(self.plot)

    def write(self, report: Report, *, title: str, facts: list[str], **more: Any) -> None:
        """Write both files; ``more`` is what only some pictures need (``counts``, ``ring``)."""
        if self.plot is not None:
            from hashring.analysis import plots

            with _writing(self.plot):
                plots.save(plots.pictures(report)[0], self.plot)
        if self.report is not None:
            import hashring
            from hashring.analysis.page import page

            footer = f"hashring {hashring.__version__}"
            made = page(report, title=title, facts=facts, footer=footer, **more)
            with _writing(self.report):
                Path(self.report).write_text(made, encoding="utf-8")


@contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise click.ClickException(f"cannot write {path}: {why}") from error


def picture_options(function: Function) -> Function:
    """``--plot`` and ``--report``; ``function`` gets them as one ``draw``, a ``Pictures``."""

    @click.option("--plot", metavar="FILE", help="Draw it into FILE (.png, .svg or .pdf).")
    @click.option("--report", metavar="FILE", help="Write one HTML page with tables and pictures.")
    @wraps(function)
    def with_pictures(*args: Any, plot: str | None, report: str | None, **kwargs: Any) -> Any:
        return function(*args, draw=Pictures(plot, report), **kwargs)

    return with_pictures
