"""How far is the reading?  A bar on stderr, on a terminal, for logs that take a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["reading"]

_WORTH = 16 << 20  # 16 MiB are read in a tenth of a second; below that a bar would only flicker


@contextmanager
def reading(sources: Iterable[str]) -> Iterator[Callable[[int], None] | None]:
    """What to tell each number of bytes read; None where nobody would see a bar."""
    total = _size(sources)
    if not sys.stderr.isatty() or (total is not None and total < _WORTH):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda count: bar.advance(task, count)


def _size(sources: Iterable[str]) -> int | None:
    """How many bytes there are; None where a pipe cannot say."""
    total = 0
    for source in sources:
        path = Path(source)
        try:
            if source == "-" or not path.is_file():
                return None
            total += path.stat().st_size
        except (OSError, ValueError):
            return 0  # the reader will say what is wrong with it
    return total
