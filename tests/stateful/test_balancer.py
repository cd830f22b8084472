"""Any history of changes, leases and time leaves the balancer as its model predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hashring.balancer import Event, Lease, LoadBalancer
from hashring.errors import (
    ConfigError,
    DuplicateHostError,
    HashringError,
    InvalidWeightError,
    NoHostsError,
    PoolFullError,
    UnknownHostError,
)
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.testing import FakeClock
from tests.balancer.rig import face
from tests.stateful.balancer_model import VNODES, Model, Record

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])  # exact in binary: bounds have no rounding
ADDRESSES = st.sampled_from(["one:1", "two:2"])
HOLDERS = st.sampled_from(["operator", "probe", "outlier", "discovery", "mine"])
REASONS = st.sampled_from(["x", "y"])
CLIENTS = [f"client-{i}" for i in range(12)]
CLIENT = st.one_of(st.sampled_from(CLIENTS), st.sampled_from([None, ""]))
EXCLUDE = st.sets(NAMES, max_size=3)
ENDS: dict[str, BaseException | None] = {
    "ok": None,
    "failed": OSError("refused"),
    "neutral": ValueError("the caller's own"),
    "interrupted": KeyboardInterrupt(),
}


class BalancerMachine(RuleBasedStateMachine):
    """A balancer beside its model; ``changes`` is every change that should have been told."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.epoch = 0
        self.events: list[Event] = []
        self.told: list[tuple[Any, ...]] = []
        self.leases: list[tuple[Lease, Record, float]] = []
        self.dots: dict[tuple[tuple[str, str], ...], str] = {}

    @initialize(
        hosts=st.dictionaries(NAMES, WEIGHTS, max_size=4),
        factor=st.sampled_from([None, 1.25, 1.5, 2.0]),
        floor=st.integers(1, 3),
        capacity=st.sampled_from([None, 4]),
    )
    def start(
        self, hosts: dict[str, float], factor: float | None, floor: int, capacity: int | None
    ) -> None:
        self.model = Model(factor, floor, capacity)
        self.lb = LoadBalancer(
            hosts,
            placement=HashRing(vnodes=VNODES),
            capacity=capacity,
            load_factor=factor,
            load_floor=floor,
            clock=self.clock,
        )
        self.lb.keeps_sessions(True)
        self.lb.subscribe(self.events.append)
        for name, weight in hosts.items():
            self.model.records[name] = Record(weight, name)
        self.epoch = 1 if hosts else 0

    # -- how a step is checked --------------------------------------------------------------------

    def changed(self, *told: Any) -> None:
        """A change was published: one epoch, these events."""
        self.epoch += 1
        self.told += [(self.epoch, *event) for event in told]

    def refused(self, error: type[HashringError], change: Callable[[], object]) -> None:
        before = face(self.lb)
        with pytest.raises(error):
            change()
        assert face(self.lb) == before

    def known(self, name: str, change: Callable[[], object]) -> Record | None:
        """The record of ``name``; without one, ``change`` must be refused."""
        record = self.model.records.get(name)
        if record is None:
            self.refused(UnknownHostError, change)
        else:
            change()
        return record

    # -- who is in --------------------------------------------------------------------------------

    @rule(name=NAMES, weight=WEIGHTS, address=ADDRESSES)
    def register(self, name: str, weight: float, address: str) -> None:
        def change() -> object:
            return self.lb.register(Host(name, address=address), weight=weight)

        if name in self.model.records:
            self.refused(DuplicateHostError, change)
        elif self.model.capacity == len(self.model.records):
            self.refused(PoolFullError, change)
        else:
            change()
            self.model.records[name] = Record(weight, address)
            self.changed(("register", name, None, None))

    @rule(name=NAMES)
    def unregister(self, name: str) -> None:
        if self.known(name, lambda: self.lb.unregister(name)):
            del self.model.records[name]
            self.changed(("unregister", name, None, None))

    @rule(name=NAMES, weight=WEIGHTS)
    def set_weight(self, name: str, weight: float) -> None:
        self.refused(InvalidWeightError, lambda: self.lb.set_weight(name, -weight))
        record = self.known(name, lambda: self.lb.set_weight(name, weight))
        if record and record.weight != weight:
            record.weight = weight
            self.changed(("set_weight", name, None, None))

    @rule(name=NAMES, address=ADDRESSES)
    def replace(self, name: str, address: str) -> None:
        record = self.known(name, lambda: self.lb.replace(name, address=address))
        if record and record.address != address:
            self.model.records[name] = record.replaced(address)
            self.changed(("replace", name, None, None))

    @rule(
        fresh=st.dictionaries(NAMES, st.tuples(WEIGHTS, ADDRESSES), max_size=5),
        keep=st.sets(NAMES),
    )
    def set_hosts(self, fresh: dict[str, tuple[float, str]], keep: set[str]) -> None:
        kept = {n: (r.weight, r.address) for n, r in self.model.records.items() if n in keep}
        hosts = [Host(n, w, address=a) for n, (w, a) in {**fresh, **kept}.items()]
        if self.model.capacity is not None and len(hosts) > self.model.capacity:
            self.refused(PoolFullError, lambda: self.lb.set_hosts(hosts))
            return
        self.lb.set_hosts(hosts)
        told = self.model.reconcile(hosts)
        if told:
            self.epoch += 1
            new = self.events[len(self.told) :]
            # the order inside one snapshot is nobody's promise
            assert {(e.epoch, e.kind, e.host.name) for e in new} == {
                (self.epoch, *event) for event in told
            }
            self.told += [(e.epoch, e.kind, e.host.name, e.holder, e.cause) for e in new]

    # -- who may serve ----------------------------------------------------------------------------

    @rule(name=NAMES, by=HOLDERS, reason=REASONS)
    def mark_down(self, name: str, by: str, reason: str) -> None:
        self.refused(ConfigError, lambda: self.lb.mark_down(name, reason, by="*"))
        record = self.known(name, lambda: self.lb.mark_down(name, reason, by=by))
        if record and record.down.get(by) != reason:
            record.down[by] = reason
            self.changed(("mark_down", name, by, reason))

    @rule(name=NAMES, by=st.one_of(HOLDERS, st.just("*")))
    def mark_up(self, name: str, by: str) -> None:
        record = self.known(name, lambda: self.lb.mark_up(name, by=by))
        if record and (by in record.down or (by == "*" and record.down)):
            record.down = {} if by == "*" else {h: w for h, w in record.down.items() if h != by}
            self.changed(("mark_up", name, by, None))

    @rule(name=NAMES, by=HOLDERS, deadline=st.sampled_from([None, 0, 2, 10]))
    def drain(self, name: str, by: str, deadline: float | None) -> None:
        self.refused(ConfigError, lambda: self.lb.drain(name, deadline=-1, by=by))
        record = self.known(name, lambda: self.lb.drain(name, deadline=deadline, by=by))
        end = None if deadline is None else self.clock() + deadline
        if record and (by not in record.drains or record.drains[by] != end):
            record.drains[by] = end
            self.changed(("drain", name, by, None))

    @rule(name=NAMES, by=st.one_of(HOLDERS, st.just("*")))
    def resume(self, name: str, by: str) -> None:
        record = self.known(name, lambda: self.lb.resume(name, by=by))
        if record and (by in record.drains or (by == "*" and record.drains)):
            record.drains = {} if by == "*" else {h: e for h, e in record.drains.items() if h != by}
            self.changed(("resume", name, by, None))

    @rule(seconds=st.sampled_from([0.5, 1, 5, 20]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # -- requests ---------------------------------------------------------------------------------

    @rule(client=CLIENT, prefer=st.none() | NAMES, exclude=EXCLUDE)
    def pick(self, client: str | None, prefer: str | None, exclude: set[str]) -> None:
        hosts, _ = self.model.answer(self.clock(), client, prefer, exclude, lease=False)
        if hosts:
            host = self.lb.pick(client, prefer=prefer, exclude=exclude)
            assert host.name in hosts
            assert host.address == self.model.records[host.name].address
        else:
            with pytest.raises(NoHostsError) as error:
                self.lb.pick(client, prefer=prefer, exclude=exclude)
            assert error.value.total == len(self.model.records)
            assert len(error.value.reasons) == min(5, len(self.model.records))

    @rule(client=CLIENT)
    def retry(self, client: str | None) -> None:
        tried: list[Host] = []
        for _ in self.model.usable():
            tried.append(self.lb.pick(client, exclude=tried))
        assert len(set(tried)) == len(tried)
        if client:
            assert tuple(h.name for h in tried) == self.model.walk(self.model.usable(), client)
        with pytest.raises(NoHostsError):
            self.lb.pick(client, exclude=tried)

    def begin(self, client: str | None, prefer: str | None, exclude: set[str]) -> bool:
        hosts, reason = self.model.answer(self.clock(), client, prefer, exclude, lease=True)
        lease = self.lb.lease(client, prefer=prefer, exclude=exclude)
        if not hosts:
            with pytest.raises(NoHostsError):
                lease.acquire()
            return False
        lease.acquire()
        assert lease.host.name in hosts
        assert lease.reason == reason
        record = self.model.records[lease.host.name]
        record.counts["in_flight"] += 1
        self.leases.append((lease, record, self.clock()))
        return True

    @rule(client=CLIENT, prefer=st.none() | NAMES, exclude=EXCLUDE)
    def lease(self, client: str | None, prefer: str | None, exclude: set[str]) -> None:
        self.begin(client, prefer, exclude)

    @rule(client=st.sampled_from(CLIENTS), count=st.integers(2, 6))
    def parallel_leases_of_one_client(self, client: str, count: int) -> None:
        for _ in range(count):
            self.begin(client, None, set())

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)), by_hand=st.booleans())
    def end_a_lease(self, data: st.DataObject, end: str, by_hand: bool) -> None:
        lease, record, _ = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        error = ENDS[end]
        if by_hand:
            {"ok": lease.ok, "failed": lease.failed}.get(end, lambda: None)()
            lease.release()
        else:
            lease.__exit__(None if error is None else type(error), error, None)
        lease.release()
        record.counts["in_flight"] -= 1
        if end in ("ok", "failed"):
            record.counts[end] += 1

    @rule(fails=st.booleans(), client=CLIENT)
    def an_error_while_a_host_is_chosen(self, fails: bool, client: str | None) -> None:
        before = face(self.lb)
        with pytest.raises((ConfigError, TypeError)):
            self.lb.lease(client, exclude="a" if fails else 5).acquire()  # type: ignore[arg-type]  # what is tested
        assert face(self.lb) == before

    @rule(add=NAMES, remove=NAMES, weight=WEIGHTS)
    def plan(self, add: str, remove: str, weight: float) -> None:
        before = face(self.lb)
        try:
            plan = self.lb.plan(add=[(add, weight)], remove=[remove])
        except (UnknownHostError, DuplicateHostError, PoolFullError):
            pass
        else:
            usable = self.model.usable()
            new = {n: w for n, w in usable.items() if n != remove} | {add: weight}
            old_ring, new_ring = (HashRing(hosts, vnodes=VNODES) for hosts in (usable, new))
            if usable:
                assert plan.moved == old_ring.diff(new_ring).moved
        assert face(self.lb) == before

    # -- what holds after each step ---------------------------------------------------------------

    @invariant()
    def the_members_are_those_of_the_model(self) -> None:
        assert [(h.name, h.weight, h.address) for h in self.lb.hosts] == [
            (name, record.weight, record.address) for name, record in self.model.records.items()
        ]
        for name, record in self.model.records.items():
            member = self.lb.snapshot.members[name]
            assert (dict(member.down), dict(member.drains)) == (record.down, record.drains)
            assert self.lb.state(name) == record.state(self.clock())
            load = self.lb.load(name)
            counts = {"in_flight": load.in_flight, "ok": load.ok, "failed": load.failed}
            assert counts == {kind: record.counts[kind] for kind in counts}

    @invariant()
    def each_change_is_one_epoch_and_told_once_in_order(self) -> None:
        assert self.lb.snapshot.epoch == self.epoch
        heard = [(e.epoch, e.kind, e.host.name, e.holder, e.cause) for e in self.events]
        assert heard == self.told

    @invariant()
    def each_client_goes_to_its_owner_among_the_usable(self) -> None:
        usable = self.model.usable()
        for client in CLIENTS if usable else []:
            assert self.lb.pick(client).name == self.model.walk(usable, client)[0]
        if usable:
            assert {self.lb.pick().name for _ in range(len(usable))} == set(usable)

    @invariant()
    def the_fingerprint_is_that_of_a_fresh_ring_and_of_who_is_away(self) -> None:
        placed, dot = self.lb.fingerprint.split(".")
        weights = {name: record.weight for name, record in self.model.records.items()}
        if weights:
            assert placed == HashRing(weights, vnodes=VNODES).fingerprint
        now = self.clock()
        states = {name: record.state(now) for name, record in self.model.records.items()}
        away = tuple(sorted((name, state) for name, state in states.items() if state != "up"))
        assert self.dots.setdefault(away, dot) == dot
        assert len(set(self.dots.values())) == len(self.dots)

    def teardown(self) -> None:
        for lease, record, _ in self.leases:
            lease.release()
            record.counts["in_flight"] -= 1
        if self.leases:
            self.the_members_are_those_of_the_model()


TestBalancer = BalancerMachine.TestCase
TestBalancer.settings = settings(max_examples=120, stateful_step_count=40)  # some 4,800 steps
