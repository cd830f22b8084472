"""Do the clock, the rng, the view and the inputs do what they say?"""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import find, given

from hashring import ConfigError, Host, LoadBalancer
from hashring.hosts import as_hosts
from hashring.strategies import View
from hashring.testing import (
    FakeClock,
    FakeView,
    histories,
    host_names,
    hosts,
    keys,
    seeded_rng,
    weights,
)


def test_a_clock_stands_still_until_it_is_reported() -> None:
    clock = FakeClock(5)
    assert [clock(), clock()] == [5.0, 5.0]
    assert clock.advance(0.25) == clock() == clock.now == 5.25


@pytest.mark.parametrize("seconds", [-0.1, math.nan, math.inf])
def test_a_clock_never_goes_back(seconds: float) -> None:
    clock = FakeClock(1)
    with pytest.raises(ConfigError):
        clock.advance(seconds)
    assert clock.now == 1.0


def test_a_balancer_lives_by_the_clock_it_is_given() -> None:
    clock = FakeClock()
    lb = LoadBalancer(["web1", "web2"], clock=clock)
    with pytest.warns(UserWarning, match="draining"):
        lb.drain("web1", deadline=30)
    assert lb.pick("x", prefer="web1").name == "web1"
    clock.advance(31)
    assert lb.pick("x", prefer="web1").name == "web2"


def test_equal_seeds_are_equal_numbers() -> None:
    assert seeded_rng(3).random() == seeded_rng(3).random() != seeded_rng(4).random()


def test_a_view_states_what_it_was_given() -> None:
    loads = {"b": 4}
    view: View = FakeView([("b", 2), "a", "c"], loads, {"a": 0.5})
    loads["b"] = 9
    assert view.hosts == as_hosts(["a", "b", "c"])
    assert [view.in_flight(host) for host in view.hosts] == [0, 4, 0]
    assert [view.latency(host) for host in view.hosts] == [0.5, 0.0, 0.0]
    assert view.least_loaded() == Host("a")


@given(hosts())
def test_hosts_are_a_legal_membership(pool: list[Host]) -> None:
    assert as_hosts(pool) == tuple(pool)
    assert 1 <= len(pool) <= 6
    assert all(0.1 <= host.weight <= 8 for host in pool)


@given(hosts(whole=True, least=2, most=3))
def test_hosts_are_as_they_are_asked_for(pool: list[Host]) -> None:
    assert 2 <= len(pool) <= 3
    assert all(host.weight.is_integer() for host in pool)


@given(histories())
def test_a_history_changes_one_thing_at_a_time(history: list[list[Host]]) -> None:
    for before, after in pairwise(history):
        assert after
        assert as_hosts(after) == tuple(after)
        changed = {host.name for host in {*before} ^ {*after}}
        heavier = [h for h in after if any(h == b and h.weight != b.weight for b in before)]
        assert len(changed) + len(heavier) <= 1


@given(keys())
def test_keys_are_str_or_bytes_that_utf8_can_write(key: str | bytes) -> None:
    assert isinstance(key, bytes) or key.encode() is not None


def test_surrogates_come_when_they_are_asked_for() -> None:
    def lone(text: str | bytes) -> bool:
        return isinstance(text, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in text)

    assert lone(find(keys(surrogates=True), lone))
    assert lone(find(host_names(surrogates=True), lone))


def test_inputs_shrink_to_what_a_person_would_write() -> None:
    assert find(hosts(), lambda pool: len(pool) > 2) == as_hosts_list("web1", "web2", "web3")
    assert find(weights(), lambda weight: weight > 4) == 5.0


def as_hosts_list(*names: str) -> list[Host]:
    return list(as_hosts(names))


def test_without_hypothesis_the_error_names_what_to_install() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import hashring\n"
        "try:\n"
        "    import hashring.testing\n"
        "except hashring.ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        'contract tests need hypothesis: pip install "sticky-hashring[testing]"'
    )


def test_the_checks_need_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from hashring import HashRing, testing\n"
        "testing.check_placement(lambda hosts: HashRing(hosts, vnodes=4).table, max_examples=5)\n"
        "testing.check_strategy(lambda: lambda view: view.hosts[0], max_examples=5)\n"
        "print('passed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "passed\n"
