"""How long does ``hashring plan`` take on a large log?  The command as a user runs it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks._measure import host_names
from benchmarks._process import Took, launch, python_into
from benchmarks._report import Row, Table, at_most, row

__all__ = ["run"]

_CHANGE = ("--hosts", ",".join(host_names(10)), "--add", "host10")


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    lines, clients, runs = (20_000, 2_000, 1) if quick else (1_000_000, 100_000, 3)
    with TemporaryDirectory() as folder:
        log = Path(folder, "access.log")
        made = ("--lines", str(lines), "--clients", str(clients))
        python_into(log, "-m", "hashring", "sample-log", *made)
        note = f"{lines:,} lines in the combined format, {clients:,} clients, 10 hosts and 1 more."
        yield Table("hashring plan", [*_plain(log, runs), *_packed(log)], note)


def _plain(log: Path, runs: int) -> Iterator[Row]:
    _plan(log)  # so that the log is in the system's cache for all runs
    done = [_plan(log) for _ in range(runs)]
    seconds = median(took.seconds for took in done)
    detail = f"a log of {log.stat().st_size / 1e6:,.0f} MB, median of {runs}"
    yield row("plain, time", seconds, "s", at_most(4.5), detail=detail)
    yield row("plain, peak memory", max(took.peak for took in done), "MB", at_most(150))


def _packed(log: Path) -> Iterator[Row]:
    packed = log.with_suffix(".log.gz")
    # level 1: what is measured is the reading, and any level reads alike
    with log.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    took = _plan(packed)
    yield row("gzip, time", took.seconds, "s")
    yield row("gzip, peak memory", took.peak, "MB")


def _plan(log: Path) -> Took:
    return launch("-m", "hashring", "plan", str(log), *_CHANGE)
