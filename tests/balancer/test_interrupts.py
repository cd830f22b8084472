"""An exception may strike at any line: a change takes place or not, and nothing is left behind."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import pytest

import hashring
from hashring.affinity import PinTable
from hashring.balancer import Event, LoadBalancer
from hashring.hosts import Host
from hashring.locks import GUARD
from hashring.pool import Edited, Members
from hashring.ring import HashRing
from hashring.strategies import LeastOutstanding
from tests.balancer.rig import CLIENTS

PACKAGE = str(Path(hashring.__file__).parent)
HOSTS = ("a", "b", "c")


class InterruptedByTestError(Exception):
    """What the signal handler raises."""


@contextmanager
def raising_at(point: int) -> Iterator[list[int]]:
    """Raise at the ``point``-th line of the package that runs; the list counts the lines.

    Python runs signal handlers after calls and jumps. So these lines are left out: the second visit
    of a ``with`` line, its exit; a line without a call that begins a ``finally``; and a line after
    one that deletes an item.
    """
    lines = [0]
    visits: dict[tuple[FrameType, int], int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE) or in_finalizer(frame):
            return None
        if event == "line":
            visit = frame, frame.f_lineno
            visits[visit] = visits.get(visit, 0) + 1
            line = line_of(frame)
            if visits[visit] % 2 == 0 and line.startswith("with "):
                return trace
            before = line_before(frame)
            if before.startswith("del ") or ("(" not in line and before == "finally:"):
                return trace
            lines[0] += 1
            if lines[0] == point:
                raise InterruptedByTestError
        return trace

    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(None)
        visits.clear()  # its frames keep what an interrupted call had


def in_finalizer(frame: FrameType | None) -> bool:
    """Whether Python would swallow what is raised here."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


_sources: dict[str, list[str]] = {}


def lines_of(frame: FrameType) -> list[str]:
    name = frame.f_code.co_filename
    if name not in _sources:
        _sources[name] = Path(name).read_text().splitlines()
    return _sources[name]


def line_of(frame: FrameType) -> str:
    return lines_of(frame)[frame.f_lineno - 1].strip()


def line_before(frame: FrameType) -> str:
    """The last line above that is not a comment."""
    above = (line.strip() for line in reversed(lines_of(frame)[: frame.f_lineno - 1]))
    return next(line for line in above if not line.startswith("#"))


def interrupted_everywhere(
    make: Callable[[], Any], act: Callable[[Any], object], check: Callable[[Any, bool], object]
) -> int:
    """Interrupt ``act`` at each of its lines in turn; the number of points."""
    point = 0
    while True:
        point += 1
        made, done = make(), False
        with suppress(InterruptedByTestError), raising_at(point) as lines:
            act(made)
            done = True  # also where the exception was taken for a subscriber's, and logged
        check(made, done)
        if lines[0] < point:
            return point - 1


events: WeakKeyDictionary[LoadBalancer, list[Event]] = WeakKeyDictionary()


def make_balancer(**options: Any) -> LoadBalancer:
    lb = LoadBalancer(HOSTS, placement=HashRing(vnodes=4), pins=PinTable(), **options)
    events[lb] = []
    lb.subscribe(events[lb].append)
    lb.mark_down("c", "reboot")
    return lb


CHANGES: dict[str, Callable[[LoadBalancer], object]] = {
    "register": lambda lb: lb.register("d"),
    "unregister": lambda lb: lb.unregister("b"),
    "mark_down": lambda lb: lb.mark_down("b", "reboot"),
    "mark_up": lambda lb: lb.mark_up("c"),
    "drain": lambda lb: lb.drain("a"),
    "set_weight": lambda lb: lb.set_weight("a", 2.0),
    "replace": lambda lb: lb.replace("a", address="10.0.0.1:80"),
    "set_hosts": lambda lb: lb.set_hosts(["a", "x", ("b", 2)]),
}


def look(lb: LoadBalancer) -> Any:
    snapshot = lb.snapshot
    return [(repr(host), lb.state(host)) for host in lb.hosts], snapshot.away


