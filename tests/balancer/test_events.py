"""Does everybody who listens hear of each change, in order, once, and outside the lock?"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import pytest

from hashring.balancer import Event, LoadBalancer
from hashring.errors import HashringError
from hashring.hosts import Host
from tests.balancer.rig import balancer, heard, ring

PATIENCE = 20  # seconds until a thread that never comes is given up


def told(events: list[Event]) -> list[tuple[int, str, str, str | None, str | None]]:
    return [(e.epoch, e.kind, e.host.name, e.holder, e.cause) for e in events]


def test_each_change_is_one_event_with_epoch_and_cause() -> None:
    lb = balancer(["a", "b"])
    events = heard(lb)
    lb.register("c")
    lb.set_weight("c", 2)
    lb.mark_down("c", "timeout", by="probe")
    lb.drain("b", deadline=9)
    lb.resume("b", by="*")
    lb.mark_up("c", by="probe")
    lb.replace("a", address="new:1")
    lb.unregister("a")
    assert told(events) == [
        (2, "register", "c", None, None),
        (3, "set_weight", "c", None, None),
        (4, "mark_down", "c", "probe", "timeout"),
        (5, "drain", "b", "operator", None),
        (6, "resume", "b", "*", None),
        (7, "mark_up", "c", "probe", None),
        (8, "replace", "a", None, None),
        (9, "unregister", "a", None, None),
    ]
    assert events[1].host.same(Host("c", 2))
    assert events[6].host.address == "new:1"


def test_moved_is_the_exact_fraction_of_moved_clients() -> None:
    lb = balancer(["a", "b", "c"])
    events = heard(lb)
    lb.register("d")
    lb.mark_down("a", "x")
    lb.drain("a")
    lb.replace("b", address="new:1")
    lb.mark_up("a")
    lb.resume("a")
    share = ring("abcd"[i] for i in range(4)).shares()
    assert [event.moved for event in events] == [share["d"], share["a"], 0, 0, 0, share["a"]]


def test_moved_stays_what_it_was_when_it_is_read_late() -> None:
    lb = balancer(["a", "b", "c"])
    events = heard(lb)
    lb.register("d")
    for name in "abc":
        lb.unregister(name)
    assert events[0].moved == ring("abcd"[i] for i in range(4)).shares()["d"]
    assert events[0].moved == events[0].moved


def test_an_unsubscribed_callback_receives_nothing_more() -> None:
    lb = balancer()
    mine: list[Event] = []
    stop = lb.subscribe(mine.append)
    others = heard(lb)
    lb.mark_down("a", "x")
    stop()
    stop()
    lb.mark_up("a")
    assert (len(mine), len(others)) == (1, 2)


def test_one_callback_subscribed_twice_is_two_subscribers() -> None:
    lb = balancer()
    events: list[Event] = []
    first, _second = lb.subscribe(events.append), lb.subscribe(events.append)
    lb.mark_down("a", "x")
    assert len(events) == 2
    first()
    lb.mark_up("a")
    assert len(events) == 3


def test_that_subscribes_late_receives_later_changes_only() -> None:
    lb = balancer()
    early = heard(lb)
    late: list[Event] = []

    def subscribe_another(event: Event) -> None:
        if event.kind == "register":
            lb.subscribe(late.append)

    lb.subscribe(subscribe_another)
    lb.register("x")
    assert late == []
    lb.unregister("x")
    assert [event.kind for event in late] == ["unregister"]
    assert len(early) == 2


def test_a_callback_that_changes_the_balancer_keeps_order() -> None:
    lb = balancer(["a", "b"])
    first = heard(lb)
    states: list[tuple[str, int]] = []

    def double(event: Event) -> None:
        states.append((event.host.name, lb.snapshot.epoch))
        if event.kind == "register" and len(lb) < 6:
            lb.register(event.host.name + "+")

    lb.subscribe(double)
    last = heard(lb)
    lb.register("c")
    expected = [(2, "register", "c"), (3, "register", "c+"), (4, "register", "c++")]
    expected.append((5, "register", "c+++"))
    for events in (first, last):
        assert [(e.epoch, e.kind, e.host.name) for e in events] == expected
    assert states == [("c", 2), ("c+", 3), ("c++", 4), ("c+++", 5)]


def test_a_callback_may_pick_lease_drain_and_unsubscribe() -> None:
    lb = balancer()
    done: list[str] = []

    def busy(event: Event) -> None:
        stop()
        with lb.lease("x") as lease:
            done.append(lease.host.name)
        done.append(lb.pick("x").name)
        lb.drain(event.host)

    stop = lb.subscribe(busy)
    lb.mark_down("a", "x")
    lb.mark_down("b", "x")
    assert len(done) == 2
    assert lb.snapshot.members["a"].drains
    assert not lb.snapshot.members["b"].drains


def test_what_a_callback_raises_is_logged_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lb = balancer()

    def broken(event: Event) -> None:
        raise ValueError("broken listener")

    lb.subscribe(broken)
    events = heard(lb)
    with caplog.at_level(logging.ERROR, logger="hashring"):
        lb.mark_down("a", "reboot")
        lb.mark_up("a")
    assert [event.kind for event in events] == ["mark_down", "mark_up"]
    assert len(caplog.records) == 2
    assert all(record.name.startswith("hashring") for record in caplog.records)
    assert "broken listener" in caplog.text
    assert "mark_down a by operator: reboot" in caplog.text
    assert lb.state("a") == "up"


def test_a_change_that_is_refused_is_not_reported() -> None:
    lb = balancer(["a"], capacity=1)
    events = heard(lb)
    refused: list[Callable[[], object]] = [
        lambda: lb.register("b"),
        lambda: lb.unregister("zz"),
        lambda: lb.set_weight("a", -1),
    ]
    for change in refused:
        with pytest.raises(HashringError):
            change()
    assert events == []


# -- with real threads ----------------------------------------------------------------------------


def start(*targets: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_events_are_delivered_outside_the_lock() -> None:
    lb = balancer()
    inside, go_on = threading.Event(), threading.Event()
    events: list[int] = []

    def slow(event: Event) -> None:
        events.append(event.epoch)
        if len(events) == 1:
            inside.set()
            assert go_on.wait(PATIENCE)

    lb.subscribe(slow)
    blocked = start(lambda: lb.mark_down("a", "x"))
    assert inside.wait(PATIENCE)
    # while that callback blocks, others change, lease and pick
    ended(start(lambda: lb.register("z"), lambda: lb.lease("x").acquire().release()))
    assert lb.state("a") == "down"
    assert "z" in lb
    assert lb.pick("x").name in lb
    assert events == [2]
    go_on.set()
    ended(blocked)
    assert events == [2, 3]


def test_subscribers_see_epochs_of_four_threads_in_order() -> None:
    lb = balancer(["a", "b", "c", "d"])
    seen: list[list[int]] = [[], [], []]

    def note(epochs: list[int], event: Event) -> None:
        epochs.append(event.epoch)

    for epochs in seen:
        lb.subscribe(partial(note, epochs))

    def flap(name: str) -> None:
        for _ in range(50):
            lb.mark_down(name, "x", by=name)
            lb.mark_up(name, by=name)

    ended(start(*(partial(flap, name) for name in "abcd")))
    assert lb.snapshot.epoch == 401
    for epochs in seen:
        assert epochs == list(range(2, 402))


def test_a_measured_movement_is_the_same_for_all_threads() -> None:
    lb: LoadBalancer = balancer(["a", "b", "c"], placement="modulo")
    event: list[Event] = heard(lb)
    lb.register("d")
    gate, moved = threading.Barrier(4), []

    def read() -> None:
        gate.wait(PATIENCE)
        moved.append(event[0].moved)

    ended(start(*[read] * 4))
    assert len(set(moved)) == 1
    assert moved[0] > 0.5
