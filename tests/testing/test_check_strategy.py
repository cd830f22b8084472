"""Is a broken strategy caught, readably?"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from hashring import Host
from hashring.strategies import LeastConnections, RoundRobin, Strategy, View
from hashring.testing import check_strategy


class Stale(Strategy):
    """Keeps the first view's host for ever."""

    def choose(self, view: View) -> Host:
        self.kept = getattr(self, "kept", None) or view.hosts[0]
        return self.kept


class Second(Strategy):
    def choose(self, view: View) -> Host:
        return view.hosts[1]


class Names(Strategy):
    def choose(self, view: View) -> Host:
        return view.hosts[0].name  # type: ignore[return-value]  # that is the mistake


class OwnDice(Strategy):
    def choose(self, view: View) -> Host:
        return random.choice(view.hosts)


class Shared(Strategy):
    def bind(self, rng: Any) -> None:
        self._rng = rng

    def choose(self, view: View) -> Host:
        return view.hosts[0]


class Boastful(RoundRobin):
    USES_WEIGHT = True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "law", "says"),
    [
        (Stale, "of_this_view", "which is not in this view"),
        (Second, "of_this_view", "raised IndexError: tuple index out of range"),
        (Names, "of_this_view", "is 'web1', which is not a Host"),
        (OwnDice, "repeatable", "two that were bound to equal rngs chose"),
        (Shared, "bound_once", "the second bind(None) raised nothing"),
        (Boastful, "weighted", "fair is web1 16.7%, web2 50.0%, web3 33.3%"),
    ],
)
def test_what_is_broken_is_caught(factory: type[Strategy], law: str, says: str) -> None:
    with pytest.raises(AssertionError) as found:
        check_strategy(factory)
    message = str(found.value)
    assert message.startswith(f"{law} is broken: ")
    assert says in message


def test_the_counter_example_is_small() -> None:
    with pytest.raises(AssertionError) as found:
        check_strategy(Second)
    assert "view  FakeView([Host('web1')], {}, {})" in str(found.value)
    assert isinstance(found.value.__cause__, IndexError)


@pytest.mark.parametrize(
    "factory", [RoundRobin, LeastConnections, lambda: lambda view: view.hosts[-1]]
)
def test_what_is_right_passes(factory: Callable[[], Any]) -> None:
    check_strategy(factory, max_examples=20)
