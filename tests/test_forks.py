"""Does a forked worker hear that it is one, whatever else happens, and wait for no lost lock?"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from hashring.affinity._breaker import Breaker
from hashring.affinity._counters import Counters
from hashring.forks import watch
from hashring.locks import GUARD

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


def test_a_fork_waits_for_the_thread_in_the_lock() -> None:
    """The child has no lock that a lost thread holds, and nothing that is half changed."""
    seen, breaker = Counters("one", "other"), Breaker(0.5, lambda: 0.0)
    stop, changes = threading.Event(), itertools.count()

    def change_both() -> None:
        while not stop.is_set():
            with GUARD.lock:
                seen._counts["one"] += 1
                time.sleep(0)  # another thread may run
                seen._counts["other"] += 1
            next(changes)

    def work() -> bool:
        was_whole = seen.stats["one"] == seen.stats["other"]
        seen.add("one")
        breaker.record_failure()
        return was_whole and seen.stats["one"] > seen.stats["other"] and not breaker.admits()

    thread = threading.Thread(target=change_both)
    thread.start()
    try:
        assert [in_child(work) for _ in range(20)] == [0] * 20
    finally:
        stop.set()
        thread.join()
    assert next(changes) > 0


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
