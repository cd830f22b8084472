"""How long do exact answers take?  Shares of one ring, differences of two."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks._measure import host_names, interleaved, times
from benchmarks._report import Table, at_most, row
from hashring import HashRing

__all__ = ["run"]


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    hosts = 50 if quick else 1_000
    ring = HashRing(host_names(hosts))
    grown = ring.copy()
    grown.add("one more")
    other = ring.copy()
    other.set_hosts(host_names(hosts // 2) + host_names(hosts // 2, "other"))
    done = interleaved(
        {
            "shares": times(ring.shares, 1),
            "diff": times(lambda: ring.diff(grown), 1),
            "half": times(lambda: ring.diff(other), 1),
        },
        rounds=3 if quick else 5,
    )
    rows = [
        row("shares()", done.median("shares"), "s"),
        row("diff() of one host more", done.median("diff"), "s", at_most(1)),
        row("diff() of half the hosts exchanged", done.median("half"), "s", at_most(1)),
    ]
    yield Table("Exact arcs", rows, f"{hosts:,} hosts x 512 vnodes.")
