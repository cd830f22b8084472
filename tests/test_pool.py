"""Is a snapshot what it says?  States by marks, drains and the clock; old ones never change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import pool as changes
from hashring.errors import ConfigError, PoolFullError
from hashring.hosts import Host
from hashring.placement import recipe
from hashring.pool import Member, Pool, Snapshot

HOLDERS = st.sampled_from(["operator", "probe", "outlier", "discovery"])
A = Host("a")


def pool_of(*names: str, capacity: int | None = None) -> tuple[Pool, Snapshot]:
    pool = Pool(recipe("ring", vnodes=8), capacity)
    members, _ = changes.reconcile_members({}, [Host(name) for name in names])
    return pool, pool.advance(pool.empty(), members)


@given(
    down=st.dictionaries(HOLDERS, st.text(max_size=3)),
    drains=st.dictionaries(HOLDERS, st.none() | st.integers(-5, 5)),
    now=st.integers(-6, 6),
)
def test_a_state_follows_from_marks_drains_and_the_clock(
    down: dict[str, str], drains: dict[str, float | None], now: float
) -> None:
    member = Member(A, down, drains)
    passed = [by for by, end in drains.items() if end is not None and end <= now]
    state = "down" if down or passed else "draining" if drains else "up"
    assert member.state(now) == state
    assert member.takes_new == (not down and not drains)
    why = member.why(now)
    assert (why is None) == (not down and not drains)
    if why is not None and down:
        assert down[why[0]] == why[1]
    elif why is not None:
        assert why[0] in drains


def test_a_snapshot_never_changes() -> None:
    pool, old = pool_of("a", "b", "c")
    before = old.hosts, old.usable, old.fingerprint(0.0), old.states(0.0)
    members, _ = changes.add_mark(old.members, "a", "x", "probe")
    members, _ = changes.remove_member(members, "b")
    new = pool.advance(old, members)
    assert (old.hosts, old.usable, old.fingerprint(0.0), old.states(0.0)) == before
    assert (new.epoch, [host.name for host in new.usable]) == (2, ["c"])
    with pytest.raises(TypeError):
        new.members["z"] = Member(A)  # type: ignore[index]  # what is tested
    with pytest.raises(AttributeError):
        new.epoch = 9  # type: ignore[misc]  # what is tested


def test_the_table_is_kept_while_the_hosts_are() -> None:
    pool, one = pool_of("a", "b", "c")
    two = pool.advance(one, changes.add_mark(one.members, "a", "x", "probe")[0])
    assert one.usable_table is one.table is two.table
    assert two.usable_table is not None
    assert two.usable_table.hosts == ("b", "c")
    three = pool.advance(two, changes.add_drain(two.members, "a", None, "operator")[0])
    assert three.usable_table is two.usable_table
    moved = changes.replace_member(three.members, "b", "new:1")[0]
    assert pool.advance(three, moved).table is one.table


def test_advancing_to_the_same_members_is_the_same_snapshot() -> None:
    pool, one = pool_of("a", "b")
    assert pool.advance(one, dict(one.members)) is one
    assert pool.advance(one, {"b": Member(Host("b")), "a": Member(A)}) is one
    assert pool.advance(pool.empty(), {}).epoch == 0


def test_a_fork_tries_a_change_that_the_pool_never_sees() -> None:
    pool, one = pool_of("a", "b")
    tried = pool.fork().advance(one, changes.add_member(one.members, Host("c"))[0])
    assert tried.table is not None
    assert tried.table.hosts == ("a", "b", "c")
    again = pool.advance(one, changes.add_member(one.members, Host("d"))[0])
    assert again.table is not None
    assert again.table.hosts == ("a", "b", "d")


def test_above_the_capacity_there_is_no_snapshot() -> None:
    pool, one = pool_of("a", "b", capacity=2)
    with pytest.raises(PoolFullError, match="at most 2 hosts, and this would be 3"):
        pool.advance(one, changes.add_member(one.members, Host("c"))[0])


def test_a_change_leaves_the_members_it_was_given_alone() -> None:
    _, one = pool_of("a", "b")
    before = dict(one.members)
    edits: list[changes.Edited] = [
        changes.add_member(one.members, Host("c")),
        changes.remove_member(one.members, "a"),
        changes.set_member_weight(one.members, "a", 3.0),
        changes.replace_member(one.members, "a", "new:1"),
        changes.add_mark(one.members, "a", "x", "probe"),
        changes.add_drain(one.members, "a", 5.0, "operator"),
        changes.reconcile_members(one.members, [Host("z")]),
    ]
    assert dict(one.members) == before
    assert [len(made) for _, made in edits] == [1, 1, 1, 1, 1, 1, 3]


@pytest.mark.parametrize("holder", ["", "*", None, 5])
def test_a_holder_has_a_name(holder: Any) -> None:
    _, one = pool_of("a")
    with pytest.raises(ConfigError):
        changes.add_mark(one.members, "a", "x", holder)
    with pytest.raises(ConfigError):
        changes.add_drain(one.members, "a", None, holder)


@pytest.mark.parametrize(("holder", "kept"), [("probe", False), ("outlier", False), ("x", True)])
def test_a_new_machine_loses_the_machine_marks_of_the_old_one(holder: str, kept: bool) -> None:
    _, one = pool_of("a")
    members, _ = changes.add_mark(one.members, "a", "why", holder)
    assert (holder in changes.replace_member(members, "a", "new:1")[0]["a"].down) == kept
    moved, _ = changes.reconcile_members(members, [Host("a", address="new:1")])
    assert (holder in moved["a"].down) == kept
