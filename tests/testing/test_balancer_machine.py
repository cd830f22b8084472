"""The state machine for balancers passes what is right and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from hashring import HashRing, LoadBalancer
from hashring.affinity import PinTable
from hashring.hosts import Host
from hashring.keys import position
from hashring.testing import BalancerMachine

QUICK = settings(
    max_examples=30,
    stateful_step_count=8,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # the first failure is enough here
)


class Own:
    """A balancer of names over a ring, as a user would write it."""

    def __init__(self, hosts: list[str]) -> None:
        self.names, self.away = list(hosts), set[str]()

    def pick(self, client: str) -> str:
        usable = [name for name in self.names if name not in self.away]
        if not usable:
            raise LookupError("no host")
        return HashRing(usable, vnodes=8).lookup(client)

    def register(self, name: str) -> None:
        if name in self.names:
            raise ValueError(name)
        self.names.append(name)

    def unregister(self, name: str) -> None:
        self.names.remove(name)
        self.away.discard(name)

    def mark_down(self, name: str, reason: str) -> None:
        if name not in self.names:
            raise KeyError(name)
        self.away.add(name)


class Modulo(Own):
    def pick(self, client: str) -> str:
        usable = [name for name in self.names if name not in self.away]
        if not usable:
            raise LookupError("no host")
        return usable[position(client) % len(usable)]


class Blind(Own):
    def pick(self, client: str) -> str:
        return HashRing(self.names, vnodes=8).lookup(client)


class Restless(Own):
    turn = 0

    def pick(self, client: str) -> str:
        self.turn += 1
        usable = [name for name in self.names if name not in self.away]
        if not usable:
            raise LookupError("no host")
        return usable[self.turn // 40 % len(usable)]


class Lenient(Own):
    def register(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)


class Silent(Own):
    def pick(self, client: str) -> str:
        try:
            return super().pick(client)
        except LookupError:
            return "none"


def run(make: Callable[[list[str]], Any], minimal_move: bool = True) -> None:
    class Machine(BalancerMachine):
        MINIMAL_MOVE = minimal_move

        def make(self, hosts: list[str]) -> Any:
            return make(hosts)

    run_state_machine_as_test(Machine, settings=QUICK)


@pytest.mark.parametrize(
    "make",
    [
        LoadBalancer,
        lambda hosts: LoadBalancer(hosts, placement="rendezvous"),
        lambda hosts: LoadBalancer(hosts, pins=PinTable()),
        LoadBalancer.sticky_by_load,
        lambda hosts: LoadBalancer([Host(name, address="10.0.0.1:80") for name in hosts]),
        Own,
    ],
    ids=["ring", "rendezvous", "pins", "sticky by load", "addresses", "own"],
)
def test_a_balancer_that_keeps_the_laws_passes(make: Callable[[list[str]], Any]) -> None:
    run(make)


def test_minimal_movement_can_be_left_out() -> None:
    run(Modulo, minimal_move=False)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Modulo, "moved from"),
        (Blind, "which is down|no host can serve"),
        (Restless, "though nothing changed"),
        (Lenient, "raised nothing, though the host is a member already"),
        (Silent, "though no host can serve"),
    ],
)
def test_a_broken_law_is_named(make: Callable[[list[str]], Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        run(make)