# From 3.12 on a comprehension runs in the frame of its function, and what a trace function raises
# inside it passes over the exit of a `with` around it. What a signal handler raises does not.
@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="a trace function cannot stand for a signal"
)
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CHANGES))
def test_an_interrupted_change_takes_place_or_changes_nothing(name: str) -> None:
    change = CHANGES[name]
    before, changed = make_balancer(), make_balancer()
    change(changed)

    def check(lb: LoadBalancer, done: bool) -> None:
        took_place = look(lb) == look(changed)
        assert took_place or (not done and look(lb) == look(before))
        if not took_place:
            change(lb)
        assert look(lb) == look(changed)
        # the picks are those of a balancer that was never interrupted
        assert [lb.pick(c).name for c in CLIENTS[:9]] == [changed.pick(c).name for c in CLIENTS[:9]]
        with lb.lease(CLIENTS[0]) as lease:
            assert lb.load(lease.host).in_flight == 1
        # no lock is held: another thread may change the pool, and its event arrives
        other = threading.Thread(target=lb.set_weight, args=("a", 3.0))
        other.start()
        other.join(10)
        assert not other.is_alive()
        epochs = [event.epoch for event in events[lb]]
        assert epochs == sorted(epochs)
        assert epochs[-1] == lb.snapshot.epoch
        assert set(epochs) == set(range(2, lb.snapshot.epoch + 1))

    assert interrupted_everywhere(make_balancer, change, check) > 20


def test_an_interrupted_lease_counts_nowhere() -> None:
    def act(lb: LoadBalancer) -> None:
        with lb.lease("x", cost=5.0, group="g") as lease:
            lease.started()

    def make() -> LoadBalancer:
        return make_balancer(new_clients="fallback", fallback=LeastOutstanding())

    def check(lb: LoadBalancer, _: bool) -> None:
        for host in lb.hosts:
            load = lb.load(host)
            assert (load.in_flight, load.pending, load.outstanding) == (0, 0, 0.0)
        assert lb._tracker.in_flight == 0
        with lb.lease("y") as one, lb.lease("z") as two:
            assert {one.host.name, two.host.name} == {"a", "b"}

    with pytest.warns(ResourceWarning):  # of the leases that a strike left open
        assert interrupted_everywhere(make, act, check) > 50


def test_an_interrupted_pin_is_there_or_not() -> None:
    def make() -> PinTable:
        pins = PinTable(size=3)
        pins.count("a")
        for client in "pqr":
            pins.claim(client, "a")
        return pins

    def check(pins: PinTable, _: bool) -> None:
        assert pins.claim("new", "c") in ("b", "c")
        assert pins.replace("p", "a", None) is None
        assert len(pins) <= 3
        assert sum(pins.count(host) for host in "abc") == len(pins)
        assert len(pins._used) == len(pins)
        assert pins.stats["pins"] == len(pins)

    acts: list[Callable[[PinTable], object]] = [
        lambda pins: pins.claim("new", "b"),
        lambda pins: pins.get("r"),
        lambda pins: pins.replace("q", "a", "b"),
        lambda pins: pins.replace("q", "a", None),
    ]
    assert sum(interrupted_everywhere(make, act, check) for act in acts) > 40


# -- signal handlers and finalizers inside an operation of their own thread ------------------------


