"""How fast do hosts come and go?  Adds beside uhashring, and one host over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import uhashring

from benchmarks._measure import clock, host_names, interleaved, times
from benchmarks._report import Row, Table, at_least, at_most, row
from hashring import HashRing, LoadBalancer

__all__ = ["run"]

_VNODES = 160
_BLOCK = 50  # adds of one kind before the other kind's turn
_BLOCKS = 4  # of each: 200 consecutive adds
_MS = 1e3
_FLAPS = 200  # changes of one host


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    hosts, block = (100, 5) if quick else (1_000, _BLOCK)
    size = f"{hosts:,} hosts x {_VNODES} vnodes"
    note = f"{size}, {_BLOCKS * block} consecutive adds of each, in blocks of {block}."
    yield Table("add + first lookup", list(_adds(hosts, block)), note)
    rows = [*_flap(hosts), *_balancer(hosts, 3 if quick else 9)]
    rows += _without(hosts, 3 if quick else 9)
    yield Table("Other changes", rows, f"{size} unless another number is given.")


def _adds(hosts: int, block: int) -> Iterator[Row]:
    ring = HashRing(host_names(hosts), vnodes=_VNODES)
    theirs = uhashring.HashRing(nodes=host_names(hosts), vnodes=_VNODES)
    _add_to_ours(ring, host_names(3, "warm"))
    _add_to_theirs(theirs, host_names(3, "warm"))
    rebuilds = 0
    ours: list[list[float]] = []
    others: list[list[float]] = []
    # Blocks, not single adds in turns: uhashring sorts 160,000 keys at each add, which empties the
    # caches, and an add of ours right after it would measure that.
    for number in range(_BLOCKS):
        newcomers = host_names(block, f"new{number}-")
        took, met = _add_to_ours(ring, newcomers)
        rebuilds += met
        ours.append(took)
        others.append(_add_to_theirs(theirs, newcomers))
    ratio = median(median(b) / median(a) for a, b in zip(ours, others, strict=True))
    mine, its = ([s * _MS for took in blocks for s in took] for blocks in (ours, others))
    detail = f"median {median(mine):.2f} ms, uhashring's add_node alone {median(its):.1f} ms"
    yield row("uhashring over ours", ratio, "times", at_least(15, 30), detail=detail)
    their_worst = at_most(round(max(its), 2))
    met_some = f"{rebuilds} of them rebuilt the index" if rebuilds else "no rebuild was met"
    yield row(f"the worst of {len(mine)}", max(mine), "ms", their_worst, detail=met_some)


def _add_to_ours(ring: HashRing, newcomers: list[str]) -> tuple[list[float], int]:
    took, rebuilds = [], 0
    for name in newcomers:
        before = _cells(ring)
        began = clock()
        ring.add(name)
        ring.lookup("session-1")
        took.append(clock() - began)
        rebuilds += before != _cells(ring)
    return took, rebuilds


def _add_to_theirs(ring: uhashring.HashRing, newcomers: list[str]) -> list[float]:
    took = []
    for name in newcomers:
        began = clock()
        ring.add_node(name)
        took.append(clock() - began)
    return took


def _cells(ring: HashRing) -> int:
    """Another number of cells than before: the index was built, not patched."""
    return len(ring.table.index.cells)


def _flap(hosts: int) -> Iterator[Row]:
    """One host leaves and comes back, over and over."""
    ring = HashRing(host_names(hosts), vnodes=_VNODES)
    changes: tuple[Callable[[str], None], ...] = (ring.remove, ring.add)
    took: list[float] = []
    for number in range(_FLAPS):
        began = clock()
        changes[number % 2]("host7")
        took.append((clock() - began) * _MS)
    detail = f"the worst of {_FLAPS} {max(took):.2f} ms"
    yield row("remove or add one host, over and over", median(took), "ms", detail=detail)


def _without(hosts: int, rounds: int) -> Iterator[Row]:
    for vnodes in (_VNODES, 512):
        table = HashRing(host_names(hosts), vnodes=vnodes).table
        done = interleaved({"one": times(partial(table.without, ["host7"]), 5)}, rounds)
        yield row(f"table.without(one host), x {vnodes} vnodes", done.median("one") * _MS, "ms")


def _balancer(hosts: int, rounds: int) -> Iterator[Row]:
    lb = LoadBalancer(host_names(hosts), placement=HashRing(vnodes=_VNODES))

    def down_and_up() -> None:
        lb.mark_down("host7", "benchmark")
        lb.mark_up("host7")

    def in_and_out() -> None:
        lb.register("one more")
        lb.unregister("one more")

    done = interleaved({"state": times(down_and_up, 5), "pool": times(in_and_out, 5)}, rounds)
    yield row("lb.mark_down + lb.mark_up", done.median("state") * _MS, "ms")
    yield row("lb.register + lb.unregister", done.median("pool") * _MS, "ms")
