"""Readers and a writer: every answer is of a state that was live at that time."""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from hashring.balancer import LoadBalancer
from hashring.ring import HashRing
from hashring.strategies import LeastConnections
from tests.balancer.rig import CLIENTS, balancer, open_lease, walk

PATIENCE = 120  # seconds until a thread that never ends is given up; a run takes a few
READERS = 4
PICKS = 400_000
SNAPSHOTS = 1_000
ASKED = CLIENTS[:16]


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads that take turns every 50 us meet in places where those of 5 ms never do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def together(*targets: Callable[[], None]) -> None:
    """Run all at once; what any of them raises is raised here."""
    errors: list[BaseException] = []

    def guarded(target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(each,), daemon=True) for each in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


class History:
    """Who was usable at each epoch, kept by the only writer."""

    def __init__(self, lb: LoadBalancer, weights: dict[str, float]) -> None:
        self.lb, self.weights, self.away = lb, dict(weights), set[str]()
        self.usable: dict[int, frozenset[tuple[str, float]]] = {}
        self.write_down()

    def write_down(self) -> None:
        left = {n: w for n, w in self.weights.items() if n not in self.away}
        self.usable[self.lb.snapshot.epoch] = frozenset(left.items())

    def change(self, rng: random.Random) -> None:
        """One random change that is a change, and never the last usable host."""
        lb, name = self.lb, rng.choice("bcdefgh")  # "a" stays usable
        act = rng.choice(["weight", "member", "away", "away", "hosts"])
        if act == "weight" and name in self.weights:
            self.weights[name] = rng.choice([w for w in (0.5, 1.0, 2.0) if w != self.weights[name]])
            lb.set_weight(name, self.weights[name])
        elif act == "hosts":
            self.weights = {n: w for n, w in self.weights.items() if n == "a" or rng.random() < 0.7}
            self.weights.setdefault(name, 1.0)
            self.away &= self.weights.keys()
            lb.set_hosts(self.weights)
        elif name not in self.weights:
            self.weights[name] = 1.0
            lb.register(name)
        elif act == "member":
            del self.weights[name]
            self.away.discard(name)
            lb.unregister(name)
        elif name in self.away:
            self.away.discard(name)
            lb.mark_up(name)
        else:
            self.away.add(name)
            lb.mark_down(name, "flapping")
        self.write_down()


def test_each_answer_is_of_a_state_that_was_live_during_it() -> None:
    weights = dict.fromkeys("abcdefgh", 1.0)
    lb = balancer(weights)
    history = History(lb, weights)
    picks, done = [0] * READERS, threading.Event()
    seen: list[set[tuple[int, int, str | None, str]]] = [set() for _ in range(READERS)]

    def read(number: int) -> None:
        leases, answers = number % 2 == 1, seen[number]
        while not done.is_set():
            for client in (None, *ASKED):
                first = lb.snapshot.epoch
                if leases:
                    with lb.lease(client) as lease:
                        host = lease.host.name
                else:
                    host = lb.pick(client).name
                answers.add((first, lb.snapshot.epoch, client, host))
            picks[number] += 1 + len(ASKED)

    def write() -> None:
        rng = random.Random(1)
        try:
            while lb.snapshot.epoch < SNAPSHOTS + 1 or sum(picks) < PICKS:
                history.change(rng)
        finally:
            done.set()

    together(write, *(partial(read, number) for number in range(READERS)))
    assert sum(picks) >= PICKS
    assert lb.snapshot.epoch > SNAPSHOTS
    assert sorted(history.usable) == list(range(1, lb.snapshot.epoch + 1))
    check(seen, history)
    assert {lb.load(host).in_flight for host in lb.hosts} == {0}


def check(seen: list[set[tuple[int, int, str | None, str]]], history: History) -> None:
    owners: dict[frozenset[tuple[str, float]], dict[str | None, set[str]]] = {}
    for usable in history.usable.values():
        if usable not in owners:
            fresh = HashRing(sorted(usable), vnodes=16)
            owners[usable] = {client: {fresh.lookup(client)} for client in ASKED}
            owners[usable][None] = {name for name, _ in usable}
    for first, last, client, host in set[tuple[int, int, str | None, str]]().union(*seen):
        states = (history.usable[epoch] for epoch in range(first, last + 1))
        assert any(host in owners[state][client] for state in states), (first, last, client, host)


def test_the_bound_holds_exactly_between_threads() -> None:
    # seven at once at most: ceil(1.25 * 7 / 7) = 2 is the highest bound there ever is
    names = [f"web{i}" for i in range(7)]
    lb = balancer(names, load_factor=1.25)
    order, lock = walk(names, "hot"), threading.Lock()
    now, most, reasons = Counter[str](), Counter[str](), Counter[str]()

    def work() -> None:
        for _ in range(3_000):
            with lb.lease("hot") as lease:
                name = lease.host.name
                with lock:
                    now[name] += 1
                    most[name] = max(most[name], now[name])
                    reasons[lease.reason] += 1
                with lock:
                    now[name] -= 1

    together(*[work] * 7)
    assert max(most.values()) <= 2
    assert reasons["owner"] + reasons["overflow"] == 21_000
    assert most[order[0]] >= 1
    assert {lb.load(name).in_flight for name in names} == {0}
    assert sum(lb.load(name).ok for name in names) == 21_000


def test_a_barrier_of_leases_is_spread_as_the_bound_states() -> None:
    names = [f"web{i}" for i in range(6)]
    lb = balancer(names, load_factor=1.0001)
    entered, hosts = threading.Barrier(6), []

    def hold() -> None:
        with lb.lease("hot") as lease:
            hosts.append(lease.host.name)
            entered.wait(PATIENCE)

    together(*[hold] * 6)
    # L = 0..4 give a bound of 1, and L = 5 one of ceil(1.0001) = 2, which the owner then has
    assert Counter(hosts) == Counter([*walk(names, "hot")[:5], walk(names, "hot")[0]])


def test_counts_come_back_to_nothing_while_machines_come_and_go() -> None:
    lb = balancer(["a", "b", "c"], fallback=LeastConnections(), load_factor=1.5)
    done = threading.Event()

    def work() -> None:
        rng = random.Random(2)
        for _ in range(4_000):
            with lb.lease(rng.choice(CLIENTS) if rng.random() < 0.5 else None):
                lb.pick(exclude=["b"])

    def churn() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            lb.replace("a", address=f"new:{turn}")
            lb.set_hosts(["a", "b", "c", "d"] if turn % 2 else ["a", "c", "b"])
            lb.drain("b")
            lb.resume("b")

    def workers() -> None:
        try:
            together(*[work] * 4)
        finally:
            done.set()

    together(workers, churn)
    assert {lb.load(host).in_flight for host in lb.hosts} == {0}
    # so is the sum that bounds are made of: with L = 0 and 1 a bound is ceil(1.5 * 2 / 3) = 1
    lb.set_hosts(["a", "b", "c"])
    hosts = [open_lease(lb, "x").host.name for _ in range(2)]
    assert hosts == walk(["a", "b", "c"], "x")[:2]


def test_least_connections_spreads_leases_of_many_threads_evenly() -> None:
    lb = balancer(["a", "b", "c", "d"], fallback=LeastConnections())
    entered = threading.Barrier(8)

    def hold() -> None:
        with lb.lease():
            entered.wait(PATIENCE)
            assert {lb.load(host).in_flight for host in lb.hosts} == {2}
            entered.wait(PATIENCE)

    together(*[hold] * 8)
    assert {lb.load(host).in_flight for host in lb.hosts} == {0}
