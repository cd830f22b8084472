"""Does a listener hear how each lease ended, and of the machine that served it only?"""

from __future__ import annotations

import asyncio
import logging
from threading import Thread

import pytest

from hashring import Host, LoadBalancer
from hashring.testing import FakeClock

Heard = list[tuple[str, bool, str | None, float]]


def listening(lb: LoadBalancer) -> Heard:
    heard: Heard = []

    def listener(host: Host, failed: bool, why: str | None, seconds: float) -> None:
        heard.append((host.name, failed, why, seconds))

    lb.on_outcome(listener)
    return heard


def test_each_end_with_an_outcome_is_reported_once() -> None:
    clock = FakeClock()
    lb = LoadBalancer(["a"], clock=clock)
    heard = listening(lb)
    with lb.lease("x") as lease:
        clock.now += 2
    lease.release()
    with pytest.raises(ConnectionResetError), lb.lease("x"):
        raise ConnectionResetError
    with pytest.raises(KeyError), lb.lease("x"):
        raise KeyError("the caller's own fault")
    with lb.lease("x") as lease:
        lease.failed("503")
    lb.lease("x").acquire().release()
    assert heard == [
        ("a", False, None, 2.0),
        ("a", True, "ConnectionResetError", 0.0),
        ("a", True, "503", 0.0),
    ]


def test_an_async_lease_reports_too() -> None:
    lb = LoadBalancer(["a"], clock=FakeClock())
    heard = listening(lb)

    async def request() -> None:
        async with lb.lease("x") as lease:
            lease.failed("slow")

    asyncio.run(request())
    assert heard == [("a", True, "slow", 0.0)]


def test_the_machine_that_is_gone_is_not_reported() -> None:
    lb = LoadBalancer(["a", "b"], clock=FakeClock())
    heard = listening(lb)
    replaced, gone, marked = (lb.lease(prefer=name).acquire() for name in ("a", "b", "a"))
    lb.replace("a", address="10.0.0.9:80")
    replaced.failed("late")
    replaced.release()
    lb.unregister("b")
    lb.register("b")
    gone.failed("late")
    gone.release()
    marked.release()
    assert heard == []
    with lb.lease(prefer="b"):
        lb.mark_down("b", "reboot")
    assert heard == [("b", False, None, 0.0)], "a host that is down is still that host"


def test_a_listener_may_change_the_pool_while_threads_lease() -> None:
    lb = LoadBalancer(["a", "b"])

    def in_another_thread() -> None:
        with lb.lease("x") as lease:
            served.append(lease.host.name)

    def eject(host: Host, failed: bool, why: str | None, seconds: float) -> None:
        if failed:
            lb.mark_down(host, why or "failed", by="outlier")
            thread = Thread(target=in_another_thread)
            thread.start()
            thread.join(10)

    served: list[str] = []
    lb.on_outcome(eject)
    with lb.lease(prefer="a") as lease:
        lease.failed("503")
    assert lb.state("a") == "down"
    assert served == ["b"]


def test_what_a_subscriber_raises_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lb = LoadBalancer(["a"], clock=FakeClock())

    def broken(*_: object) -> None:
        raise RuntimeError("no disk")

    stop = lb.on_outcome(broken)
    heard = listening(lb)
    with caplog.at_level(logging.ERROR, logger="hashring"), lb.lease("x"):
        pass
    assert "no disk" in caplog.text
    assert heard == [("a", False, None, 0.0)]
    caplog.clear()
    stop()
    stop()
    with lb.lease("x"):
        pass
    assert not caplog.text
    assert len(heard) == 2
