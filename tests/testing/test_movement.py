"""Does assert_bounded_movement say who moved and who should not have?"""

from __future__ import annotations

import pytest

from hashring import ConfigError, HashRing, LoadBalancer
from hashring.placement import create
from hashring.testing import assert_bounded_movement, moves

KEYS = [f"session-{i}" for i in range(500)]


def test_a_ring_moves_what_it_must() -> None:
    before, after = HashRing(["a", "b", "c"]), HashRing(["a", "b", "c", "d"])
    found = assert_bounded_movement(before, after, KEYS)
    assert found.moved == sum(after.lookup(key) == "d" for key in KEYS) == sum(found.flows.values())
    assert {target for _, target in found.flows} == {"d"}
    assert found.staying == len(KEYS) - found.moved
    back = assert_bounded_movement(after.table, before.table, KEYS)
    assert back.moved == found.moved


def test_modulo_moves_what_should_have_stayed() -> None:
    before, after = create("modulo", ["a", "b", "c", "d"]), create("modulo", ["a", "b", "c"])
    with pytest.raises(AssertionError) as caught:
        assert_bounded_movement(before, after, KEYS)
    owned = sum(before.lookup(key) == "d" for key in KEYS)
    strays = [k for k in KEYS if before.lookup(k) not in ("d", after.lookup(k))]
    first, blank, *rest = str(caught.value).splitlines()
    assert first == (
        f"{owned + len(strays)} of 500 keys moved ({(owned + len(strays)) / 500:.1%}), "
        f"{len(strays)} of the {500 - owned} that should have stayed"
    )
    assert blank == ""
    assert "such as" in rest
    assert f"  {strays[0]!r}: {before.lookup(strays[0])} -> {after.lookup(strays[0])}" in rest
    assert len(rest) <= 13


def test_hosts_of_another_weight_may_give_and_take() -> None:
    before, after = HashRing({"a": 1, "b": 1, "c": 1}), HashRing({"a": 1, "b": 2, "c": 1})
    assert assert_bounded_movement(before, after, KEYS).moved > 0
    with pytest.raises(AssertionError):  # a table has counts, not weights
        assert_bounded_movement(before.table, after.table, KEYS)
    assert_bounded_movement(before.table, after.table, KEYS, changed=["b"])


def test_at_most_bounds_what_is_explained_too() -> None:
    before, after = HashRing(["a"]), HashRing(["a", "b"])
    with pytest.raises(AssertionError, match=r"of 500 keys moved \(.*\), at most 25.0% may"):
        assert_bounded_movement(before, after, KEYS, at_most=0.25)
    assert_bounded_movement(before, after, KEYS, at_most=0.6)


def test_functions_and_objects_are_compared_by_answers() -> None:
    lb = LoadBalancer(["a", "b", "c"])
    before = {key: lb.pick(key).name for key in KEYS}
    lb.mark_down("c", "test")
    found = assert_bounded_movement(before.__getitem__, lambda key: lb.pick(key).name, KEYS)
    assert {source for source, _ in found.flows} == {"c"}


def test_no_keys_and_no_lookup_are_errors() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        moves(HashRing(["a"]), HashRing(["a"]), [])
    with pytest.raises(ConfigError, match="have a lookup"):
        moves({"a": 1}, HashRing(["a"]), KEYS)
