"""The positions that a host owns, and those that move, against a naive ring."""

from __future__ import annotations

import pickle
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError, UnknownHostError
from hashring.hosts import Host
from hashring.ring import Diff, HashRing, layout
from tests.ring.inputs import MANY_TIES, TIES, memberships, quantised, rings
from tests.ring.naive import CIRCLE, NaiveRing

MASKS = st.sampled_from([CIRCLE - 1, TIES, MANY_TIES])


@given(memberships(), st.integers(1, 16), MASKS)
def test_ranges_cut_the_circle_at_its_owners(
    hosts: dict[str, float], vnodes: int, mask: int
) -> None:
    with patch.object(layout, "vnode_positions", quantised(mask)):
        ring = HashRing(hosts, vnodes=vnodes)
        naive = NaiveRing(hosts, vnodes=vnodes, seed=0, mask=mask)
        found = []
        for name in ring.hosts:
            own = ring.ranges(name)
            assert own == ring.table.ranges(Host(name)) == sorted(own)
            assert all(after[0] > before[1] + 1 for before, after in pairwise(own))
            assert sum(last - first + 1 for first, last in own) / CIRCLE == ring.shares()[name]
            found += [(first, last, name) for first, last in own]
    found.sort()
    edge = -1
    for first, last, name in found:
        assert first == edge + 1
        assert naive.owner_at(first) == naive.owner_at(last) == name
        edge = last
    assert edge == CIRCLE - 1


@given(rings(least=0), memberships(least=0))
def test_moved_ranges_are_the_flows(ring: HashRing, hosts: dict[str, float]) -> None:
    other = HashRing(hosts, vnodes=ring.vnodes, seed=ring.seed)
    diff = ring.diff(other)
    flows: dict[tuple[str, str], int] = {}
    edge = -1
    for first, last, old, new in diff.ranges:
        assert first > edge
        for position in (first, last):
            for table, owner in ((ring.table, old), (other.table, new)):
                index = table.index
                assert (index.labels[index.find(position)] if table.counts else "") == owner
        flows[old, new] = flows.get((old, new), 0) + last - first + 1
        edge = last
    assert {pair: arc / CIRCLE for pair, arc in flows.items()} == dict(diff.flows)


def test_an_unknown_host_has_no_ranges() -> None:
    for name in ("b", ["a"], None):
        with pytest.raises(UnknownHostError):
            HashRing(["a"]).ranges(name)  # type: ignore[arg-type]  # the wrong ones too


def test_a_diff_without_rings_has_no_ranges() -> None:
    for diff in (Diff(0.0, {}), pickle.loads(pickle.dumps(HashRing(["a"]).diff(HashRing(["b"]))))):
        with pytest.raises(ConfigError, match="no ranges"):
            _ = diff.ranges
