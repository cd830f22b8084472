"""The lifecycle of a background service, in an event loop and in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from hashring.errors import HashringError
from hashring.service import Service


class Recorder(Service):
    """Records when it starts and ends; may fail at either."""

    TITLE = "recorder"
    FORK_WARNING = "a forked child has no recorder"

    def __init__(self, fails: str = "", start_timeout: float | None = None) -> None:
        super().__init__(start_timeout)
        self.fails, self.events = fails, list[str]()

    async def _run(self, started: Callable[[], object]) -> None:
        if self.fails == "starting":
            raise OSError("no start")
        if self.fails != "silent":
            started()
        self.events.append("started")
        try:
            await asyncio.sleep(0 if self.fails == "running" else 600)
            raise OSError("no more")
        finally:
            self.events.append("ended")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "recorder" in thread.name]


def test_it_runs_from_entering_to_leaving() -> None:
    with Recorder() as recorder:
        assert (recorder.events, threads()) == (["started"], ["hashring recorder"])
    assert (recorder.events, threads()) == (["started", "ended"], [])


def test_it_is_entered_once() -> None:
    with Recorder() as recorder:
        pass
    with pytest.raises(HashringError, match="this Recorder has been entered before"), recorder:
        pass
    assert threads() == []


def test_what_fails_at_the_start_is_raised_by_entering() -> None:
    with pytest.raises(OSError, match="no start"), Recorder("starting"):
        pass
    assert threads() == []


def test_what_fails_while_running_is_raised_by_leaving() -> None:
    async def run() -> None:
        async with Recorder("running"):
            await asyncio.sleep(0.05)

    with pytest.raises(OSError, match="no more"):
        asyncio.run(run())


def test_entering_does_not_wait_longer_than_its_timeout() -> None:
    with Recorder("silent", start_timeout=0.01) as recorder:
        pass
    assert recorder.events == ["started", "ended"]


def test_a_cancelled_entering_leaves_no_task() -> None:
    recorder = Recorder("silent")

    async def enter() -> None:
        async with recorder:
            pass

    async def run() -> None:
        task = asyncio.create_task(enter())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert recorder.events == ["started", "ended"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_by_itself_can_be_left() -> None:
    class Interrupted(Recorder):
        async def _run(self, started: Callable[[], object]) -> None:
            started()
            await asyncio.to_thread(entered.wait)
            raise SystemExit(3)

    entered = threading.Event()
    with Interrupted() as recorder:
        assert recorder._thread is not None
        entered.set()
        recorder._thread._thread.join(60)
    assert threads() == []
