"""Does the machine count as it says?  Against a naive count over the whole history."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.health import HealthChange, ProbeRules, ProbeState
from hashring.health.probe_state import judge_probe


def after(results: list[bool], rules: ProbeRules) -> tuple[list[bool], list[HealthChange]]:
    """The verdict after each result, and all changes; result n comes at second n."""
    health = ProbeState("a")
    table: list[bool] = []
    seen: list[HealthChange] = []
    for now, passed in enumerate(results):
        health, changes = judge_probe(health, None if passed else "refused", float(now), rules)
        table.append(health.up)
        seen += changes
    return table, seen


def naive(results: list[bool], fall: int, rise: int) -> list[bool]:
    up, table = True, []
    for end in range(1, len(results) + 1):
        so_far = results[:end]
        needed = rise if True in results[: end - 1] else 1
        if up and end >= fall and not any(so_far[-fall:]):
            up = False
        elif not up and end >= needed and all(so_far[-needed:]):
            up = True
        table.append(up)
    return table


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_verdicts_are_those_of_a_naive_count(results: list[bool], fall: int, rise: int) -> None:
    table, changes = after(results, ProbeRules(fall=fall, rise=rise))
    assert table == naive(results, fall, rise)
    turns = [n for n, (a, b) in enumerate(zip([True, *table], table, strict=False)) if a != b]
    assert [change.at for change in changes] == turns
    assert [change.kind for change in changes] == ["down", "up"] * (len(turns) // 2) + ["down"] * (
        len(turns) % 2
    )
    assert all(change.why and change.host == "a" for change in changes)


def test_an_unproven_host_needs_one_success_and_a_proven_two() -> None:
    assert after([False] * 3 + [True], ProbeRules())[0] == [True, True, False, True]
    table, _ = after([True] + [False] * 3 + [True] * 2, ProbeRules())
    assert table == [True, True, True, False, False, True]


def test_probes_are_faster_while_a_verdict_is_in_the_making() -> None:
    rules = ProbeRules(interval=5, fast=1, jitter=0.2)
    health = ProbeState("a")
    delays = []
    for why in ("x", "x", "x", "x", None, None, None):
        health, _ = judge_probe(health, why, 0.0, rules)
        delays.append(rules.delay(health, 0.0))
    assert delays == [1, 1, 5, 5, 5, 5, 5]  # the first success is enough here
    proven, _ = judge_probe(ProbeState("b", up=False, proven=True), None, 0.0, rules)
    assert rules.delay(proven, 0.0) == 1


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 0.99), st.integers(0, 2))
def test_jitter_takes_off_and_never_adds(lot: float, jitter: float, run: int) -> None:
    rules = ProbeRules(interval=5, fast=2, jitter=jitter)
    longest = 2 if run else 5
    delay = rules.delay(ProbeState("a", run=run), lot)
    assert longest * (1 - jitter) - 1e-9 <= delay <= longest


@given(
    st.floats(0.1, 60),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(1, 6),
    st.floats(0, 0.99),
    st.data(),
)
def test_a_silent_host_is_down_in_time(
    interval: float, timeout: float, fast: float, fall: int, jitter: float, data: Any
) -> None:
    """From the worst moment: a probe has just passed, and each later one takes its whole time."""
    rules = ProbeRules(
        interval, timeout=timeout * interval, fast=fast * interval, fall=fall, jitter=jitter
    )
    lots = st.floats(0, 1, exclude_max=True)
    health, began, now = ProbeState("a", proven=True), 0.0, 0.0
    while health.up:
        began = max(now, began + rules.delay(health, data.draw(lots)))
        now = began + rules.timeout
        health, _ = judge_probe(health, "no answer", now, rules)
    assert now <= rules.interval * rules.fall + rules.timeout + 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"interval": 0},
        {"interval": math.inf},
        {"timeout": "2"},
        {"timeout": 6},
        {"fast": 6},
        {"fall": 0},
        {"rise": True},
        {"jitter": 1},
        {"jitter": -0.1},
    ],
)
def test_rules_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as error:
        ProbeRules(**options)
    assert error.value.option in options
