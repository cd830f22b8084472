"""Where browsers without a cookie were just placed."""

from __future__ import annotations

from typing import Any

from hashring.affinity import TrustedProxies
from hashring.affinity.first_visits import FirstVisits
from hashring.testing import FakeClock


def request(address: str, agent: str | None = "Mozilla", forwarded: str = "") -> dict[str, Any]:
    headers = {} if agent is None else {"User-Agent": agent}
    if forwarded:
        headers["X-Forwarded-For"] = forwarded
    return {"client": (address, 4711), "headers": headers}


def test_a_browser_is_an_address_and_a_user_agent() -> None:
    visits = FirstVisits(2, TrustedProxies(["10.0.0.1/32"]))
    keys = [
        visits.key(request("192.0.2.7")),
        visits.key(request("192.0.2.8")),
        visits.key(request("192.0.2.7", "Opera")),
        visits.key(request("192.0.2.7", None)),
        visits.key(request("10.0.0.1", forwarded="192.0.2.9")),
    ]
    assert len(set(keys)) == len(keys)
    assert visits.key(request("10.0.0.1", forwarded="192.0.2.7")) == keys[0]
    assert visits.key(request("192.0.2.7", forwarded="8.8.8.8")) == keys[0]  # not from a proxy


def test_it_is_forgotten_after_the_seconds() -> None:
    clock = FakeClock()
    visits = FirstVisits(2, clock=clock)
    visits.remember(b"one", "web1")
    clock.advance(1.5)
    visits.remember(b"one", "web2")  # the time of the first goes on
    assert visits.find(b"one") == "web1"
    clock.advance(0.5)
    assert visits.find(b"one") is None
    visits.remember(b"one", "web2")
    assert visits.find(b"one") == "web2"


def test_it_is_bounded() -> None:
    visits = FirstVisits(2, size=3, clock=FakeClock())
    for number in range(10):
        visits.remember(b"%d" % number, "web1")
    assert [visits.find(b"%d" % number) for number in range(10)] == [None] * 7 + ["web1"] * 3
