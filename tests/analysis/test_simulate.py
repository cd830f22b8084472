"""Is a replay what one gets who serves the requests by hand?"""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import (
    Arrivals,
    Change,
    LogError,
    PlacedHosts,
    Scenario,
    ServiceTime,
    read_arrivals,
    read_clients,
    sample_log,
    scenarios,
    simulate,
)
from hashring.errors import ConfigError
from hashring.placement import create

LINE = b'%s - - [%s] "GET / HTTP/1.1" 200 5\n'
REQUESTS = st.lists(st.tuples(st.floats(0, 1000), st.sampled_from("abcdefgh")), min_size=1)
ALONE = Scenario("alone")
KEPT = Scenario("kept", remembers=True)


@given(REQUESTS, st.floats(0, 1000), st.floats(1, 300))
def test_sessions_are_counted_as_by_hand(
    requests: list[tuple[float, str]], when: float, gap: float
) -> None:
    hosts, change = ["x", "y", "z"], Change(add=["w"], remove=("x",))
    arrivals = Arrivals.of(requests)
    report = simulate(
        arrivals, PlacedHosts.of(hosts), [(when, change)], scenarios=[ALONE], session_gap=gap
    )
    old, new = create("ring", hosts), create("ring", change.apply(hosts))
    seen: dict[bytes, tuple[float, str | None]] = {}
    sessions = switches = 0
    ordered = sorted(requests, key=lambda request: request[0])
    for at, client in ordered:
        # a change comes before a request of the same instant
        table = new if at >= ordered[0][0] + when else old
        host, before = table.lookup(client), seen.get(client.encode())
        if before is None or at - before[0] > gap:
            sessions += 1
        elif before[1] != host:
            switches += 1
        seen[client.encode()] = (at, host)
    (outcome,) = report.outcomes
    assert (outcome.sessions, outcome.switches) == (sessions, switches)
    assert outcome.broken <= outcome.switches
    assert sum(outcome.reasons.values()) == outcome.requests == len(requests)
    json.dumps(report.to_dict())


