"""Does a table of pins do what a list of (client, host, last use) would do, for any thread?"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hashring.balancer.pin_table import PinTable
from hashring.errors import ConfigError, InvalidKeyError
from hashring.keys import Key
from hashring.locks import GUARD
from hashring.testing import FakeClock

IDLE = 100.0


class NaivePins:
    """What ``PinTable`` promises, and nothing about how: the first of the list goes first."""

    def __init__(self, size: int, clock: FakeClock) -> None:
        self.size, self.clock = size, clock
        self.pins: list[tuple[str, str, float]] = []

    def held(self, client: str, *, touch: bool = True) -> str | None:
        self.pins = [pin for pin in self.pins if self.clock.now - pin[2] < IDLE]
        host = next((host for known, host, _ in self.pins if known == client), None)
        if host is not None and touch:
            self.put(client, host)
        return host

    def put(self, client: str, host: str | None) -> None:
        self.pins = [pin for pin in self.pins if pin[0] != client]
        if host is not None:
            self.pins.append((client, host, self.clock.now))
        del self.pins[: -self.size]

    def claim(self, client: str, host: str) -> str:
        held = self.held(client)
        if held is None:
            self.put(client, host)
        return held or host

    def replace(self, client: str, old: str, new: str | None) -> str | None:
        held = self.held(client)
        if held is not None and held != old:
            return held
        self.put(client, new)
        return new


CLIENTS = st.sampled_from("abcdefgh")
HOSTS = st.sampled_from(["web1", "web2", "web3"])


class Beside(RuleBasedStateMachine):
    """Every answer of the table and of the list."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1e6)
        self.table = PinTable(5, idle=IDLE, clock=self.clock)
        self.naive = NaivePins(5, self.clock)

    @rule(client=CLIENTS)
    def get(self, client: str) -> None:
        assert self.table.get(client) == self.naive.held(client)

    @rule(client=CLIENTS, host=HOSTS)
    def claim(self, client: str, host: str) -> None:
        assert self.table.claim(client.encode(), host) == self.naive.claim(client, host)

    @rule(client=CLIENTS, old=HOSTS, new=HOSTS | st.none())
    def replace(self, client: str, old: str, new: str | None) -> None:
        assert self.table.replace(client, old, new) == self.naive.replace(client, old, new)

    @rule(seconds=st.sampled_from([0.0, 1.0, 40.0, IDLE]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counted(self) -> None:
        stats = self.table.stats
        self.naive.held("nobody")
        assert stats["pins"] == len(self.naive.pins) <= 5
        assert stats["new"] == stats["pins"] + stats["forgotten"] + stats["evicted"] + stats["idle"]


TestBeside = Beside.TestCase


def test_the_first_writer_wins_for_each_spelling_of_a_client() -> None:
    pins = PinTable()
    assert [pins.claim(client, host) for client, host in (("7", "a"), (b"7", "b"), (7, "c"))] == [
        "a",
        "a",
        "a",
    ]
    assert len(pins) == 1
    assert pins.get(chr(0xD83D)) is None, "a lone surrogate is a key like any other"
    with pytest.raises(InvalidKeyError):
        pins.get(1.5)  # type: ignore[arg-type]  # what is refused is what the type forbids


def test_a_table_of_many_idle_pins_gives_them_up_as_it_grows() -> None:
    clock = FakeClock(1e6)
    pins = PinTable(1_000_000, idle=IDLE, clock=clock)
    for number in range(10_000):
        pins.claim(number, "a")
        clock.now += 1.0
    assert len(pins) < IDLE + 200, "some 64 more at most than are in use"


def test_what_cannot_work_is_refused() -> None:
    for size in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="size"):
            PinTable(size)  # type: ignore[arg-type]  # the point
    for idle in (0, -1, float("inf"), float("nan"), "60"):
        with pytest.raises(ConfigError, match="idle"):
            PinTable(idle=idle)  # type: ignore[arg-type]  # the point


@pytest.fixture
def _hurried_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # 500 times as often as by default: threads meet inside every call
    yield
    sys.setswitchinterval(before)


def together(threads: int, work: Callable[[int], None]) -> None:
    """Run ``work(number)`` in some threads at once; what any of them raises is raised."""
    failures: list[BaseException] = []
    start = Barrier(threads)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:  # a thread's own errors would go unnoticed
            failures.append(error)

    crew = [Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("_hurried_threads")
class TestThreads:
    def test_each_thread_s_own_clients_beside_the_naive_model(self) -> None:
        table = PinTable(100_000)

        def work(number: int) -> None:
            rng = random.Random(number)
            naive = NaivePins(100_000, FakeClock(1e6))
            for _ in range(15_000):
                client, host = f"{number}-{rng.randrange(40)}", f"web{rng.randrange(3)}"
                method = rng.choice(["get", "claim", "replace"])
                asked: tuple[Any, ...] = {
                    "get": (client,),
                    "claim": (client, host),
                    "replace": (client, f"web{rng.randrange(3)}", rng.choice([host, None])),
                }[method]
                expected = getattr(naive, "held" if method == "get" else method)(*asked)
                assert getattr(table, method)(*asked) == expected, (method, asked)

        together(4, work)

    def test_claims_of_one_client_at_the_same_time_end_on_one_host(self) -> None:
        table = PinTable()
        answers: list[list[str]] = [[] for _ in range(4)]

        def work(number: int) -> None:
            answers[number] = [table.claim(client, f"web{number}") for client in range(5_000)]

        together(4, work)
        assert all(len(set(hosts)) == 1 for hosts in zip(*answers, strict=True))
        assert table.stats["new"] == 5_000

    def test_each_compare_and_set_succeeds_from_what_was_there(self) -> None:
        table = PinTable()
        steps: list[list[tuple[str, str]]] = [[] for _ in range(4)]
        table.claim("x", "start")

        def work(number: int) -> None:
            for turn in range(4_000):
                held, new = table.get("x"), f"{number}-{turn}"
                assert held is not None
                if table.replace("x", held, new) == new:
                    steps[number].append((held, new))

        together(4, work)
        chain = dict(step for done in steps for step in done)
        assert len(chain) == sum(map(len, steps)), "no host was replaced twice"
        host, length = "start", 0
        while host in chain:
            host, length = chain[host], length + 1
        assert (host, length) == (table.get("x"), len(chain)), "one chain from start to end"

    def test_a_table_too_small_for_its_clients_stays_small(self) -> None:
        table = PinTable(50, idle=1e-4)

        def work(number: int) -> None:
            rng = random.Random(number)
            for _ in range(10_000):
                client: Key = rng.randrange(100)
                assert table.get(client) in (None, "web1", "web2")
                assert table.claim(client, "web1") in ("web1", "web2")
                assert table.replace(client, "web1", rng.choice(["web2", None])) in ("web2", None)
                assert len(table) <= 50 + 4, "one more for each thread that is inside a claim"

        together(4, work)
        assert table.stats["pins"] <= 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_worker_waits_for_no_inherited_lock() -> None:
    table = PinTable()
    table.claim("x", "web1")
    with GUARD.lock:
        child = os.fork()
        if not child:
            signal.alarm(30)  # a child that waits in vain must not outlive the test
            os._exit(table.get("x") != "web1")
    assert os.waitpid(child, 0)[1] == 0
