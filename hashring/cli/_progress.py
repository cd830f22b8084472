"""A progress bar on stderr, on a terminal, for logs that take a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SMALLEST = 16 << 20  # bytes: read in a tenth of a second, in which a bar would only flicker


@contextmanager
def reading(sources: Iterable[str]) -> Iterator[Callable[[int], None] | None]:
    """A function to call with each number of bytes read; None without a bar."""
    total = _size(sources)
    if not sys.stderr.isatty() or (total is not None and total < _SMALLEST):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None] | None]:
    """A function to call with each number of steps done; None where there is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _size(sources: Iterable[str]) -> int | None:
    """The number of bytes; None for a pipe, which has no size."""
    total = 0
    for source in sources:
        path = Path(source)
        try:
            if source == "-" or not path.is_file():
                return None
            total += path.stat().st_size
        except (OSError, ValueError):
            return 0  # the reader will report the error
    return total
