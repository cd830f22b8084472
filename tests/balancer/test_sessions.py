"""Sessions per host: counts, drains that run empty, and the host with the fewest."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import PinTable
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError
from hashring.strategies import FewestSessions
from hashring.testing import FakeClock

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "move", "forget", "wait"]),
        st.sampled_from("pqrstu"),
        st.sampled_from("abc"),
    ),
    max_size=40,
)


@given(ACTS, st.integers(1, 6), st.booleans())
def test_counts_and_items_are_those_of_the_pins(
    acts: list[tuple[str, str, str]], size: int, early: bool
) -> None:
    clock = FakeClock()
    pins = PinTable(size, idle=10, clock=clock)
    if early:
        assert pins.count("a") == 0
    for act, client, host in acts:
        if act == "claim":
            pins.claim(client, host)
        elif act == "move":
            pins.replace(client, pins.get(client) or host, host)
        elif act == "forget":
            pins.replace(client, pins.get(client) or host, None)
        else:
            clock.advance(4)
        held = Counter(pins._pins[key] for key, used in pins._used.items() if clock.now - used < 10)
        assert {name: pins.count(name) for name in "abc"} == {name: held[name] for name in "abc"}
    for name in "abc":
        items = list(pins.items(name))
        assert len(items) == pins.count(name)
        assert all(pins.get(key) == name for key, _ in items)
        assert [idle for _, idle in items] == sorted((idle for _, idle in items), reverse=True)


def test_a_drain_is_watched_until_no_session_is_left() -> None:
    clock = FakeClock()
    lb = LoadBalancer(["a", "b"], pins=PinTable(clock=clock), clock=clock)
    clients = [f"session-{number}" for number in range(1000)]
    on_a = [client for client in clients if lb.pick(client).name == "a"]
    events: list[str] = []
    lb.subscribe(lambda event: events.append(event.kind))
    report = lb.drain("a", deadline=60)
    left = []
    for client in on_a:
        left.append(report.sessions_left())
        assert lb.check_drains() == {"a": left[-1]}
        lb.forget(client)
    assert left == list(range(len(on_a), 0, -1))
    assert report.sessions_left() == asyncio.run(report.asessions_left()) == 0
    assert events == ["drain"]
    lb.check_drains()
    lb.check_drains()
    clock.advance(60)
    lb.check_drains()
    assert events == ["drain", "drain_empty", "drain_deadline"]
    lb.resume("a")
    assert lb.check_drains() == {}
    lb.drain("a")
    lb.check_drains()
    assert events[3:] == ["resume", "drain", "drain_empty"]


def test_without_a_store_that_counts_the_sessions_are_unknown() -> None:
    lb = LoadBalancer(["a", "b"])
    lb.keeps_sessions(True)
    with pytest.raises(ConfigError, match="only a store of pins with count"):
        lb.drain("a").sessions_left()
    assert lb.check_drains() == {"a": None}


def test_new_clients_go_to_the_fewest_sessions_per_weight() -> None:
    hosts = {"a": 1, "b": 1, "c": 2}
    lb = LoadBalancer(hosts, pins=PinTable(), new_clients="fallback", fallback=FewestSessions())
    for number in range(40):
        lb.pick(f"session-{number}")
    assert Counter(str(lb.explain(f"session-{n}").host) for n in range(40)) == {
        "a": 10,
        "b": 10,
        "c": 20,
    }
    lb.register("d")
    assert {lb.pick(f"new-{number}").name for number in range(8)} == {"d"}