@given(REQUESTS, st.integers(1, 5), st.floats(0.5, 200))
def test_a_bound_holds_and_nothing_else_changes_hosts(
    requests: list[tuple[float, str]], floor: int, mean: float
) -> None:
    way = Scenario("bounded", load_factor=1.25, load_floor=floor)
    service = ServiceTime(mean, "constant")
    report = simulate(
        Arrivals.of(requests), PlacedHosts.of(["x", "y"]), scenarios=[way], service=service
    )
    (outcome,) = report.outcomes
    at = sorted(at for at, _ in requests)
    # the most at once: of requests that end at one instant and come at it, the end is first
    most = max(sum(t <= now < t + mean for t in at) for now in at)
    assert outcome.peak_in_flight <= max(floor, -(-1.25 * (most + 1) // 2))
    assert max(map(max, outcome.in_flight.values())) == outcome.peak_in_flight
    if outcome.switches:
        assert outcome.reasons["overflow"]


def test_pins_keep_sessions_through_growth_and_loss() -> None:
    requests = [(i / 10, f"client-{i % 97}") for i in range(20_000)]
    ways = [ALONE, KEPT, Scenario("drained", remembers=True, drain=2000)]
    pool = PlacedHosts.of(list("abcd"))
    growth = simulate(Arrivals.of(requests), pool, [(900, Change(add=["e"]))], scenarios=ways)
    assert [outcome.broken > 0 for outcome in growth.outcomes] == [True, False, False]
    loss = simulate(Arrivals.of(requests), pool, [(900, Change(remove=("b",)))], scenarios=ways)
    assert [outcome.broken > 0 for outcome in loss.outcomes] == [True, True, False]
    on_b = sum(pool.table.lookup(f"client-{i}") == "b" for i in range(97))
    assert loss.outcomes[0].broken == loss.outcomes[1].broken == on_b
    assert "'drained' breaks 0" in loss.sentence()


def test_a_floor_buys_stickiness() -> None:
    arrivals = Arrivals.of((i / 100, f"client-{i % 300}") for i in range(6000))
    report = simulate(arrivals, PlacedHosts.of(list("abcde")), service=ServiceTime(0.2))
    broken = {outcome.scenario.name: outcome.broken for outcome in report.outcomes}
    assert broken["bounded 1.25, floor 1"] > broken["bounded 1.25, floor 8"] >= 0
    assert broken["placement alone"] == broken["bounded 1.25, floor 32"] == 0


def test_a_replay_repeats_itself() -> None:
    arrivals = Arrivals.of((i / 10, f"client-{i % 50}") for i in range(2000))
    both = [simulate(arrivals, PlacedHosts.of(["a", "b"]), service=ServiceTime(3.0)) for _ in "12"]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scenario("x", drain=5.0),
        lambda: Scenario("x", remembers=True, drain=-1.0),
        lambda: ServiceTime(0.0).times(1),
        lambda: simulate(Arrivals.of([]), PlacedHosts.of(["a"])),
        lambda: simulate(Arrivals.of([(0, "x")]), PlacedHosts.of(["a"]), scenarios=[]),
        lambda: simulate(Arrivals.of([(0, "x")]), PlacedHosts.of(["a"]), session_gap=0),
        lambda: simulate(Arrivals.of([(0, "x")]), PlacedHosts.of(["a"]), bins=0),
        lambda: simulate(Arrivals.of([(0, "x")]), PlacedHosts.of(["a"]), scenarios=scenarios(0.5)),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError):
        make()


# -- reading times --------------------------------------------------------------------------------


def read(log: bytes) -> Arrivals:
    return read_arrivals(["-"], stdin=io.BytesIO(log))


def test_times_are_read_with_their_offset_and_sorted() -> None:
    stamps = [b"06/Jan/2025:01:00:01 +0100", b"06/Jan/2025:00:00:00 +0000"]
    found = read(b"".join(LINE % (b"c%d" % i, stamp) for i, stamp in enumerate(stamps)))
    assert list(found) == [(1736121600.0, b"c1"), (1736121601.0, b"c0")]


def test_requests_of_one_second_stay_in_their_order() -> None:
    stamp = b"06/Jan/2025:00:00:00 +0000"
    found = read(b"".join(LINE % (client, stamp) for client in (b"b", b"a", b"c")))
    assert [client for _, client in found] == [b"b", b"a", b"c"]


def test_arrivals_are_the_lines_that_counting_uses() -> None:
    lines = [*sample_log(500, 40), b"junk\n", b"\n"]
    lines.insert(3, b"\0\xff\n")
    log = b"".join(lines)
    found = read(log)
    counted = read_clients(["-"], format="combined", stdin=io.BytesIO(log))
    assert found.log is not None
    assert found.counts == counted.counts == found.log.counts
    assert found.log.to_dict() == counted.to_dict()


@pytest.mark.parametrize(
    "stamp",
    [
        b"31/Feb/2025:00:00:00 +0000",
        b"06/Foo/2025:00:00:00 +0000",
        b"06/Jan/2025:25:00:00 +0000",
        b"06/Jan/0000:00:00:00 +0000",
        b"06/Jan/2025:00:00:00 +9900",
        b"yesterday",
    ],
)
def test_a_line_with_a_time_that_never_was_is_unreadable(stamp: bytes) -> None:
    found = read(LINE % (b"a", b"06/Jan/2025:00:00:00 +0000") + LINE % (b"b", stamp))
    assert found.log is not None
    assert (found.log.used, found.log.unreadable, found.log.first_unreadable) == (1, 1, 2)


def test_a_log_without_times_is_refused() -> None:
    with pytest.raises(LogError, match="combined format"):
        read(b"ann\nbob\n")
    with pytest.raises(LogError, match="its only line lacks a client and a time as ids"):
        read(b"ann\n")
    with pytest.raises(LogError, match="is empty: there is no request"):
        read(b"")
    with pytest.raises(LogError, match=r"is empty \(the gzip data ends too early\)"):
        read(b"\x1f\x8b\x08")
    with pytest.raises(ConfigError):
        read_arrivals([])
    with pytest.raises(ConfigError, match="only once"):
        read_arrivals(["-", "-"])