def test_a_mark_of_a_signal_handler_in_a_change_holds() -> None:
    lb = LoadBalancer(HOSTS)
    events: list[tuple[int, str]] = []
    lb.subscribe(lambda event: events.append((event.epoch, event.kind)))
    signal.signal(signal.SIGUSR1, lambda *_: lb.mark_down("b", "SIGTERM"))

    def edit(members: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return hashring.pool.add_member(members, Host("d"))

    try:
        lb.apply(edit)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert lb.state("b") == "down"
    assert "d" in lb
    assert events == [(2, "register"), (3, "mark_down")]
    assert lb.snapshot.epoch == 3


def test_a_refused_call_of_a_signal_handler_raises_there() -> None:
    lb = LoadBalancer(HOSTS)

    def edit(members: Any) -> Any:
        with pytest.raises(hashring.UnknownHostError):
            lb.unregister("nobody")
        lb.unregister("c")
        return members, []

    lb.apply(edit)
    assert [host.name for host in lb.hosts] == ["a", "b"]


class Session:
    """What a user's session object is to a finalizer."""

    def __init__(self) -> None:
        self.itself = self  # a cycle, so that only the collector ends it


def test_a_finalizer_in_the_pin_table_forgets_afterwards() -> None:
    pins = PinTable()
    lb = LoadBalancer(HOSTS, pins=pins)
    lb.pick("session")
    session = Session()
    weakref.finalize(session, lb.forget, "session")
    del session
    with GUARD.lock:  # as inside a sweep
        gc.collect()
    lb.pick("another")  # the operation that ends makes the deferred call
    assert pins.get("session") is None


def test_a_lease_ended_by_a_finalizer_counts_no_more() -> None:
    held: list[Any] = []

    def choose(view: Any) -> Host:
        while held:
            held.pop().release()
        return view.hosts[0]  # type: ignore[no-any-return]

    lb = LoadBalancer(HOSTS, placement=None, fallback=choose)
    held.append(lb.lease().acquire())
    with lb.lease():
        assert lb.load("a").in_flight == 1
    assert lb.load("a").in_flight == 0


def test_a_collected_lease_counts_no_more_and_warns() -> None:
    lb = LoadBalancer(["a"])
    lease = lb.lease("x").acquire()
    assert lb.load("a").in_flight == 1
    with pytest.warns(ResourceWarning, match="a lease on a was not released"):
        del lease
    assert lb.load("a") == hashring.load.Load()


def test_an_interrupted_subscriber_keeps_no_event_back() -> None:
    lb, seen = LoadBalancer(HOSTS), list[str]()

    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    lb.subscribe(interrupted)
    lb.subscribe(lambda event: seen.append(event.kind))
    with pytest.raises(KeyboardInterrupt):
        lb.mark_down("a", "x")
    with pytest.raises(KeyboardInterrupt):
        lb.mark_up("a")
    assert seen == ["mark_down", "mark_up"]


@pytest.mark.parametrize("callback", ["x", None, 5])
def test_what_cannot_be_called_is_no_subscriber(callback: Any) -> None:
    with pytest.raises(hashring.ConfigError, match="a callback must be a function"):
        LoadBalancer(HOSTS).subscribe(callback)


def test_a_subscriber_that_must_be_awaited_is_refused() -> None:
    async def callback(event: Event) -> None:
        pass

    with pytest.raises(hashring.ConfigError, match="async def"):
        LoadBalancer(HOSTS).subscribe(callback)


def finished(*work: Callable[[], object]) -> bool:
    """Whether threads that do ``work`` at the same time all end."""
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return not any(thread.is_alive() for thread in threads)


class Meeting:
    """Where two threads are in the middle of something at the same time, if they can be."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def wait(self) -> None:
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(0.5)


def test_choices_of_two_balancers_do_not_wait_in_a_circle() -> None:
    meeting, balancers = Meeting(), list[LoadBalancer]()

    def choose_and_change_the_other(number: int) -> Callable[[Any], Host]:
        def choose(view: Any) -> Host:
            meeting.wait()
            other = balancers[1 - number]  # as a finalizer would, which runs in the middle of this
            other.mark_down("a", "reboot")
            other.forget("known")
            return view.hosts[0]  # type: ignore[no-any-return]

        return choose

    for number in range(2):
        choose = choose_and_change_the_other(number)
        lb = LoadBalancer(HOSTS, placement=None, fallback=choose, pins=PinTable())
        lb.pin("known", "b")
        balancers.append(lb)
    one, other = balancers
    assert finished(lambda: one.lease().acquire(), lambda: other.lease().acquire())
    assert [lb.state("a") for lb in balancers] == ["down", "down"]
    assert [lb.explain("known").reason == "pinned" for lb in balancers] == [False, False]


def test_changes_of_two_balancers_do_not_wait_in_a_circle() -> None:
    meeting, balancers = Meeting(), [LoadBalancer(HOSTS), LoadBalancer(HOSTS)]

    def change(number: int) -> Callable[[], object]:
        def edit(members: Members) -> Edited:
            meeting.wait()
            balancers[1 - number].mark_down("a", "reboot")  # as a finalizer would
            return dict(members), []

        return lambda: balancers[number].apply(edit)

    assert finished(change(0), change(1))
    assert [lb.state("a") for lb in balancers] == ["down", "down"]
