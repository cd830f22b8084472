"""Does a forked worker hear that it is one, whatever else happens, and wait for no lost lock?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from hashring.affinity._breaker import Breaker
from hashring.affinity._counters import Counters
from hashring.forks import watch

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_child(work: Callable[[], bool]) -> int:
    """0 if ``work`` says True in a forked child, and in time."""
    child = os.fork()
    if not child:
        signal.alarm(30)  # a child that waits in vain must not outlive the test
        try:
            os._exit(not work())
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1]


def test_counts_in_a_child_whose_parent_was_counting() -> None:
    seen = Counters("forged")

    def work() -> bool:
        seen.add("forged")
        return seen.stats["forged"] == 1

    with seen._lock:  # as if another thread were inside add
        assert in_child(work) == 0


def test_a_breaker_in_a_child_whose_parent_was_turning_it() -> None:
    breaker = Breaker(0.5, lambda: 0.0)

    def work() -> bool:
        breaker.record_failure()
        return not breaker.admits()

    with breaker._lock:
        assert in_child(work) == 0


class Told:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.times = 0
        watch(self)

    def after_fork(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error


def test_all_are_reported_although_one_raises() -> None:
    told = [Told(RuntimeWarning("a warning made an error") if n == 5 else None) for n in range(20)]
    assert in_child(lambda: [one.times for one in told] == [1] * 20) == 0
