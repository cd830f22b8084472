"""How long does it take to build a ring?  From a list of names to the first look-up."""

from __future__ import annotations

from collections.abc import Iterator

import uhashring

from benchmarks._measure import Timed, host_names, interleaved, times
from benchmarks._report import Row, Table, row
from hashring import HashRing

__all__ = ["run"]

_SIZES = ((10, 160), (10, 512), (100, 160), (100, 512), (1_000, 160), (1_000, 512))
_MS = 1e3


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    sizes = _SIZES[:2] if quick else _SIZES
    rows = [line for hosts, vnodes in sizes for line in _built(hosts, vnodes)]
    yield Table("HashRing(names)", rows)


def _built(hosts: int, vnodes: int) -> Iterator[Row]:
    names = host_names(hosts)
    candidates: dict[str, Timed] = {
        "ring": times(lambda: HashRing(names, vnodes=vnodes), 1),
        "theirs": times(lambda: uhashring.HashRing(nodes=names, vnodes=vnodes), 1),
    }
    done = interleaved(candidates, rounds=3 if hosts >= 1_000 else 9)
    what = f"{hosts:,} hosts x {vnodes}"
    its = f"uhashring {done.median('theirs') * _MS:,.1f} ms"
    yield row(what, done.median("ring") * _MS, "ms", detail=its)
