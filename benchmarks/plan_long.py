"""How long does ``hashring plan`` take on a log of two gigabytes?  Asked for by name: minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._measure import host_names
from benchmarks._process import launch, python_into
from benchmarks._report import Table, at_most, row

__all__ = ["run"]

_CHANGE = ("--hosts", ",".join(host_names(10)), "--add", "host10")


def run(quick: bool) -> Iterator[Table]:
    """The table of this benchmark; the log is made in the system's folder for temporary files."""
    lines, clients = (20_000, 2_000) if quick else (10_000_000, 1_000_000)
    with TemporaryDirectory() as folder:
        log = Path(folder, "access.log")
        made = ("--lines", str(lines), "--clients", str(clients))
        python_into(log, "-m", "hashring", "sample-log", *made)
        took = launch("-m", "hashring", "plan", str(log), *_CHANGE)
        detail = f"a log of {log.stat().st_size / 1e6:,.0f} MB"
    note = f"{lines:,} lines in the combined format, {clients:,} clients, 10 hosts and 1 more."
    rows = [
        row("time", took.seconds, "s", at_most(60), detail=detail),
        row("peak memory", took.peak, "MB", at_most(1_000)),
    ]
    yield Table("hashring plan, a large log", rows, note)
