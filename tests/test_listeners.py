"""Subscribed callbacks: none keeps an event from another, in every room that has some."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from hashring import LoadBalancer
from hashring.discovery import Discovery
from hashring.discovery.static import StaticSource
from hashring.errors import ConfigError
from hashring.health import HealthMonitor, ProbeRules
from hashring.listeners import Listeners

INTERRUPTS = (KeyboardInterrupt, SystemExit)


def raise_error(error: type[BaseException], *_: Any) -> None:
    raise error


async def refuse(_: object) -> bool:
    return False


def discovery() -> Discovery:
    return Discovery(StaticSource(["a"]), LoadBalancer())


def monitor() -> HealthMonitor:
    rules = ProbeRules(0.02, 0.02, fast=0.01, fall=1)
    return HealthMonitor(LoadBalancer(["a", "b"]), refuse, rules)


def end_lease(bad: Callable[..., None], good: Callable[..., None]) -> None:
    lb = LoadBalancer(["a"])
    lb.on_outcome(bad)
    lb.on_outcome(good)
    with lb.lease("client") as lease:
        lease.ok()


def change(bad: Callable[..., None], good: Callable[..., None]) -> None:
    lb = LoadBalancer(["a"])
    lb.subscribe(bad)
    lb.subscribe(good)
    lb.mark_down("a", "reboot")


@pytest.mark.parametrize("error", INTERRUPTS)
@pytest.mark.parametrize("act", [end_lease, change])
def test_an_interrupted_callback_keeps_no_event_from_the_next(
    act: Callable[..., Any], error: type[BaseException]
) -> None:
    seen: list[object] = []
    with pytest.raises(error):
        act(partial(raise_error, error), lambda *given: seen.append(given))
    assert seen


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", INTERRUPTS)
@pytest.mark.parametrize("make", [discovery, monitor])
def test_an_interrupted_callback_of_a_service_keeps_no_event(
    make: Callable[[], Discovery | HealthMonitor], error: type[BaseException]
) -> None:
    service, seen = make(), threading.Event()
    service.subscribe(partial(raise_error, error))
    service.subscribe(lambda _: seen.set())
    with suppress(error), service:  # a discovery may end while it is entered
        assert seen.wait(60)
    assert seen.is_set()


def test_a_failing_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    listeners: Listeners[str, int] = Listeners()
    seen: list[object] = []
    listeners.subscribe(partial(raise_error, ValueError))
    listeners.subscribe(lambda *given: seen.append(given))
    listeners.notify("web1", 7)
    assert seen == [("web1", 7)]
    assert "a subscriber failed on web1, 7" in caplog.text


@pytest.mark.parametrize("subscribe", ["subscribe", "on_outcome"])
def test_an_async_callback_is_refused(subscribe: str) -> None:
    async def callback(*_: object) -> None: ...

    with pytest.raises(ConfigError, match="start a task"):
        getattr(LoadBalancer(["a"]), subscribe)(callback)
    if subscribe == "subscribe":
        for service in (discovery(), monitor()):
            with pytest.raises(ConfigError, match="start a task"):
                service.subscribe(callback)
