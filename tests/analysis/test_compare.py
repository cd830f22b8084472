"""Does a comparison agree with counting by hand, placement by placement?"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import Change, compare
from hashring.errors import ConfigError, UnknownHostError
from hashring.placement import create

COUNTS = {b"client-%d" % i: 1 + i % 7 for i in range(500)}
CHANGES = st.sampled_from(
    [Change(add=["e"]), Change(remove=("b",)), Change(add=["e"], remove=("a",)), None]
)
PLACEMENTS = ("ring", "modulo", "rendezvous", "nginx-consistent", "ketama")


@given(
    st.dictionaries(st.binary(min_size=1, max_size=6), st.integers(1, 50), max_size=60),
    CHANGES,
    st.sampled_from(PLACEMENTS),
    st.sampled_from("abcd"),
)
def test_a_candidate_is_what_counting_by_hand_gives(
    counts: dict[bytes, int], change: Change | None, name: str, lost: str
) -> None:
    hosts = list("abcd")
    report = compare(counts, hosts, change, placements=[name], lose=lost)
    (one,) = report.candidates
    before = create(name, hosts)
    after = before if change is None else create(name, change.apply(hosts))
    now = {key: before.lookup(key) for key in counts}
    then = {key: after.lookup(key) for key in counts}
    movers = [key for key in counts if now[key] != then[key]]
    stay = set(hosts) & set(after.hosts)
    if change is None:
        assert one.moved is None
        assert one.request_balance_after is None
        assert report.minimum is None
    else:
        assert one.moved is not None
        assert one.collateral is not None
        assert one.moved.clients == len(movers)
        assert one.moved.requests == sum(counts[key] for key in movers)
        assert one.collateral.clients == sum(
            now[key] in stay and then[key] in stay for key in movers
        )
    assert one.loss is not None
    gone = {key: before.lookup(key, unavailable=[lost]) for key in counts}
    heirs = Counter[str]()
    for key, count in counts.items():
        if now[key] == lost:
            heirs[gone[key] or ""] += count
    assert one.loss.heirs == len(heirs)
    if heirs:
        assert heirs[one.loss.largest_heir or ""] == max(heirs.values())
    others = [key for key in counts if now[key] != lost and gone[key] != now[key]]
    assert one.loss.collateral.clients == len(others)
    json.dumps(report.to_dict())


def test_only_rings_move_no_clients_between_other_hosts() -> None:
    report = compare(COUNTS, list("abcd"), Change(add=["e"]))
    found = {one.placement: one for one in report.candidates}
    for one in report.candidates:
        assert one.moved is not None
        assert one.collateral is not None
        if "minimal_move" in one.guarantees:
            assert one.collateral.clients == 0, one.placement
    for name in ("modulo", "envoy-ring"):
        between = found[name].collateral
        assert between is not None
        assert between.clients > 0, name
    assert report.minimum == pytest.approx(0.2)
    assert report.even_surge == pytest.approx(4 / 3)


def test_a_successor_surges_by_what_it_takes() -> None:
    report = compare(COUNTS, list("abcd"), placements=["jump"], lose="d")
    (jump,) = report.candidates
    assert jump.loss is not None
    table = create("jump", list("abcd"))
    heir = jump.loss.largest_heir
    had = sum(n for key, n in COUNTS.items() if table.lookup(key) == heir)
    has = sum(n for key, n in COUNTS.items() if table.lookup(key, unavailable=["d"]) == heir)
    assert jump.loss.surge == has / had


def test_a_placement_that_refuses_the_hosts_is_listed() -> None:
    report = compare(COUNTS, {"a": 0.5, "b": 1}, placements=["ring", "nginx-consistent"])
    ring, nginx = report.candidates
    assert ring.refusal is None
    assert nginx.refusal
    assert nginx.request_balance is None
    assert any("Not possible" in table.title for table in report.tables())
    none = compare(COUNTS, {"a": 0.5}, placements=["nginx-consistent"])
    assert none.sentence() == "None of these placements can place these hosts."


def test_options_make_a_candidate_of_their_own() -> None:
    both = compare(COUNTS, ["a", "b"], placements=["ring", ("ring", {"vnodes": 8})]).candidates
    assert [one.label for one in both] == ["ring", "ring (vnodes=8)"]
    assert both[0].fingerprint != both[1].fingerprint


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="no placement 'rong'"):
        compare(COUNTS, ["a"], placements=["rong"])
    with pytest.raises(ConfigError, match="name at least one"):
        compare(COUNTS, [])
    with pytest.raises(ConfigError, match="no host 'z'"):
        compare(COUNTS, ["a"], lose="z")
    with pytest.raises(UnknownHostError):
        compare(COUNTS, ["a"], Change(remove=("z",)))


def test_a_host_that_outweighs_all_others_by_far_can_be_lost() -> None:
    report = compare(COUNTS, {"a": 1e17, "b": 1}, placements=["rendezvous"], lose="a")
    assert report.even_surge == pytest.approx(1e17)


def test_a_single_host_has_no_successors() -> None:
    report = compare({}, ["a"])
    assert report.lost is None
    assert report.even_surge is None
    assert all(one.loss is None for one in report.candidates)
