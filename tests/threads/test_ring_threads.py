"""Readers look up while a writer changes the ring: a million answers, each of a state it had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from hashring.errors import NoHostsError
from hashring.ring import HashRing
from tests.ring.naive import NaiveRing

READERS = 4
READS = 250_000  # of each reader, so a million in all
CHANGES = 1_000
VNODES = 16
KEYS = [f"session-{i}" for i in range(500)]
HOSTS = {f"web{i}": 1.0 for i in range(12)}
# what the writer goes through, round and round: growth, weights, a leaver, a reconcile, nobody
STATES: list[dict[str, float]] = [
    HOSTS,
    {**HOSTS, "new": 1.0},
    {**HOSTS, "new": 3.0},
    {**HOSTS, "new": 0.5},
    {name: weight for name, weight in HOSTS.items() if name != "web3"},
    {"web1": 1.0, "other": 2.0},
    {},
]
WALKS = [
    {key: tuple(NaiveRing(state, vnodes=VNODES).walk(key)) for key in KEYS} for state in STATES
]


@pytest.fixture(autouse=True)
def _hurried_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # 500 times as often as by default: threads meet inside every call
    yield
    sys.setswitchinterval(before)


class Writer:
    """Goes through the states. ``begun`` counts changes that started, ``done`` those that ended."""

    def __init__(self) -> None:
        self.ring = HashRing(STATES[0], vnodes=VNODES)
        self.begun = self.done = 0

    def change(self) -> None:
        self.begun += 1
        old, new = (STATES[number % len(STATES)] for number in (self.done, self.begun))
        if old and new and len(old.keys() ^ new.keys()) == 1:
            for name in new.keys() - old.keys():
                self.ring.add(name, new[name])
            for name in old.keys() - new.keys():
                self.ring.remove(name)
        elif old.keys() == new.keys():
            self.ring.set_weight("new", new["new"])
        else:
            self.ring.set_hosts(new)
        self.done = self.begun


class Reader(Thread):
    """Looks up, and keeps what no state that held during the look-up would have answered."""

    def __init__(self, writer: Writer, enough: Event) -> None:
        super().__init__()
        self.writer, self.enough = writer, enough
        self.reads = 0
        self.wrong: list[object] = []

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self.read_all()
        except BaseException as error:  # a thread's own errors would go unnoticed
            self.wrong.append(error)
            raise

    def read_all(self) -> None:
        writer, ring = self.writer, self.writer.ring
        for key in KEYS:
            first = writer.done
            try:
                found: str | None = ring.lookup(key)
            except NoHostsError:
                found = None
            last = writer.begun
            if not any(found == owner for owner in self.legal(key, first, last)):
                self.wrong.append((key, first, last, found))
        self.reads += len(KEYS)
        self.read_walks(KEYS[self.reads // len(KEYS) % len(KEYS)])

    def read_walks(self, key: str) -> None:
        """The dearer questions, once a round: each must see one whole state."""
        ring, first = self.writer.ring, self.writer.done
        asked = (
            tuple(ring.walk(key)),
            tuple(ring.table.walk(key)),
            tuple(sorted(ring.hosts)),
            tuple(sorted(ring.shares())),
        )
        states = {number % len(STATES) for number in range(first, self.writer.begun + 1)}
        whole = {WALKS[state][key] for state in states}
        members = {tuple(sorted(STATES[state])) for state in states}
        if not (set(asked[:2]) <= whole and set(asked[2:]) <= members):
            self.wrong.append((key, states, asked))

    @staticmethod
    def legal(key: str, first: int, last: int) -> Iterator[str | None]:
        for number in range(first, last + 1):
            yield next(iter(WALKS[number % len(STATES)][key]), None)


def test_each_answer_is_legal_for_the_moment_it_was_given() -> None:
    writer, enough = Writer(), Event()
    readers = [Reader(writer, enough) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        # the writer never rests while there are reads to do: each read has a change beside it
        while writer.done < CHANGES or min(reader.reads for reader in readers) < READS:
            writer.change()
            if any(reader.wrong for reader in readers):
                break
    finally:
        enough.set()
        for reader in readers:
            reader.join()
    assert [wrong for reader in readers for wrong in reader.wrong[:3]] == []
    assert writer.done >= CHANGES
    assert sum(reader.reads for reader in readers) >= READERS * READS
    writer.ring._check()
    assert writer.ring == HashRing(STATES[writer.done % len(STATES)], vnodes=VNODES)


def test_the_states_differ_enough_to_notice_a_wrong_answer() -> None:
    for old, new in zip(WALKS, [*WALKS[1:], WALKS[0]], strict=True):
        assert sum(old[key] != new[key] for key in KEYS) > len(KEYS) / 10
