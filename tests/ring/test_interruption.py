"""An exception at any line of a change leaves the ring as it was or as it should be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from hashring.ring import HashRing
from tests.ring.inputs import state

pytestmark = pytest.mark.slow


class Interrupt(BaseException):
    """What a signal handler may raise anywhere."""


def raising_at(line: int, change: Callable[[], object]) -> bool:
    """Call ``change`` and raise at the given traced line of it; False if it has fewer lines."""
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        nonlocal left
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        change()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


START = {"a": 1.0, "b": 2.0, "c": 0.5}
# grown once, so that the SortedList is in use and a place of the labels is free
CHANGES: dict[str, Callable[[HashRing], None]] = {
    "add": lambda ring: ring.add("d"),
    "remove": lambda ring: ring.remove("b"),
    "more weight": lambda ring: ring.set_weight("b", 3),
    "less weight": lambda ring: ring.set_weight("b", 1),
    "the same vnodes": lambda ring: ring.set_weight("b", 2.001),
    "other hosts": lambda ring: ring.set_hosts({"b": 2, "e": 1}),
    "no hosts": lambda ring: ring.set_hosts([]),
}


def made() -> HashRing:
    ring = HashRing(START, vnodes=12)
    ring.add("gone")
    ring.remove("gone")
    return ring


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_interrupted_at_any_line_is_whole_or_absent(name: str) -> None:
    change = CHANGES[name]
    wanted = made()
    before = state(wanted)
    change(wanted)
    after = state(wanted)
    line = 0
    while True:
        line += 1
        ring = made()
        if not raising_at(line, lambda: change(ring)):  # noqa: B023  # called before the next turn
            break
        ring._check()
        found = state(ring)
        assert found in (before, after), f"line {line} left a mixture"
        if found == before:
            change(ring)
            assert state(ring) == after, f"line {line} made the retry fail"
        ring._check()
        ring.add("z")
        ring.remove("z")
        ring._check()
        assert state(ring) == after
    assert line > 20, "the tracer saw the change"
