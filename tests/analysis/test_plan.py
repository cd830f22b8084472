"""Does a plan agree with counting by hand?"""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import Change, PlacedHosts, plan
from hashring.errors import (
    ConfigError,
    DuplicateHostError,
    InvalidWeightError,
    UnknownHostError,
)

COUNTS = {b"client-%d" % i: 1 + i % 7 for i in range(500)}
HOSTS = st.dictionaries(
    st.sampled_from("abcdefg"), st.sampled_from([0.5, 1.0, 2.0]), min_size=1, max_size=5
)
CLIENTS = st.dictionaries(st.binary(min_size=1, max_size=6), st.integers(1, 50), max_size=40)


@given(CLIENTS, HOSTS, HOSTS, st.sampled_from(["ring", "modulo"]))
def test_a_plan_is_what_counting_by_hand_gives(
    counts: dict[bytes, int], old: dict[str, float], new: dict[str, float], placement: str
) -> None:
    options = {"vnodes": 8} if placement == "ring" else {}
    before = PlacedHosts.of(old, placement, **options)
    after = PlacedHosts.of(new, placement, **options)
    report = plan(counts, before, after)
    where = {key: (before.table.lookup(key), after.table.lookup(key)) for key in counts}
    movers = [key for key, (a, b) in where.items() if a != b]
    assert report.clients == len(counts)
    assert report.requests == sum(counts.values())
    assert report.moved.clients == len(movers) == sum(flow.clients for flow in report.flows)
    assert report.moved.requests == sum(counts[key] for key in movers)
    assert report.moved.requests == sum(flow.requests for flow in report.flows)
    for flow in report.flows:
        assert flow.clients == sum(pair == (flow.origin, flow.target) for pair in where.values())
    for host in report.hosts:
        mine = [[key for key in counts if where[key][side] == host.host] for side in (0, 1)]
        assert (host.clients_before, host.clients_after) == (len(mine[0]), len(mine[1]))
        assert host.requests_before == sum(counts[key] for key in mine[0])
        assert host.requests_after == sum(counts[key] for key in mine[1])
    assert {host.host for host in report.hosts} == set(old) | set(new)
    json.dumps(report.to_dict())


@given(HOSTS, HOSTS)
def test_the_minimum_is_what_gains_and_what_is_lost(
    old: dict[str, float], new: dict[str, float]
) -> None:
    before, after = PlacedHosts.of(old, vnodes=8), PlacedHosts.of(new, vnodes=8)
    report = plan(COUNTS, before, after)
    lost = sum(max(0.0, host.fair_before - host.fair_after) for host in report.hosts)
    assert report.minimum == pytest.approx(lost)
    assert 0.0 <= report.minimum <= 1.0 + 1e-9


def test_a_new_host_takes_from_all_and_only_it_takes() -> None:
    before, after = PlacedHosts.of(list("abcd")), PlacedHosts.of(list("abcde"))
    report = plan(COUNTS, before, after)
    assert {flow.target for flow in report.flows} == {"e"}
    assert report.minimum == pytest.approx(0.2)
    assert after.ring is not None
    assert report.arc == after.ring.shares()["e"] == sum(flow.arc or 0 for flow in report.flows)
    newcomer = report.hosts[-1]
    assert (newcomer.host, newcomer.weight_before, newcomer.arc_before) == ("e", None, None)
    assert newcomer.arc_after == report.arc
    assert report.modulo is not None
    # n/(n+1) of the clients, 4 of 5; 500 clients spread by 2 % around it
    assert 0.7 < report.modulo.client_share < 0.9


def test_modulo_is_not_compared_with_itself_and_has_no_arcs() -> None:
    before, after = PlacedHosts.of(["a", "b"], "modulo"), PlacedHosts.of(["a"], "modulo")
    report = plan(COUNTS, before, after)
    assert report.modulo is None
    assert report.arc is None
    assert "hash %" not in report.sentence()
    assert all(host.arc_before is None for host in report.hosts)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(add=["e"]), "move, all of them to e; hash % n would have moved "),
        (Change(remove=("a",)), "move, all of them from a; hash % n"),
        (
            Change(weights={"a": 1.0}),
            "None of 500 clients moves; hash % n would have moved 0 (0.0 %).",
        ),
        (Change(add=["e", "f"], remove=("a",)), "move, from 4 hosts to "),
        (
            Change(add=["e"], remove=tuple("abcd")),
            "500 of 500 clients (100.0 %) move, all of them to e",
        ),
    ],
    ids=str,
)
def test_the_sentence_states_what_happens(change: Change, words: str) -> None:
    hosts = list("abcd")
    report = plan(COUNTS, PlacedHosts.of(hosts), PlacedHosts.of(change.apply(hosts)))
    assert words in report.sentence()


def test_the_sentence_of_a_single_client() -> None:
    one = plan({b"x": 2}, PlacedHosts.of(["a"]), PlacedHosts.of(["b"]))
    assert one.sentence().startswith("1 of 1 client (100.0 %) moves from a to b; ")
    without_clients = plan({}, PlacedHosts.of(["a"]), PlacedHosts.of(["b"]))
    assert without_clients.moved.client_share == 0.0


def test_a_report_is_frozen() -> None:
    report = plan(COUNTS, PlacedHosts.of(["a"]), PlacedHosts.of(["b"]))
    with pytest.raises(FrozenInstanceError):
        report.clients = 0  # type: ignore[misc]  # that is what must fail


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Change(remove=("z",)), UnknownHostError),
        (Change(weights={"z": 2.0}), UnknownHostError),
        (Change(add=["a"]), DuplicateHostError),
        (Change(add=["a"], remove=("a",)), DuplicateHostError),
        (Change(remove=("a", "b")), ConfigError),
        (Change(remove=("a",), weights={"a": 2.0}), ConfigError),
        (Change(weights={"a": 0.0}), InvalidWeightError),
    ],
    ids=str,
)
def test_an_impossible_change_is_refused(change: Change, error: type[Exception]) -> None:
    with pytest.raises(error):
        change.apply(["a", "b"])


def test_a_host_that_is_removed_twice_leaves_once() -> None:
    change = Change(remove=("b", "b"))
    assert str(change) == "remove b"
    report = plan({b"x": 1}, PlacedHosts.of(["a", "b"]), steps=change.split())
    assert [step.change for step in report.steps] == ["remove b"]


def test_a_change_states_what_it_is() -> None:
    change = Change(add=[("d", 2)], remove=("b",), weights={"c": 1.5})
    assert str(change) == "add d=2, remove b, weight c=1.5"
    assert change.to_dict() == {"add": {"d": 2.0}, "remove": ["b"], "weights": {"c": 1.5}}
    assert str(Change()) == "nothing"
    with pytest.raises(DuplicateHostError):
        Change(add=["c", "c"])
