"""Does a forked worker route as its parent does, and draw its own lots?"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from hashring.affinity import PinTable
from hashring.balancer import Event, LoadBalancer
from hashring.locks import GUARD
from hashring.pool import Edited, Members
from hashring.strategies import create
from tests.balancer.rig import CLIENTS, balancer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

MANY = [f"web{i}" for i in range(1000)]


def in_children(count: int, answer: Callable[[], str]) -> list[str]:
    """What ``answer`` says in ``count`` forked children; an empty text if it raised."""
    said = []
    for _ in range(count):
        reader, writer = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            try:
                os.write(writer, answer().encode())
            finally:
                os._exit(0)  # a child must not go on with the parent's tests
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said.append(pipe.read())
        os.waitpid(child, 0)
    return said


def test_picks_and_leases_in_a_child_are_those_of_the_parent() -> None:
    lb = balancer(["a", "b", "c"], load_factor=1.5)
    lb.mark_down("b", "reboot")
    with lb.lease("x"):
        pass

    def answer() -> str:
        with lb.lease("x") as lease:
            found = [lease.host.name]
        found += [lb.pick(client).name for client in CLIENTS]
        lb.mark_up("b")
        found += [lb.pick(client).name for client in CLIENTS]
        return ",".join(found)

    here = answer()
    lb.mark_down("b", "reboot")
    assert in_children(2, answer) == [here, here]


@pytest.mark.parametrize(
    "name",
    [
        "round-robin",
        "random",
        "weighted-random",
        "power-of-two-choices",
        "peak-ewma",
        "least-connections",
    ],
)
def test_the_lots_of_two_children_differ(name: str) -> None:
    lb = LoadBalancer(MANY, placement=None, fallback=create(name))
    lb.pick()  # what it has drawn before the fork must not be what its children go on with
    said = in_children(3, lambda: ",".join(lb.pick().name for _ in range(5)))
    assert all(said)
    assert len(set(said)) > 1  # by chance all three start at one of a thousand hosts: 1 in 10^6


def test_a_child_changes_the_pool_after_a_lost_change() -> None:
    lb = balancer(["a", "b"])
    inside, go_on = threading.Event(), threading.Event()

    def slow(members: Members) -> Edited:
        inside.set()
        go_on.wait(10)
        return members, []

    other = threading.Thread(target=lb.apply, args=(slow,))
    other.start()
    assert inside.wait(10)

    def answer() -> str:
        signal.alarm(5)  # a child that waits for ever ends with nothing said
        lb.mark_down("a", "reboot")
        return lb.state("a")

    said = in_children(1, answer)
    go_on.set()
    other.join()
    assert said == ["down"]
    assert lb.state("a") == "up"


def test_a_child_delivers_events_after_a_lost_delivery() -> None:
    lb = balancer(["a", "b"])
    inside, go_on = threading.Event(), threading.Event()

    def waits(_: Event) -> None:
        inside.set()
        go_on.wait(10)

    lb.subscribe(waits)
    other = threading.Thread(target=lb.mark_down, args=("a", "reboot"))
    other.start()
    assert inside.wait(10)

    def answer() -> str:
        go_on.set()  # this process's own
        seen: list[str] = []
        lb.subscribe(lambda event: seen.append(event.kind))
        lb.mark_up("a")
        return ",".join(seen)

    said = in_children(1, answer)
    go_on.set()
    other.join()
    assert said == ["mark_up"]


def test_a_callback_that_forks_goes_on_delivering_in_order() -> None:
    lb = balancer(["a"])
    said: list[str] = []

    def forks(event: Event) -> None:
        if event.cause == "first":
            seen: list[str] = []

            def answer() -> str:
                lb.subscribe(lambda event: seen.append(str(event.cause)))
                lb.mark_down("a", "second")
                return f"{len(seen)} at once"

            said.extend(in_children(1, answer))

    lb.subscribe(forks)
    lb.mark_down("a", "first")
    assert said == ["0 at once"]  # an event inside a callback waits for the callback's end


def test_leases_in_flight_at_the_fork_are_the_parents() -> None:
    lb = balancer(["a", "b"], load_factor=1.5)
    with lb.lease("x") as held:
        name = held.host.name

        def answer() -> str:
            said = [lb.load(name).in_flight]
            with lb.lease("x") as lease:
                said.append(lb.load(name).in_flight)
                assert lease.reason == "owner"
            held.release()  # the forking thread's own: it counts nowhere here
            said.append(lb.load(name).in_flight)
            return str(said)

        assert in_children(1, answer) == ["[0, 1, 0]"]
        assert lb.load(name).in_flight == 1
    assert lb.load(name).in_flight == 0


def test_a_child_knows_the_locks_that_it_holds() -> None:
    lb = LoadBalancer(["a", "b"], pins=PinTable())
    lb.pick("x")

    def answer() -> str:
        pins = lb._flow.store
        assert isinstance(pins, PinTable)
        with GUARD.lock:
            lb.mark_down("a", "from a signal handler")
            before = lb.state("a")
        with GUARD.lock:
            lb.forget("x")
        with lb.lease("y"):
            return f"{before} {lb.state('a')} {pins.get('x')}"

    assert in_children(1, answer) == ["up down None"]
