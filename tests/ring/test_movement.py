"""How many keys does a change move?  Exactly the arcs that it must: ``==``, never "about".

An arc is a whole number of 2^-32, which a float holds exactly, so no tolerance is needed anywhere.
"""

from __future__ import annotations

from fractions import Fraction
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.ring import Diff, HashRing, layout
from tests.ring.inputs import (
    KEYS,
    MANY_TIES,
    NAMES,
    SEEDS,
    TIES,
    VNODES,
    WEIGHTS,
    memberships,
    quantised,
    rings,
    state,
)
from tests.ring.naive import NaiveRing


def moves(before: HashRing, after: HashRing) -> list[tuple[str, str]]:
    """(old owner, new owner) of each fixed key that moved."""
    pairs = zip(before.lookup_many(KEYS), after.lookup_many(KEYS), strict=True)
    return [(old, new) for old, new in pairs if old != new]


def check_parts(diff: Diff) -> None:
    assert sum(diff.flows.values()) == diff.moved
    assert all(part > 0 for part in diff.flows.values())
    assert all(old != new for old, new in diff.flows)


@given(rings(least=2), NAMES, WEIGHTS)
def test_an_add_moves_the_added_hosts_share_and_to_it_only(
    ring: HashRing, newcomer: str, weight: float
) -> None:
    if newcomer in ring:
        ring.remove(newcomer)
    before = ring.copy()
    ring.add(newcomer, weight)
    diff = before.diff(ring)
    check_parts(diff)
    assert diff.moved == ring.shares()[newcomer]
    assert {new for _, new in diff.flows} <= {newcomer}
    assert all(new == newcomer for _, new in moves(before, ring))
    shrunk = {name: share - ring.shares()[name] for name, share in before.shares().items()}
    assert shrunk == {name: diff.flows.get((name, newcomer), 0.0) for name in shrunk}


@given(rings(least=2), st.data())
def test_a_remove_moves_the_leavers_share_and_from_it_only(
    ring: HashRing, data: st.DataObject
) -> None:
    before = ring.copy()
    leaver = data.draw(st.sampled_from(ring.hosts))
    ring.remove(leaver)
    diff = before.diff(ring)
    check_parts(diff)
    assert diff.moved == before.shares()[leaver]
    assert {old for old, _ in diff.flows} <= {leaver}
    assert all(old == leaver for old, _ in moves(before, ring))


@given(rings(), WEIGHTS, st.data())
def test_a_weight_moves_its_difference_in_one_direction(
    ring: HashRing, weight: float, data: st.DataObject
) -> None:
    before = ring.copy()
    name = data.draw(st.sampled_from(ring.hosts))
    grows = weight >= ring.weights[name]
    ring.set_weight(name, weight)
    diff = before.diff(ring)
    check_parts(diff)
    assert diff.moved == abs(ring.shares()[name] - before.shares()[name])
    side = 1 if grows else 0  # a heavier host is only moved to, a lighter one only from
    assert {pair[side] for pair in diff.flows} <= {name}
    assert all(pair[side] == name for pair in moves(before, ring))


@given(rings(), NAMES, WEIGHTS)
def test_an_add_and_a_remove_leave_no_trace(ring: HashRing, name: str, weight: float) -> None:
    before, twin = state(ring), ring.copy()
    if name in ring:
        old = ring.weights[name]
        ring.set_weight(name, weight)
        ring.set_weight(name, old)
        ring.remove(name)
        ring.add(name, old)
    else:
        ring.add(name, weight)
        ring.remove(name)
    assert state(ring) == before
    assert ring == twin
    ring._check()


@given(memberships(), memberships(), VNODES, SEEDS)
def test_diff_is_that_of_a_naive_ring(
    one: dict[str, float], two: dict[str, float], vnodes: int, seed: int
) -> None:
    old, new = (HashRing(hosts, vnodes=vnodes, seed=seed) for hosts in (one, two))
    naive = NaiveRing(one, vnodes=vnodes, seed=seed)
    wanted = naive.flows_to(NaiveRing(two, vnodes=vnodes, seed=seed))
    diff = old.diff(new)
    check_parts(diff)
    assert {pair: Fraction(part) for pair, part in diff.flows.items()} == {
        pair: part for pair, part in wanted.items() if pair[0] != pair[1]
    }
    back = new.diff(old)
    assert back.moved == diff.moved
    assert dict(back.flows) == {(b, a): part for (a, b), part in diff.flows.items()}
    assert old.diff(new.table) == diff == old.table.diff(new.table)


@given(memberships(), VNODES, SEEDS)
def test_shares_are_those_of_a_naive_ring_and_sum_to_one(
    hosts: dict[str, float], vnodes: int, seed: int
) -> None:
    ring = HashRing(hosts, vnodes=vnodes, seed=seed)
    shares = ring.shares()
    assert {name: Fraction(share) for name, share in shares.items()} == NaiveRing(
        hosts, vnodes=vnodes, seed=seed
    ).shares()
    assert sum(shares.values()) == 1.0
    assert list(shares) == sorted(hosts)
    assert ring.diff(ring.copy()) == Diff(0.0, {})


@pytest.mark.parametrize("mask", [TIES, MANY_TIES])
@given(one=memberships(), two=memberships(), vnodes=VNODES)
def test_arcs_are_exact_where_vnodes_stand_on_each_other(
    mask: int, one: dict[str, float], two: dict[str, float], vnodes: int
) -> None:
    with patch.object(layout, "vnode_positions", quantised(mask)):
        old, new = (HashRing(hosts, vnodes=vnodes) for hosts in (one, two))
    naive = NaiveRing(one, vnodes=vnodes, mask=mask)
    wanted = naive.flows_to(NaiveRing(two, vnodes=vnodes, mask=mask))
    diff = old.diff(new)
    check_parts(diff)
    assert diff.flows == {pair: part for pair, part in wanted.items() if pair[0] != pair[1]}
    assert old.shares() == naive.shares()


def test_from_and_to_an_empty_ring_everything_moves() -> None:
    empty, one = HashRing(), HashRing(["a"])
    assert empty.diff(one) == Diff(1.0, {("", "a"): 1.0})
    assert one.diff(empty) == Diff(1.0, {("a", ""): 1.0})
    assert empty.diff(HashRing()) == Diff(0.0, {})
    assert empty.shares() == {}


def test_different_seeds_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="seed") as caught:
        HashRing(["a"], seed=1).diff(HashRing(["a"], seed=2))
    assert caught.value.option == "seed"


def test_different_numbers_of_vnodes_are_compared() -> None:
    few, many = HashRing(["a", "b"], vnodes=8), HashRing(["a", "b"], vnodes=512)
    naive = NaiveRing({"a": 1, "b": 1}, vnodes=8).flows_to(NaiveRing({"a": 1, "b": 1}, vnodes=512))
    assert few.diff(many).moved == naive["a", "b"] + naive["b", "a"]
