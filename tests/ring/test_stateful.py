"""Does any history of changes leave the ring that a naive one would be?  With ties, too."""

from __future__ import annotations

import pickle
from typing import ClassVar
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hashring.errors import DuplicateHostError, InvalidWeightError, NoHostsError, UnknownHostError
from hashring.keys import Key
from hashring.ring import HashRing, RingTable, layout
from tests.ring.inputs import (
    KEYS,
    MANY_TIES,
    NAMES,
    TIES,
    WEIGHTS,
    keys,
    memberships,
    quantised,
)
from tests.ring.naive import CIRCLE, NaiveRing

# names from a small set meet again after they left; the others bring every script
SOME = st.one_of(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", "1", "11"]), NAMES)


class RingMachine(RuleBasedStateMachine):
    """A ring and a mapping name -> weight, which is all that a naive ring has to remember."""

    MASK: ClassVar[int] = CIRCLE - 1

    def __init__(self) -> None:
        super().__init__()
        self.patch = patch.object(layout, "vnode_positions", quantised(self.MASK))
        self.patch.start()
        self.ring = HashRing()
        self.weights: dict[str, float] = {}
        self.left: list[str] = []
        self.tables: list[tuple[RingTable, NaiveRing]] = []

    def teardown(self) -> None:
        self.patch.stop()

    def naive(self, weights: dict[str, float] | None = None) -> NaiveRing:
        members = self.weights if weights is None else weights
        return NaiveRing(members, vnodes=self.ring.vnodes, seed=self.ring.seed, mask=self.MASK)

    @initialize(
        hosts=memberships(least=0, most=12), vnodes=st.integers(1, 12), seed=st.integers(0, 9)
    )
    def start(self, hosts: dict[str, float], vnodes: int, seed: int) -> None:
        self.ring = HashRing(hosts, vnodes=vnodes, seed=seed)
        self.weights = dict(hosts)

    @rule(name=SOME, weight=WEIGHTS)
    def add(self, name: str, weight: float) -> None:
        if name in self.weights:
            with pytest.raises(DuplicateHostError):
                self.ring.add(name, weight)
        else:
            self.ring.add(name, weight)
            self.weights[name] = weight

    @rule(name=SOME, data=st.data())
    def remove(self, name: str, data: st.DataObject) -> None:
        if self.weights:
            gone = data.draw(st.sampled_from(sorted(self.weights)))
            self.ring.remove(gone)
            del self.weights[gone]
            self.left.append(gone)
        if name not in self.weights:
            with pytest.raises(UnknownHostError):
                self.ring.remove(name)

    @precondition(lambda self: self.left)
    @rule(data=st.data(), weight=WEIGHTS)
    def come_back(self, data: st.DataObject, weight: float) -> None:
        name = data.draw(st.sampled_from(self.left))
        if name not in self.weights:
            self.ring.add(name, weight)
            self.weights[name] = weight

    @rule(weight=WEIGHTS, name=SOME, data=st.data())
    def set_weight(self, weight: float, name: str, data: st.DataObject) -> None:
        if self.weights:
            known = data.draw(st.sampled_from(sorted(self.weights)))
            with pytest.raises(InvalidWeightError):
                self.ring.set_weight(known, -weight)
            self.ring.set_weight(known, weight)
            self.weights[known] = weight
        if name not in self.weights:
            with pytest.raises(UnknownHostError):
                self.ring.set_weight(name, weight)

    @rule(hosts=memberships(least=0, most=12), keep=st.sets(SOME))
    def set_hosts(self, hosts: dict[str, float], keep: set[str]) -> None:
        stay = {name: weight for name, weight in self.weights.items() if name in keep}
        self.weights = {**stay, **hosts}
        self.ring.set_hosts(self.weights)

    @rule(travel=st.booleans())
    def go_on_with_a_twin(self, travel: bool) -> None:
        twin = pickle.loads(pickle.dumps(self.ring)) if travel else self.ring.copy()
        assert twin == self.ring
        self.ring.set_hosts(["left", "behind"])  # must not reach the twin
        self.ring = twin

    @rule()
    def remember_the_table(self) -> None:
        self.tables.append((self.ring.table, self.naive()))

    @rule(down=st.sets(SOME), data=st.data(), key=keys())
    def some_are_down(self, down: set[str], data: st.DataObject, key: Key) -> None:
        if self.weights:
            down |= data.draw(st.sets(st.sampled_from(sorted(self.weights)), max_size=3))
        rest = self.naive({n: w for n, w in self.weights.items() if n not in down})
        less = self.ring.table.without(down)
        assert less.vnode_list() == rest.vnodes
        assert list(less.walk(key)) == rest.walk(key)
        assert {less.lookup(k) for k in KEYS} == {self.ring.table.lookup(k, down) for k in KEYS}

    @rule(key=keys())
    def look_up(self, key: Key) -> None:
        walk = self.naive().walk(key)
        assert list(self.ring.walk(key)) == walk
        if walk:
            assert self.ring.lookup(key) == walk[0]
        else:
            with pytest.raises(NoHostsError):
                self.ring.lookup(key)

    @invariant()
    def it_is_the_naive_ring(self) -> None:
        naive = self.naive()
        assert self.ring.vnode_list() == naive.vnodes
        assert self.ring.hosts == tuple(sorted(self.weights))
        assert dict(self.ring.weights) == self.weights
        for place in naive.places[::5]:
            for position in (place - 1, place, place + 1):
                found = self.ring.table.index.find(position % CIRCLE)
                assert self.ring.table.index.labels[found] == naive.owner_at(position % CIRCLE)
        self.ring._check()

    @invariant()
    def each_host_can_be_down(self) -> None:
        vnodes = self.ring.vnode_list()
        for down in self.weights:
            left = [(position, name) for position, name in vnodes if name != down]
            assert self.ring.table.without([down]).vnode_list() == left

    @invariant()
    def its_fingerprint_is_that_of_a_fresh_ring(self) -> None:
        fresh = HashRing(self.weights, vnodes=self.ring.vnodes, seed=self.ring.seed)
        assert self.ring.fingerprint == fresh.fingerprint
        assert self.ring == fresh

    @invariant()
    def old_tables_are_as_they_were(self) -> None:
        for table, naive in self.tables[-3:]:
            assert table.vnode_list() == naive.vnodes
            assert [table.lookup(key) for key in KEYS[:9]] == [
                next(iter(naive.walk(key)), None) for key in KEYS[:9]
            ]


class TiesMachine(RingMachine):
    MASK = TIES


class ManyTiesMachine(RingMachine):
    MASK = MANY_TIES


BUDGET = settings(max_examples=40, stateful_step_count=25)  # 3,000 steps in a few seconds
TestRing = RingMachine.TestCase
TestRing.settings = BUDGET
TestRingWithTies = TiesMachine.TestCase
TestRingWithTies.settings = BUDGET
TestRingWithManyTies = ManyTiesMachine.TestCase
TestRingWithManyTies.settings = BUDGET


@pytest.mark.parametrize("mask", [TIES, MANY_TIES])
def test_ties_break_by_name_and_lose_no_vnode(mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "vnode_positions", quantised(mask))
    names = [f"web{i}" for i in range(20)]
    rings = [HashRing(vnodes=40), HashRing(vnodes=40)]
    for ring, given in zip(rings, (names, names[::-1]), strict=True):
        for count, name in enumerate(given, 1):
            ring.add(name)
            ring._check()
            assert len(ring.vnode_list()) == 40 * count
    assert rings[0].vnode_list() == rings[1].vnode_list() == sorted(rings[0].vnode_list())
    for name in names[::3]:
        before = rings[0].copy()
        rings[0].remove(name)
        rings[0]._check()
        assert before.diff(rings[0]).moved == before.shares()[name]
        assert before.table.without([name]).vnode_list() == rings[0].vnode_list()
    assert sum(rings[0].shares().values()) == 1.0
