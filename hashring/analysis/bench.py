"""Seven measures of every placement, beside other libraries that are installed.

The measures are those by which consistent-hashing algorithms are compared in the literature: memory
of a table, time to build it, to resize it and to look a key up, balance, balance after many random
removals, and monotonicity. Times are CPU time of this process; compare them within one run only.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from time import process_time
from typing import Any, TypeAlias

from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, percent
from hashring.errors import ConfigError, HashringError
from hashring.hosts import Host
from hashring.placement import names, recipe
from hashring.validators import COUNT

Owner: TypeAlias = Callable[[str], str | None]
Build: TypeAlias = Callable[[Sequence[str]], Owner]
"""Takes host names and returns a look-up of the owner of a key. Called once for each pool."""

_REMOVED = 0.5  # of the hosts, before the balance after removals is counted
_ROUNDS = 5  # of which the median counts; the first build also pays for imports and is left out
_RESIZES = 4
_JOINED = "10.255.0.1:80"


@dataclass(frozen=True, slots=True)
class BenchRow:
    """The measures of one placement.

    ``memory`` is in bytes, ``build`` and ``resize`` (one host less or more) in seconds, ``lookup``
    in seconds a key. ``balance`` and ``balance_after`` (half of the hosts removed at random) are
    the busiest host's keys as a multiple of the mean. ``stray`` is the fraction of the keys that
    move between other hosts when one host joins or leaves, whichever is more: 0 for a monotone
    placement. ``refusal`` is the reason for a row without measures.
    """

    name: str
    memory: int = 0
    build: float = 0.0
    resize: float = 0.0
    lookup: float = 0.0
    balance: float = 0.0
    balance_after: float = 0.0
    stray: float = 0.0
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class BenchReport(Report):
    """The report of ``bench``: a row for each placement and for each other library."""

    hosts: int
    keys: int
    rows: tuple[BenchRow, ...]

    def tables(self) -> tuple[ReportTable, ...]:
        """The measures, and what could not be measured."""
        heads = ("placement", "memory", "build", "resize", "look-up", "balance", "after", "stray")
        rows = tuple(_cells(row) for row in self.rows if row.refusal is None)
        note = (
            f"{self.hosts:,} hosts, {self.keys:,} keys; times are CPU time; resize: one host less "
            "or more; balance: peak/mean of keys, and after half of the hosts were removed at "
            "random; stray: keys that move between other hosts when one host joins or leaves"
        )
        made = [ReportTable("Seven measures", heads, rows, note=note)]
        refused = tuple((row.name, row.refusal) for row in self.rows if row.refusal is not None)
        if refused:
            made.append(ReportTable("Not possible here", ("placement", "why"), refused, left=2))
        return tuple(made)

    def sentence(self) -> str:
        """The most even, the fastest and the smallest."""
        able = [row for row in self.rows if row.refusal is None]
        if not able:
            return "None of these placements can place these hosts."
        even, fast, small = (
            min(able, key=lambda row: float(getattr(row, of)))
            for of in ("balance", "lookup", "memory")
        )
        monotone = sum(row.stray == 0 for row in able)
        return (
            f"{even.name} is the most even ({even.balance:.3f}), {fast.name} looks up fastest "
            f"({fast.lookup * 1e6:.2f} us), {small.name} is the smallest "
            f"({_bytes(small.memory)}); {monotone} of {len(able)} move no key between other hosts."
        )


def _cells(row: BenchRow) -> tuple[str, ...]:
    return (
        row.name,
        _bytes(row.memory),
        f"{row.build * 1e3:.2f} ms",
        f"{row.resize * 1e3:.2f} ms",
        f"{row.lookup * 1e6:.2f} us",
        f"{row.balance:.3f}",
        f"{row.balance_after:.3f}",
        percent(row.stray),
    )


def _bytes(number: int) -> str:
    return f"{number / 1000:,.1f} KB"


def bench(
    hosts: int = 100,
    *,
    placements: Iterable[str] | None = None,
    keys: int = 20_000,
    peers: bool = True,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> BenchReport:
    """Measure placements over ``hosts`` equal hosts and ``keys`` keys.

    ``placements`` are names; None takes all. ``peers`` adds the libraries that are installed and
    known here: ``uhashring``, ``pymemcache``. ``progress`` is called with each name. Cost: some
    seconds a placement at 100 hosts; run it on a machine that does nothing else. Raises
    ``ConfigError`` for an unknown placement and for numbers below 4 hosts or 100 keys.

    >>> report = bench(8, placements=["ring", "modulo"], keys=500, peers=False)
    >>> [(row.name, row.stray > 0) for row in report.rows]
    [('ring', False), ('modulo', True)]
    """
    COUNT(hosts, "hosts")
    COUNT(keys, "keys")
    if hosts < 4 or keys < 100:
        raise ConfigError(f"bench needs at least 4 hosts and 100 keys, got {hosts} and {keys}")
    builds: dict[str, Callable[[], Build]] = {
        name: _own(name) for name in (names() if placements is None else placements)
    }
    if peers:
        builds.update(_peers())
    pool = [f"10.0.{number // 250}.{number % 250 + 1}:80" for number in range(hosts)]
    # addresses, because nginx-ip-hash places no other keys
    chance = random.Random(seed)
    asked = [".".join(str(chance.randrange(256)) for _ in "1234") for _ in range(keys)]
    rows = []
    for name, make in builds.items():
        if progress is not None:
            progress(name)
        try:
            rows.append(_measure(name, make, pool, asked, random.Random(seed)))
        except HashringError as error:
            rows.append(BenchRow(name, refusal=str(error)))
    return BenchReport(hosts, keys, tuple(rows))


def _measure(
    name: str, make: Callable[[], Build], pool: list[str], keys: list[str], chance: random.Random
) -> BenchRow:
    build = make()
    owner = build(pool)
    owner(keys[0])
    before = _owners(owner, keys)
    times = [_seconds(lambda: make()(pool)(keys[0])) for _ in range(_ROUNDS)]
    left = list(pool)
    gone = [left.pop(chance.randrange(len(left))) for _ in range(int(len(pool) * _REMOVED))]
    return BenchRow(
        name,
        memory=_memory(lambda: make()(pool)),
        build=median(times),
        resize=_resize_time(make(), pool, keys[0]),
        lookup=min(_seconds(lambda: _owners(owner, keys)) for _ in range(3)) / len(keys),
        balance=_peak(before, len(pool)),
        balance_after=_peak(_owners(_after(make(), pool, gone), keys), len(left)),
        stray=max(
            _stray(before, _owners(make()([*pool, _JOINED]), keys), _JOINED),
            _stray(before, _owners(_after(make(), pool, gone[:1]), keys), gone[0]),
        ),
    )


def _owners(owner: Owner, keys: list[str]) -> list[str | None]:
    return [owner(key) for key in keys]


def _after(build: Build, pool: list[str], gone: list[str]) -> Owner:
    """The owner after the hosts have left one by one, as far as the placement has a history."""
    left, owner = list(pool), build(pool)
    for host in gone:
        left.remove(host)
        owner = build(left)
    return owner


def _resize_time(build: Build, pool: list[str], key: str) -> float:
    build(pool)(key)
    times = []
    for number in range(_RESIZES):
        smaller = [*pool[:number], *pool[number + 1 :]]
        times.append(_seconds(lambda smaller=smaller: build(smaller)(key)))  # type: ignore[misc]  # its default
        times.append(_seconds(lambda: build(pool)(key)))
    return median(times)


def _seconds(act: Callable[[], object]) -> float:
    began = process_time()
    act()
    return process_time() - began


def _memory(act: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        held = act()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        del held
    finally:
        tracemalloc.stop()
    return size


def _peak(owners: list[str | None], hosts: int) -> float:
    counts = Counter(owners)
    return max(counts.values()) * hosts / len(owners)


def _stray(before: list[str | None], after: list[str | None], concerned: str) -> float:
    pairs = zip(before, after, strict=True)
    return sum(old != new and concerned not in (old, new) for old, new in pairs) / len(before)


# -- ours, and other libraries ---------------------------------------------------------------------


def _own(name: str) -> Callable[[], Build]:
    recipe(name)  # for its error

    def make() -> Build:
        build = recipe(name)  # of its own: it may patch the table that it made before
        return lambda pool: build(tuple(map(Host, pool))).lookup

    return make


def _peers() -> Iterator[tuple[str, Callable[[], Build]]]:
    for library, make in _PEERS.items():
        if find_spec(library.split()[1]) is not None:
            yield library, make


def _uhashring(**options: Any) -> Callable[[], Build]:
    def make() -> Build:
        from uhashring import HashRing as TheirRing

        held: list[Any] = []

        def build(pool: Sequence[str]) -> Owner:
            if not held:
                held.append(TheirRing(list(pool), **options))
            ring = held[0]
            wanted, now = set(pool), set(ring.get_nodes())
            for name in now - wanted:
                ring.remove_node(name)
            for name in wanted - now:
                ring.add_node(name)
            owner: Owner = ring.get_node
            return owner

        return build

    return make


def _pymemcache() -> Build:
    made = import_module("pymemcache.client.rendezvous").RendezvousHash

    def build(pool: Sequence[str]) -> Owner:
        owner: Owner = made(list(pool)).get_node
        return owner

    return build


_PEERS: Mapping[str, Callable[[], Build]] = {
    "lib: uhashring": _uhashring(),
    "lib: uhashring ketama": _uhashring(hash_fn="ketama"),
    "lib: pymemcache": _pymemcache,
}
