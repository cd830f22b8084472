"""Is a host that fails its requests ejected for as long as it should be?"""

from __future__ import annotations

import math
from typing import Any

import pytest

from hashring.errors import ConfigError
from hashring.health import OutlierRules, OutlierState
from hashring.health.outlier import judge_response, may_return, return_host

RULES = OutlierRules()


def fail(state: OutlierState, now: float, times: int = 5, *, room: bool = True) -> OutlierState:
    for _ in range(times):
        state, _ = judge_response(state, "timeout", now, now, RULES, room=room)
    return state


def test_five_in_a_row_and_not_five_in_all() -> None:
    state = fail(OutlierState("a"), 1.0, 4)
    state, _ = judge_response(state, None, 1.0, 1.0, RULES, room=True)
    assert fail(state, 1.0, 4).until is None
    assert fail(state, 1.0, 5).until == 31.0


def test_each_ejection_lasts_longer_up_to_the_cap() -> None:
    state, now, spans = OutlierState("a"), 0.0, []
    for _ in range(12):
        state = fail(state, now)
        assert state.until is not None
        spans.append(state.until - now)
        now = state.until
        assert may_return(state, -math.inf, now - 0.1, RULES) is None
        state, _ = return_host(state, "its time is over", now)
    assert spans == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


def test_the_cap_bounds_what_must_decay() -> None:
    rules = OutlierRules(failures=1, base=30, cap=100)
    state, now = OutlierState("a"), 0.0
    for _ in range(50):
        state, _ = judge_response(state, "timeout", now, now, rules, room=True)
        assert state.until is not None
        last, now = now, state.until
        state, _ = return_host(state, "its time is over", now)
    assert now - last == 100
    assert rules.times(state, now + 4 * 30) == 0, "four base times, not fifty"


def test_the_number_of_ejections_decays_while_a_host_stays_in() -> None:
    state = OutlierState("a", times=3, since=100.0)
    assert [RULES.times(state, 100.0 + age) for age in (0, 29, 30, 60, 89, 90, 900)] == [
        3,
        3,
        2,
        1,
        1,
        0,
        0,
    ]
    again = fail(state, 161.0)
    assert again.until == 161.0 + 2 * 30


def test_a_passing_probe_ends_it_once_the_base_time_is_over() -> None:
    state = OutlierState("a", times=4, until=1120.0, since=1000.0)
    assert may_return(state, 1029.0, 1031.0, RULES) is None
    assert may_return(state, 1030.0, 1031.0, RULES) == "a probe passed"


def test_what_began_before_an_ejection_counts_nothing_after_it() -> None:
    state, _ = return_host(fail(OutlierState("a"), 10.0), "its time is over", 40.0)
    for _ in range(9):  # requests that have timed out after 35 s
        state, changes = judge_response(state, "timeout", 9.0, 44.0, RULES, room=True)
        assert (state.run, changes) == (0, ())
    assert fail(state, 45.0).until == 45.0 + 60


def test_without_room_it_asks_again_after_five_more() -> None:
    state = fail(OutlierState("a"), 1.0, 9, room=False)
    assert (state.run, state.until) == (9, None)
    assert fail(state, 1.0, 1).until == 31.0


@pytest.mark.parametrize(("hosts", "most"), [(1, 1), (2, 1), (19, 1), (20, 2), (1000, 100)])
def test_how_many(hosts: int, most: int) -> None:
    assert RULES.most(hosts) == most


@pytest.mark.parametrize("options", [{"failures": 0}, {"base": 0}, {"cap": 10}, {"share": 1.1}])
def test_rules_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        OutlierRules(**options)
    assert error.value.option in options
