"""Is the spread what counting by hand gives, and measured against the fair shares?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import PlacedHosts, spread
from hashring.analysis.balance import Balance
from hashring.hosts import Host
from hashring.keys import Key, key_bytes

COUNTS = {b"client-%d" % i: 1 + i % 7 for i in range(500)}


class EvenOnly:
    """A table that hashes only keys of even length, as some programs leave some keys alone."""

    hosts = ("a",)
    fingerprint = "even"

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        return None if len(key_bytes(key)) % 2 else "a"

    def walk(self, key: Key) -> Iterator[str]:
        return iter(self.hosts)

    def without(self, names: Iterable[str]) -> EvenOnly:
        return self


@given(st.dictionaries(st.binary(min_size=1, max_size=6), st.integers(1, 50), min_size=1))
def test_a_spread_is_what_counting_by_hand_gives(counts: dict[bytes, int]) -> None:
    pool = PlacedHosts.of({"a": 1, "b": 2, "c": 0.5}, vnodes=8)
    report = spread(counts, pool)
    for host in report.hosts:
        mine = [key for key in counts if pool.table.lookup(key) == host.host]
        assert host.clients == len(mine)
        assert host.requests == sum(counts[key] for key in mine)
        assert host.request_share == host.requests / sum(counts.values())
    assert sum(host.fair for host in report.hosts) == pytest.approx(1)
    assert sum(host.arc or 0 for host in report.hosts) == pytest.approx(1)
    assert [hot.requests for hot in report.hottest] == sorted(counts.values(), reverse=True)[:10]
    json.dumps(report.to_dict())


def test_equal_weights_give_the_common_measures() -> None:
    report = spread(COUNTS, PlacedHosts.of(list("abcd")))
    requests = [host.requests for host in report.hosts]
    assert report.request_balance.peak == pytest.approx(max(requests) / fmean(requests))
    assert report.request_balance.cov == pytest.approx(pstdev(requests) / fmean(requests))


def test_a_heavy_host_with_its_fair_share_is_not_a_peak() -> None:
    assert Balance.of([(0.75, 0.75), (0.25, 0.25)]) == Balance(peak=1.0, cov=0.0, gini=0.0)


def test_ties_among_the_hottest_do_not_depend_on_order() -> None:
    pool = PlacedHosts.of(["a"])
    forward = {b"%02d" % i: 1 for i in range(30)}
    backward = dict(reversed(forward.items()))
    assert spread(forward, pool) == spread(backward, pool)


def test_what_a_placement_does_not_hash_is_counted_apart() -> None:
    pool = PlacedHosts((Host("a"),), EvenOnly())
    report = spread({b"xx": 3, b"y": 5}, pool)
    assert (report.unrouted_clients, report.unrouted_requests) == (1, 5)
    assert report.hosts[0].request_share == 1.0
    assert report.arc_balance is None
    assert [hot.host for hot in report.hottest] == [None, "a"]
