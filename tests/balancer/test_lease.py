"""Does a lease count one request from its beginning to its end, and judge its host rightly?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hashring.balancer import Lease, LoadBalancer
from hashring.errors import HashringError, NoHostsError
from hashring.load import Load
from hashring.testing import FakeClock
from tests.balancer.rig import balancer

FAILURES = [OSError(), ConnectionResetError(), TimeoutError()]
NEUTRAL: list[BaseException] = [
    ValueError(),
    KeyError("x"),
    RuntimeError(),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
    SystemExit(),
    GeneratorExit(),
    NoHostsError(),
]


def kind(error: BaseException) -> str:
    return type(error).__name__


def only() -> LoadBalancer:
    """A balancer of one host, so that all counts are its own; the clock stands."""
    return balancer(["a"], clock=FakeClock())


def counts(lb: LoadBalancer) -> tuple[int, int, int]:
    load = lb.load("a")
    return load.in_flight, load.ok, load.failed


async def entered(lb: LoadBalancer, error: BaseException | None) -> None:
    async with lb.lease("x") as lease:
        assert lease.host.name == "a"
        assert counts(lb)[0] == 1
        if error is not None:
            raise error


def enter(lb: LoadBalancer, error: BaseException | None) -> None:
    with lb.lease("x") as lease:
        assert lease.host.name == "a"
        assert counts(lb)[0] == 1
        if error is not None:
            raise error


def drive(lb: LoadBalancer, error: BaseException | None) -> None:
    """``async with`` without a loop, which would swallow or wrap some of the exceptions."""
    with pytest.raises(StopIteration):
        entered(lb, error).send(None)


# -- how it ends ----------------------------------------------------------------------------------


def test_no_exception_is_a_success() -> None:
    lb = only()
    enter(lb, None)
    drive(lb, None)
    assert counts(lb) == (0, 2, 0)


@pytest.mark.parametrize("error", FAILURES, ids=kind)
def test_a_failure_counts_for_the_host_and_reaches_the_caller(error: Exception) -> None:
    lb = only()
    with pytest.raises(type(error)) as raised:
        enter(lb, error)
    assert raised.value is error
    assert counts(lb) == (0, 0, 1)
    with pytest.raises(type(error)):
        entered(lb, error).send(None)
    assert counts(lb) == (0, 0, 2)
    assert lb.load("a").failed_in_a_row == 2
    enter(lb, None)
    assert lb.load("a").failed_in_a_row == 0


@pytest.mark.parametrize("error", NEUTRAL, ids=kind)
def test_every_other_exception_has_no_outcome(error: BaseException) -> None:
    lb = only()
    with pytest.raises(type(error)):
        enter(lb, error)
    with pytest.raises(type(error)):
        entered(lb, error).send(None)
    assert lb.load("a") == Load()


def test_a_neutral_end_does_not_break_a_row_of_failures() -> None:
    lb = only()
    for error in (OSError(), ValueError(), OSError()):
        with pytest.raises(type(error)):
            enter(lb, error)
    assert lb.load("a").failed_in_a_row == 2


def test_a_task_that_is_cancelled_leaves_its_lease() -> None:
    async def main() -> tuple[tuple[int, int, int], bool]:
        lb, inside = only(), asyncio.Event()

        async def stream() -> None:
            async with lb.lease("x"):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(stream())
        await asyncio.wait_for(inside.wait(), 10)
        assert counts(lb) == (1, 0, 0)
        task.cancel()
        await asyncio.wait([task])
        return counts(lb), task.cancelled()

    assert asyncio.run(main()) == ((0, 0, 0), True)


def test_a_timeout_of_the_callers_own_is_a_failure() -> None:
    async def main() -> tuple[int, int, int]:
        lb = only()

        async def too_slow() -> None:
            async with lb.lease("x"):
                await asyncio.wait_for(asyncio.Event().wait(), 0)

        with pytest.raises(TimeoutError):
            await too_slow()
        return counts(lb)

    assert asyncio.run(main()) == (0, 0, 1)


def test_a_generator_that_is_closed_leaves_its_lease() -> None:
    lb = only()

    def stream() -> Any:
        with lb.lease("x"):
            yield "chunk"
            yield "chunk"

    chunks = stream()
    next(chunks)
    assert counts(lb) == (1, 0, 0)
    chunks.close()
    assert counts(lb) == (0, 0, 0)


def test_failures_are_an_option() -> None:
    lb = balancer(["a"], failures=(KeyError,))
    for error in (OSError(), KeyError("x")):
        with pytest.raises(type(error)):
            enter(lb, error)
    assert counts(lb) == (0, 0, 1)


# -- decided by hand ------------------------------------------------------------------------------


def test_ok_and_failed_decide_by_hand() -> None:
    def away(lease: Lease) -> None:
        lease.ok()
        raise OSError("client went away")

    lb = only()
    with lb.lease() as lease:
        lease.failed("status 503")
    assert (lease.why, counts(lb)) == ("status 503", (0, 0, 1))
    lease = lb.lease()
    with pytest.raises(OSError, match="client went away"), lease:
        away(lease)
    assert counts(lb) == (0, 1, 1)
    with lb.lease() as lease:
        lease.failed()
        lease.ok()
    with lb.lease() as lease:
        lease.ok()
        lease.failed("after all")
    assert counts(lb) == (0, 2, 2)


def test_a_stream_is_acquired_and_released_by_hand() -> None:
    lb = only()
    lease = lb.lease("x")
    assert lb.load("a").in_flight == 0  # a lease counts when it begins
    assert lease.acquire() is lease
    assert counts(lb) == (1, 0, 0)
    lease.ok()
    lease.release()
    assert counts(lb) == (0, 1, 0)


def test_release_is_idempotent() -> None:
    lb = only()
    with lb.lease() as lease:
        lease.release()
        lease.release()
        assert lb.load("a").in_flight == 0
    lease.release()
    assert lb.load("a").in_flight == 0
    other = lb.lease().acquire()
    lease.release()
    assert lb.load("a").in_flight == 1
    other.release()
    lb.lease().release()  # one that never began
    assert lb.load("a").in_flight == 0


def test_what_is_decided_after_the_release_changes_nothing() -> None:
    lb = only()
    lease = lb.lease().acquire()
    lease.ok()
    lease.release()
    lease.failed("late")
    lease.release()
    assert counts(lb) == (0, 1, 0)


# -- misuse ---------------------------------------------------------------------------------------


def test_a_lease_begins_once() -> None:
    lb = only()
    lease = lb.lease()
    with lease, pytest.raises(HashringError, match="begun before"):
        lease.acquire()
    with pytest.raises(HashringError, match="begun before"), lease:
        pass
    assert counts(lb) == (0, 1, 0)


def test_a_lease_that_has_not_begun_has_no_host() -> None:
    lease = only().lease()
    for name in ("host", "reason"):
        with pytest.raises(HashringError, match="not begun"):
            getattr(lease, name)
    assert "not begun" in repr(lease)


def test_a_lease_that_no_host_could_serve_may_be_tried_again() -> None:
    lb = balancer([])
    lease = lb.lease("x")
    for _ in range(2):
        with pytest.raises(NoHostsError):
            lease.acquire()
    lease.release()
    lb.register("a")
    with lease:
        assert lease.host.name == "a"
    assert counts(lb) == (0, 1, 0)


def test_the_host_of_a_lease_outlives_its_end_and_its_pool() -> None:
    lb = only()
    with lb.lease() as lease:
        lb.unregister("a")
        assert lease.host.name == "a"
    assert (lease.host.name, lease.reason) == ("a", "fallback")
    assert "released" in repr(lease)


def test_an_error_while_a_host_is_chosen_leaves_the_counts_right() -> None:
    asked: list[int] = []

    def moody(view: Any) -> Any:
        asked.append(1)
        if len(asked) % 2:
            raise RuntimeError("moody")
        return view.hosts[0]

    lb = balancer(["a"], fallback=moody, load_factor=1.5)
    for _ in range(5):
        with pytest.raises(RuntimeError, match="moody"), lb.lease():
            pass
        with lb.lease():
            assert lb.load("a").in_flight == 1
    assert counts(lb) == (0, 5, 0)


# -- which load it holds --------------------------------------------------------------------------


def test_leases_on_a_removed_host_come_back_with_it() -> None:
    lb = balancer(["a", "b"], load_factor=1.5)
    leases: list[Lease] = [lb.lease("x", prefer="a").acquire() for _ in range(3)]
    lb.drain("a")
    leases.append(lb.lease("x", prefer="a").acquire())
    assert lb.load("a").in_flight == 4
    leases.pop().release()
    lb.mark_down("a", "x")
    leases.pop().release()
    lb.mark_up("a")
    lb.resume("a")
    assert lb.load("a").in_flight == 2
    for lease in leases:
        lease.release()
    assert lb.load("a").in_flight == 0


def test_a_lease_is_timed_by_the_clock_of_the_balancer() -> None:
    clock = FakeClock()
    lb = balancer(["a"], clock=clock)
    with lb.lease():
        clock.advance(2.5)
    assert lb.load("a").latency == 2.5
    lease = lb.lease().acquire()
    clock.advance(60)
    lease.release()  # says nothing about the host, so nothing about its latency
    clock.now -= 60
    assert lb.load("a").latency == 2.5
