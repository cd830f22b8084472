"""Does one decision for the whole pool keep its promises, on thousands of schedules?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.errors import ConfigError, UnknownHostError
from hashring.health.outlier import OutlierRules
from hashring.health.probe_state import HealthChange, ProbeRules
from hashring.health.table import HealthTable, Marks
from hashring.hosts import Host
from hashring.pool import Member

NAMES = [f"web{number}" for number in range(24)]
RULES = ProbeRules(interval=5.0, timeout=2.0, fall=3, rise=2, fast=1.0)
OUTLIERS = OutlierRules(failures=3, base=10.0, cap=40.0, share=0.1)

names = st.sampled_from(NAMES)
events = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 4.0, 11.0, 45.0])),
    st.tuples(st.just("fails probes"), names, st.integers(1, 4)),
    st.tuples(st.just("passes probes"), names, st.integers(1, 3)),
    st.tuples(st.just("fails requests"), names, st.integers(1, 7)),
    st.tuples(st.just("serves"), names),
    st.tuples(st.just("comes"), names),
    st.tuples(st.just("goes"), names),
    st.tuples(st.just("is replaced"), names),
    st.tuples(st.sampled_from(["operator takes", "operator gives back"]), names),
    st.tuples(st.sampled_from(["drains", "resumes"]), names),
    st.tuples(st.sampled_from(["all fail", "half fail", "all pass"])),
)


class World:
    """A pool, its table and a clock; after each event every promise is looked at."""

    def __init__(self, hosts: int, when_all_down: Any, panic: float | None) -> None:
        self.now = 1000.0
        self.when_all_down, self.panic = when_all_down, panic
        self.table = HealthTable(RULES, OUTLIERS, when_all_down, panic)
        self.members = {name: Member(Host(name)) for name in NAMES[:hosts]}
        self.ejected_at: dict[str, float] = {}
        self.seen: Counter[str] = Counter()
        self.marks = Marks({}, {})
        self.follow()

    def follow(self, *renewed: str) -> None:
        for name in renewed:
            self.ejected_at.pop(name, None)
        self.note(self.table.follow(self.members, self.now, renewed))

    def do(self, kind: str, *rest: Any) -> None:
        getattr(self, "on_" + kind.replace(" ", "_"))(*rest)
        self.marks, changes = self.table.settle(self.now)
        self.note(changes)
        self.check()

    def on_wait(self, seconds: float) -> None:
        self.now += seconds

    def probe(self, name: str, why: str | None) -> None:
        began, self.now = self.now, self.now + 0.01
        self.note(self.table.record_probe(name, why, began, self.now))

    def on_fails_probes(self, name: str, times: int) -> None:
        for _ in range(times):
            self.probe(name, "refused")

    def on_passes_probes(self, name: str, times: int) -> None:
        for _ in range(times):
            self.probe(name, None)

    def on_fails_requests(self, name: str, times: int) -> None:
        for _ in range(times):
            usable = self.usable()
            changes = self.table.record_response(name, "timeout", self.now, self.now)
            if changes:
                assert name in usable, "ejected, but nobody would have gone there"
                assert len(usable) > 1, "the last usable host was ejected"
            self.note(changes)

    def on_serves(self, name: str) -> None:
        assert self.table.record_response(name, None, self.now, self.now) == ()

    def on_comes(self, name: str) -> None:
        self.members = {**self.members, name: self.members.get(name, Member(Host(name)))}
        self.follow()

    def on_goes(self, name: str) -> None:
        self.members = {key: value for key, value in self.members.items() if key != name}
        self.ejected_at.pop(name, None)
        self.follow()

    def on_is_replaced(self, name: str) -> None:
        if name in self.members:
            self.members = {**self.members, name: Member(Host(name, address="another"))}
            self.follow(name)
            assert self.table.health[name].up
            assert name not in self.held()

    def edit(self, name: str, **fields: Any) -> None:
        if name in self.members:
            self.members = {**self.members, name: replace(self.members[name], **fields)}
            self.follow()

    def on_operator_takes(self, name: str) -> None:
        self.edit(name, down={"operator": "reboot"})

    def on_operator_gives_back(self, name: str) -> None:
        self.edit(name, down={})

    def on_drains(self, name: str) -> None:
        self.edit(name, drains={"operator": None})

    def on_resumes(self, name: str) -> None:
        self.edit(name, drains={})

    def on_all_fail(self) -> None:
        for name in self.members:
            self.on_fails_probes(name, 3)

    def on_half_fail(self) -> None:
        for name in list(self.members)[::2]:
            self.on_fails_probes(name, 3)

    def on_all_pass(self) -> None:
        for name in self.members:
            self.on_passes_probes(name, 2)

    def free(self) -> set[str]:
        return {
            name
            for name, member in self.members.items()
            if not member.drains and not set(member.down) - {"probe", "outlier"}
        }

    def held(self) -> set[str]:
        """Who the table themselves say is not well."""
        down = {name for name, health in self.table.health.items() if not health.up}
        return down | {
            name for name, state in self.table.outlier_states.items() if state.until is not None
        }

    def usable(self) -> set[str]:
        return self.free() - self.held()

    def note(self, changes: tuple[HealthChange, ...]) -> None:
        for change in changes:
            self.seen[change.kind] += 1
            assert change.why
            assert change.at <= self.now
            if change.host is None:
                continue
            last = self.ejected_at.get(change.host, -1e9)
            if change.kind == "ejected":
                assert change.at >= last + OUTLIERS.base, "flaps faster than the base time"
                self.ejected_at[change.host] = change.at
            if change.kind == "returned":
                if change.why == "the pool is smaller":
                    del self.ejected_at[change.host]
                else:
                    assert OUTLIERS.base <= change.at - last, "back before the base time"

    def check(self) -> None:
        ejected = {
            name for name, each in self.table.outlier_states.items() if each.until is not None
        }
        assert len(ejected) <= OUTLIERS.most(len(self.members)) or not ejected
        assert all(self.table.outlier_states[name].until > self.now for name in ejected)  # type: ignore[operator]  # not None, see above
        assert set(self.table.health) == set(self.table.outlier_states) == set(self.members)
        due = self.table.due()
        assert (due is None) == (not ejected)
        self.check_marks(ejected)

    def check_marks(self, ejected: set[str]) -> None:
        marks, free, usable = self.marks, self.free(), self.usable()
        by_us = {*marks.probe, *marks.outlier}
        assert all(marks.probe.values())
        assert all(marks.outlier.values()), "every held host is explained"
        few = bool(free) and (
            not usable
            if self.when_all_down == "route" and not usable
            else bool(usable) and self.panic is not None and len(usable) < self.panic * len(free)
        )
        assert (marks.panic_reason is not None) == few == (self.table.panic_reason is not None)
        assert by_us == (set() if few else self.held())
        assert few or set(marks.outlier) == ejected
        if self.when_all_down == "route" and free:
            assert free - by_us, "there is a host to go to"

    def heal(self) -> Iterator[None]:
        """The last fault is over; probes pass at their pace."""
        self.members = {name: Member(member.host) for name, member in self.members.items()}
        self.follow()
        for _ in range(int(OUTLIERS.cap / RULES.interval) + RULES.rise):
            self.do("wait", RULES.interval)
            self.do("all pass")
            yield


@pytest.mark.slow
@settings(max_examples=1500)
@given(
    st.integers(0, len(NAMES)),
    st.lists(events, max_size=40),
    st.sampled_from(["route", "refuse"]),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_every_promise_on_any_schedule(
    hosts: int, schedule: list[Any], when_all_down: Any, panic: float | None
) -> None:
    world = World(hosts, when_all_down, panic)
    for event in schedule:
        world.do(*event)
    for _ in world.heal():
        pass
    assert world.marks == Marks({}, {})
    assert not world.held(), "everything returns after the last fault"
    counts = world.table.stats
    assert counts["panic"] == counts["restored"] == world.seen["panic"]
    assert counts["ejections"] == world.seen["ejected"]
    assert (counts["went_down"], counts["came_up"]) == (world.seen["down"], world.seen["up"])


def test_one_event_when_all_are_down_however_long() -> None:
    world = World(3, "route", None)
    for _ in range(5):
        world.do("all fail")
    assert (world.seen["panic"], world.table.stats["panic"]) == (1, 1)
    assert "all 3 hosts" in str(world.marks.panic_reason)
    world.do("passes probes", "web1", 1)
    assert set(world.marks.probe) == {"web0", "web2"}, "the others' marks are back"
    assert world.seen["restored"] == 1


def test_an_ejected_host_and_dead_others_are_all_routed_to() -> None:
    world = World(3, "route", None)
    world.do("fails requests", "web0", 3)
    assert set(world.marks.outlier) == {"web0"}
    for name in ("web1", "web2"):
        world.do("fails probes", name, 3)
    assert world.marks == Marks({}, {}, world.table.panic_reason)


def test_the_operators_marks_always_count() -> None:
    world = World(2, "route", None)
    world.do("operator takes", "web0")
    world.do("fails probes", "web1", 3)
    assert world.marks.panic_reason, "web1 is all that the operator leaves"
    world.do("operator takes", "web1")
    assert world.marks.panic_reason is None, "nobody is left to be routed to"


def test_refuse_means_that_requests_fail() -> None:
    world = World(2, "refuse", None)
    world.do("all fail")
    assert set(world.marks.probe) == {"web0", "web1"}


def test_panic_lifts_before_the_last_one_falls() -> None:
    world = World(4, "route", 0.5)
    world.do("fails probes", "web0", 3)
    world.do("fails probes", "web1", 3)
    assert world.marks.panic_reason is None, "half are left"
    world.do("fails probes", "web2", 3)
    assert "only 1 of 4" in str(world.marks.panic_reason)


def test_the_last_usable_host_is_never_ejected() -> None:
    world = World(3, "refuse", None)
    world.do("fails probes", "web1", 3)
    world.do("drains", "web2")
    world.do("fails requests", "web0", 12)
    assert world.marks.outlier == {}
    assert world.table.stats["ejections_refused"] == 4
    world.do("resumes", "web2")
    world.do("fails requests", "web0", 3)
    assert set(world.marks.outlier) == {"web0"}


def test_the_limit_counts_what_it_refuses() -> None:
    world = World(5, "route", None)
    for name in ("web0", "web1", "web2"):
        world.do("fails requests", name, 3)
    assert set(world.marks.outlier) == {"web0"}
    assert world.table.stats["ejections_refused"] == 2


def test_a_shrunken_pool_returns_hosts_above_its_limit() -> None:
    world = World(24, "route", None)
    world.do("fails requests", "web0", 3)
    world.do("wait", 1.0)
    world.do("fails requests", "web1", 3)
    assert set(world.marks.outlier) == {"web0", "web1"}
    for name in NAMES[10:]:
        world.do("goes", name)
    assert set(world.marks.outlier) == {"web1"}, "the one that was to return first is back"


def test_a_host_marked_by_a_probe_starts_down() -> None:
    table = HealthTable(RULES, OUTLIERS)
    table.follow({"a": Member(Host("a"), {"probe": "refused"}), "b": Member(Host("b"))}, 0.0)
    assert table.settle(0.0)[0].probe == {"a": "refused"}
    assert table.record_probe("a", None, 1.0, 1.0)[0].kind == "up"


def test_without_outlier_detection_requests_say_nothing() -> None:
    table = HealthTable(RULES, None)
    table.follow({"a": Member(Host("a")), "b": Member(Host("b"))}, 0.0)
    assert all(table.record_response("a", "timeout", 0.0, 0.0) == () for _ in range(50))


@pytest.mark.parametrize("options", [{"when_all_down": "pray"}, {"panic": 2}, {"panic": "x"}])
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        HealthTable(RULES, OUTLIERS, **options)
    assert error.value.option in options


def test_an_unknown_host_is_named() -> None:
    table = HealthTable(RULES, OUTLIERS)
    with pytest.raises(UnknownHostError):
        table.of(table.health, "nobody")
