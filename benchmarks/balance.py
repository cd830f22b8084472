"""How even are the hosts' shares?  Exact arcs, the mean over 20 frozen sets of names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import fmean, pstdev

import uhashring

from benchmarks._measure import host_names
from benchmarks._report import Row, Table, at_most, row
from hashring import HashRing
from hashring.ring.layout import DEFAULT_VNODES, expected_peak

__all__ = ["run"]

_SETS = 20
_PROMISED = {10: at_most(1.09), 100: at_most(1.125)}  # hosts -> mean peak/mean by default
_MD5 = 1 << 128  # uhashring's circle


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    sets = 2 if quick else _SETS
    rows: list[Row] = []
    for hosts in _PROMISED:
        rows += _ours(hosts, DEFAULT_VNODES, sets)
    for hosts in _PROMISED:
        for vnodes in (160, 1_024):
            rows += _ours(hosts, vnodes, sets)
        even = [_their_shares(host_names(hosts, f"pool{n}-web")) for n in range(sets)]
        rows.append(row(f"uhashring, {hosts} hosts x 160", fmean(map(_peak, even)), "peak/mean"))
    note = (
        f"Mean over {sets} frozen sets of names. CoV: the shares' deviation over their mean; in "
        "theory sqrt((n-1) / (nV+1))."
    )
    yield Table("Balance", rows, note)


def _ours(hosts: int, vnodes: int, sets: int) -> Iterator[Row]:
    # the sets differ in the name of the pool
    rings = (HashRing(host_names(hosts, f"pool{n}-web"), vnodes=vnodes) for n in range(sets))
    shares = [list(ring.shares().values()) for ring in rings]
    what = f"{hosts} hosts x {vnodes}" + (", the default" * (vnodes == DEFAULT_VNODES))
    target = _PROMISED[hosts] if vnodes == DEFAULT_VNODES else None
    detail = f"worst {max(map(_peak, shares)):.3f}, theory {expected_peak(vnodes, hosts):.3f}"
    yield row(what, fmean(map(_peak, shares)), "peak/mean", target, detail=detail)
    theory = sqrt((hosts - 1) / (hosts * vnodes + 1))
    measured = fmean(pstdev(one) / fmean(one) for one in shares)
    yield row(f"{what}: CoV", 100 * measured, "%", detail=f"theory {100 * theory:.2f} %")


def _peak(shares: Sequence[float]) -> float:
    return max(shares) / fmean(shares)


def _their_shares(names: list[str]) -> list[float]:
    points = uhashring.HashRing(nodes=names, vnodes=160).get_points()
    owned = dict.fromkeys(names, 0)
    before = points[-1][0] - _MD5  # the first point owns what is beyond the last
    for position, name in points:
        owned[name] += position - before
        before = position
    return [arc / _MD5 for arc in owned.values()]
