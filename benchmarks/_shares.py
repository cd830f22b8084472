"""Which share of all keys does each host own?  Exactly where a table tells, else by counting.

To count is to sample: with m keys a host, even shares scatter by 1 / sqrt(m), and the greatest of
many hosts lies well above the mean. ``sampled_peak`` says how far, so that it can be told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from statistics import fmean
from typing import cast

from hashring.placement import Table
from hashring.placement._circle import CircleTable
from hashring.placement.envoy_maglev import MaglevTable
from hashring.placement.multiprobe import MultiprobeTable
from hashring.placement.varnish_shard import VarnishShardTable
from hashring.ring import RingTable
from hashring.ring.arcs import shares
from hashring.ring.index import Index

__all__ = ["counted_peak", "exact_shares", "peak", "sampled_peak"]

_DRAWS = 10  # the peak of one draw deviates by some percent of what sampling adds: a third of that


def exact_shares(table: Table) -> list[float] | None:
    """The shares of hash values spread evenly; None where they are not known without counting."""
    match table:
        case RingTable():
            return list(table.shares().values())
        case CircleTable():
            # a label is None only while hosts are down
            index = cast("Index[str]", table._index)
            return list(shares(index.vnodes(), index.labels, table.hosts, index.bits).values())
        case MaglevTable():
            slots = Counter(table._slots)
            return [slots[code] / len(table._slots) for code in range(len(table.hosts))]
        case VarnishShardTable():
            return _sharded(table)
        case MultiprobeTable():
            return _probed(table)
    return None


def _sharded(table: VarnishShardTable) -> list[float]:
    owned = dict.fromkeys(table.hosts, 0)
    before = -1
    for point, name in zip(table._points, table._owners, strict=True):
        owned[name] += point - before
        before = point
    owned[table._owners[-1]] += (1 << 32) - 1 - before  # beyond the last point, the last owns
    return [arc / (1 << 32) for arc in owned.values()]


def _probed(table: MultiprobeTable) -> list[float]:
    """Exact for k independent probes; the table's own probes, in equal steps, are close to that.

    Over 1,500,000 keys a host's count deviates by 0.4 % from these shares, sampling taken off.

    With S(x) the chance that a probe is further than x from its vnode, a vnode with the gap g
    before it owns the integral of k S^(k-1) from 0 to g. S falls in straight pieces from gap to
    gap, so each piece of the integral is (S(a)^k - S(b)^k) / (gaps that are as long).
    """
    places, probes = table._places, table._probes
    behind = [places[-1] - (1 << 64), *places]
    gaps = sorted(
        ((place - before) / (1 << 64), code)
        for before, place, code in zip(behind, places, table._codes, strict=False)
    )
    owned = [0.0] * len(table.hosts)
    reached, further, integral = 0.0, 1.0, 0.0
    for shorter, (gap, code) in enumerate(gaps):
        as_long = len(gaps) - shorter
        beyond = max(0.0, further - as_long * (gap - reached))
        integral += (further**probes - beyond**probes) / as_long
        owned[code] += integral
        reached, further = gap, beyond
    return owned


def peak(shares: Sequence[float]) -> float:
    """The greatest over the mean."""
    return max(shares) / fmean(shares)


def counted_peak(owners: Iterable[str | None], hosts: Sequence[str]) -> float:
    """The greatest count over the mean; a key without an owner counts for nobody."""
    counts = Counter(owners)
    return peak([counts[name] for name in hosts])


def sampled_peak(shares: Sequence[float], keys: int) -> float:
    """What counting ``keys`` keys shows on average where hosts have these shares."""
    random = Random(1)
    codes = range(len(shares))
    draws = (Counter(random.choices(codes, shares, k=keys)) for _ in range(_DRAWS))
    return fmean(peak([counts[code] for code in codes]) for counts in draws)
