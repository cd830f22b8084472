"""Does a forked worker route as its parent does, and draw its own lots?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from hashring.balancer import LoadBalancer
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
