"""Sticky by load: remembered sessions, new ones placed where the least work is outstanding."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.affinity import PinTable
from hashring.balancer import Lease, LoadBalancer
from hashring.errors import ConfigError
from hashring.load import Load
from hashring.strategies import LeastConnections, LeastOutstanding
from hashring.testing import FakeClock

NAMES = ("a", "b", "c", "d", "e")
SESSIONS = [f"session-{number}" for number in range(12)]
COSTS = st.one_of(st.none(), st.integers(0, 4000), st.floats(0, 1e6, allow_nan=False))
WEIGHTS = st.sampled_from([0.5, 1.0, 3.0])


class FirstRng(random.Random):
    """Starts each rotation at the first host by name."""

    def randrange(self, *_: Any) -> int:
        return 0


def by_load(hosts: Any = NAMES, **options: Any) -> LoadBalancer:
    return LoadBalancer.sticky_by_load(hosts, **{"rng": FirstRng(), **options})


class Naive:
    """The rule, written down again from its description: plain dicts, and a scan a choice."""

    def __init__(self, weights: dict[str, float], patience: float | None, clock: FakeClock) -> None:
        self.weights, self.patience, self.clock = dict(weights), patience, clock
        self.load = dict.fromkeys(weights, 0.0)
        self.pending = dict.fromkeys(weights, 0)
        self.in_flight = dict.fromkeys(weights, 0)
        self.last: dict[str, float] = {}
        self.homes: dict[str, str] = {}
        self.groups: dict[tuple[str, str], float] = {}
        self.down: set[str] = set()
        self.seen, self.mean, self.turns = 0, 0.0, 0

    def size(self, cost: float | None) -> float:
        if cost is None:
            return 1.0
        if self.seen >= 20:
            cost = min(cost, 100 * self.mean)
        self.seen += 1
        self.mean += (cost - self.mean) / min(self.seen, 200)
        return (1 + (cost / self.mean if self.mean else 1.0)) / 2

    def least(self, hosts: set[str], group: str | None) -> str:
        def key(name: str) -> tuple[float, float, float, str]:
            served = self.groups.get((group, name)) if group else None
            more = 0.5 if served is not None and self.clock() - served < 300 else 1.0
            weight = self.weights[name]
            level = (self.load[name] + more) / weight, self.in_flight[name] / weight
            return *level, self.last.get(name, -1), name

        return min(hosts, key=key)

    def lease(
        self, session: str, cost: float | None, group: str | None
    ) -> tuple[str, str, float] | None:
        usable = set(self.weights) - self.down
        if not usable:
            return None
        size, home = self.size(cost), self.homes.get(session)
        if home not in usable:
            host, reason = self.least(usable, group), "least"
        else:
            host, reason = str(home), "pinned"
            if self.patience is not None and len(usable) > 1:
                best = self.least(usable - {host}, group)
                weight = self.weights[best]
                gap = self.load[host] / self.weights[host] - self.load[best] / weight
                if gap > self.patience * size / weight:
                    host, reason = best, "spill"
        self.homes[session] = host
        self.turns += 1
        self.last[host] = self.turns
        self.load[host] += size
        self.pending[host] += 1
        self.in_flight[host] += 1
        if group:
            self.groups[group, host] = self.clock()
        return host, reason, size

    def started(self, host: str, size: float) -> None:
        self.pending[host] -= 1
        self.load[host] = self.load[host] - size if self.pending[host] else 0.0


@given(
    weights=st.dictionaries(st.sampled_from(NAMES), WEIGHTS, min_size=1),
    patience=st.sampled_from([None, 0.5, 5.0]),
    data=st.data(),
)
@settings(max_examples=60)
def test_every_decision_is_that_of_a_naive_router(  # noqa: C901  # a branch for each act
    weights: dict[str, float], patience: float | None, data: st.DataObject
) -> None:
    clock = FakeClock()
    lb = by_load(weights, patience=patience, clock=clock)
    naive = Naive(weights, patience, clock)
    open_leases: list[tuple[Lease, str, float]] = []
    started: set[int] = set()
    acts = ["lease"] * 6 + ["start", "start", "release", "release", "down", "up", "wait"]
    for act in data.draw(st.lists(st.sampled_from(acts), max_size=60)):
        if act == "lease" and set(weights) - naive.down:
            session = data.draw(st.sampled_from(SESSIONS))
            cost = data.draw(COSTS)
            group = data.draw(st.sampled_from([None, "red", "blue"]))
            expected = naive.lease(session, cost, group)
            lease = lb.lease(session, cost=cost, group=group).acquire()
            assert expected is not None
            assert (lease.host.name, lease.reason) == expected[:2]
            open_leases.append((lease, expected[0], expected[2]))
        elif act in ("start", "release") and open_leases:
            place = data.draw(st.integers(0, len(open_leases) - 1))
            lease, host, size = open_leases[place]
            if id(lease) not in started:
                started.add(id(lease))
                naive.started(host, size)
            if act == "start":
                lease.started()
            else:
                open_leases.pop(place)
                started.discard(id(lease))
                naive.in_flight[host] -= 1
                lease.release()
        elif act == "down":
            name = data.draw(st.sampled_from(sorted(weights)))
            naive.down.add(name)
            lb.mark_down(name, "x")
        elif act == "up":
            name = data.draw(st.sampled_from(sorted(weights)))
            naive.down.discard(name)
            lb.mark_up(name)
        elif act == "wait":
            clock.advance(data.draw(st.sampled_from([1.0, 299.0])))
        for name in weights:
            load = lb.load(name)
            assert load.in_flight == naive.in_flight[name]
            assert (load.pending, load.outstanding) == (naive.pending[name], naive.load[name])
    for lease, _, _ in open_leases:
        lease.release()
    assert {lb.load(name) for name in weights} <= {Load()}


@given(
    factor=st.sampled_from([1 / 1024, 0.5, 4.0, 2.0**20]),
    costs=st.lists(st.integers(0, 5000), max_size=40),
)
def test_multiplying_all_costs_changes_no_decision(factor: float, costs: list[int]) -> None:
    hosts: list[list[str]] = []
    for scale in (1.0, factor):
        lb = by_load(patience=1.0)
        leases = [
            lb.lease(SESSIONS[number % 7], cost=cost * scale).acquire()
            for number, cost in enumerate(costs)
        ]
        hosts.append([lease.host.name for lease in leases])
        for lease in leases:
            lease.release()
    assert hosts[0] == hosts[1]


@pytest.mark.parametrize("cost", [None, 1, 1 / 3, 1000.1])
def test_equal_hosts_and_costs_take_turns(cost: float | None) -> None:
    lb = by_load()
    leases = [lb.lease(f"s{number}", cost=cost).acquire() for number in range(25)]
    assert set(Counter(lease.host.name for lease in leases).values()) == {5}
    for lease in leases:
        lease.started()
    more = [lb.lease(f"t{number}", cost=cost).acquire() for number in range(5)]
    assert sorted(lease.host.name for lease in more) == list(NAMES)
    for lease in leases + more:
        lease.release()
    assert [lb.load(name).outstanding for name in NAMES] == [0.0] * 5


def test_started_twice_is_once_and_release_implies_it() -> None:
    lb = by_load(["a"])
    with lb.lease("x", cost=3) as one, lb.lease("y", cost=5):
        before = lb.load("a")
        for _ in range(3):
            one.started()
        assert (before.pending, lb.load("a").pending) == (2, 1)
        assert 0 < lb.load("a").outstanding < before.outstanding
        assert lb.load("a").in_flight == 2
    one.started()
    assert (lb.load("a").outstanding, lb.load("a").ok) == (0.0, 2)


@given(
    acts=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "weight", "lease"]), st.integers(0, 4))
    )
)
def test_without_patience_a_known_client_never_moves(
    acts: list[tuple[str, int]],
) -> None:
    lb = by_load(["a", "b"])
    with lb.lease("known", cost=10_000) as lease:
        home = lease.host.name
    held = []
    for act, number in acts:
        name = NAMES[number]
        if act == "join" and name not in lb:
            lb.register(name)
        elif act == "leave" and name in lb and name != home:
            lb.unregister(name)
        elif act == "weight" and name in lb:
            lb.set_weight(name, number + 0.5)
        elif act == "lease":
            held.append(lb.lease("known", cost=number).acquire())
        with lb.lease("known") as lease:
            assert (lease.host.name, lease.reason) == (home, "pinned")
    for lease in held:
        lease.release()


@given(st.sampled_from([0.0, 0.1, 5.0]), st.lists(st.sampled_from(SESSIONS), max_size=30))
def test_with_equal_loads_no_client_spills(patience: float, sessions: list[str]) -> None:
    lb = by_load(patience=patience)
    for session in sessions:
        with lb.lease(session) as lease:
            assert lease.reason in ("least", "pinned")


def test_a_spilled_session_stays_where_it_went() -> None:
    lb = by_load(["a", "b"], patience=2)
    with lb.lease("x") as lease:
        home = lease.host.name
    queue = [lb.lease("other", prefer=home).acquire() for _ in range(3)]
    told = str(lb.explain("x"))
    with lb.lease("x") as lease:
        assert (lease.host.name != home, lease.reason) == (True, "spill")
        there = lease.host.name
    assert f"outstanding: {home} 3.00, {there} 0.00, gap 3.00" in told
    for lease in queue:
        lease.release()
    with lb.lease("x") as lease:
        assert (lease.host.name, lease.reason) == (there, "pinned")


def test_a_hanging_host_keeps_its_load_and_gets_no_new_session() -> None:
    lb = by_load(["a", "b", "c"])
    hanging = lb.lease("x", cost=50).acquire()
    for number in range(10):
        with lb.lease(f"new-{number}", cost=1) as lease:
            assert lease.host != hanging.host
            lease.started()
    hanging.release()


def test_a_group_starts_together_until_its_host_is_busy() -> None:
    lb = by_load()
    one = lb.lease("x", group="prompt").acquire()
    one.started()
    two = lb.lease("y", group="prompt").acquire()
    three = lb.lease("z", group="prompt").acquire()
    assert one.host == two.host != three.host
    for lease in (one, two, three):
        lease.release()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patience": 5}, "needs fallback=LeastOutstanding"),
        ({"patience": 5, "fallback": LeastConnections(), "new_clients": "fallback"}, "needs"),
        ({"patience": 5, "fallback": LeastOutstanding()}, "needs"),
        (
            {
                "patience": 5,
                "fallback": LeastOutstanding(),
                "new_clients": "fallback",
                "load_factor": 1.25,
            },
            "load_factor does not go with patience",
        ),
        (
            {"patience": -1, "fallback": LeastOutstanding(), "new_clients": "fallback"},
            "patience must be",
        ),
    ],
)
def test_patience_without_what_it_compares_is_refused(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        LoadBalancer(NAMES, pins=PinTable(), **options)


@pytest.mark.parametrize("cost", [-1, float("nan"), float("inf"), "5", True])
def test_a_cost_that_is_not_a_number_from_0_is_refused(cost: Any) -> None:
    with pytest.raises(ConfigError, match="cost must be a finite number of at least 0"):
        by_load().lease("x", cost=cost)


def test_comparing_queues_takes_no_turn() -> None:
    lb = by_load(["a", "b", "c"], patience=5)
    leases = [lb.lease(session).acquire() for session in ("x", "x", "y", "z")]
    assert [lease.host.name for lease in leases] == ["a", "a", "b", "c"]
    for lease in leases:
        lease.release()


def test_loads_of_other_routers_count_until_they_expire() -> None:
    clock = FakeClock()
    lb = by_load(["a", "b", "c"], clock=clock, patience=1)
    lb.set_remote_load("two", {"a": 3.0, "b": 1.0, "gone": 9.0}, expires=5)
    lb.set_remote_load("three", {"b": 1.0}, expires=60)
    with lb.lease("x") as lease:
        assert lease.host.name == "c"
    lb.pin("y", "a")
    with lb.lease("y") as lease:
        assert (lease.host.name, lease.reason) == ("c", "spill")
    lb.set_remote_load("two", {}, expires=5)
    with lb.lease("z") as lease:
        assert lease.host.name == "a"
    lb.set_remote_load("two", {"a": 9.0, "c": 9.0}, expires=5)
    lb.register("d", weight=0.1)
    with lb.lease("u") as lease:
        assert lease.host.name == "b"
    clock.advance(5)
    lb.unregister("d")
    held = [lb.lease(f"v{number}").acquire() for number in range(2)]
    assert {lease.host.name for lease in held} == {"a", "c"}
    assert lb.outstanding() == {"a": 1.0, "c": 1.0}
    for lease in held:
        lease.release()
    assert lb.outstanding() == {}
