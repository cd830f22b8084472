"""How fast is a whole column placed?  Ten million keys at once, beside uhashring's loop.

Two threads work, so the wall clock is what counts here, and the round that was disturbed least:
processor time says what the work costs, but not that two cores share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import polars as pl
import uhashring

from benchmarks._measure import host_names
from benchmarks._report import Row, Table, Target, at_least, row
from hashring import HashRing

__all__ = ["run"]

_SIZES = {  # hosts, vnodes -> M keys a second, M positions a second
    (100, 512): (40, 150),
    (1_000, 160): (40, 75),
    (1_000, 512): (25, 40),
}
_TIMES_UHASHRING = at_least(80)
_LOOP = 20_000  # keys of uhashring's loop: its time a key does not depend on how many there are


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    count, rounds = (200_000, 2) if quick else (10_000_000, 7)
    keys = pl.Series([f"session-{number:08}" for number in range(count)])
    positions = np.random.default_rng(1).integers(0, 1 << 32, count, dtype=np.uint32)
    texts: list[Row] = []
    numbers: list[Row] = []
    for size, (most_keys, most_positions) in _SIZES.items():
        ring = HashRing(host_names(size[0]), vnodes=size[1])
        began = perf_counter()
        ring.assign(keys[:1])
        arrays = f"arrays made once in {(perf_counter() - began) * 1e3:,.0f} ms"
        texts += _texts(ring, keys, rounds, at_least(most_keys), arrays)
        took = _least(lambda ring=ring: ring.assign_positions(positions), rounds)  # type: ignore[misc]  # the default is this turn's ring
        numbers.append(took.row(_size(ring), count, at_least(most_positions)))
    note = f"{count:,} distinct keys of 16 bytes in a polars column; the best of {rounds} rounds."
    yield Table("ring.assign(strings)", texts, note)
    note = f"{count:,} uint32 in a NumPy array; the best of {rounds} rounds."
    yield Table("ring.assign_positions(positions)", numbers, note)


class _Took(NamedTuple):
    """Seconds of the least disturbed round, and of the processor in its cheapest."""

    wall: float
    cpu: float

    def row(self, what: str, count: int, target: Target, more: str = "") -> Row:
        """So many millions a second."""
        detail = f"{self.cpu / count * 1e9:.1f} ns of processor time each{more}"
        return row(what, count / self.wall / 1e6, "M/s", target, detail=detail)


def _texts(
    ring: HashRing, keys: pl.Series, rounds: int, target: Target, arrays: str
) -> Iterator[Row]:
    theirs = uhashring.HashRing(nodes=list(ring.hosts), vnodes=ring.vnodes)
    some = keys[:_LOOP].to_list()

    def loop() -> None:
        for key in some:
            theirs.get_node(key)

    ours = _least(lambda: ring.assign(keys), rounds)
    its = _least(loop, rounds)
    yield ours.row(_size(ring), len(keys), target, f", {arrays}")
    ratio = (its.wall / len(some)) / (ours.wall / len(keys))
    detail = f"get_node in a loop: {its.wall / len(some) * 1e9:,.0f} ns"
    yield row(
        f"{_size(ring)}: uhashring over ours", ratio, "times", _TIMES_UHASHRING, detail=detail
    )


def _size(ring: HashRing) -> str:
    return f"{len(ring):,} hosts x {ring.vnodes}"


def _least(work: Callable[[], object], rounds: int) -> _Took:
    work()
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = perf_counter(), process_time()
        work()
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return _Took(min(walls), min(cpus))
