"""How do the placements compare?  All of them side by side, then what was promised of some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from statistics import fmean, median
from zlib import crc32

from xxhash import xxh64_intdigest

from benchmarks._grid import grid
from benchmarks._held import held
from benchmarks._measure import HOT, Rounds, Timed, clock, each, host_names, interleaved, times
from benchmarks._report import Row, Table, at_most, row
from benchmarks._shares import counted_peak, exact_shares, peak, sampled_peak
from hashring import placement
from hashring.hosts import Host, as_hosts
from hashring.placement._hashes import HashFunction, md5

__all__ = ["run"]

_HEAD = (
    *("placement", "look-up ns", "hash ns", "build ms", "add ms", "B/host", "peak/mean"),
    *("moved", "collateral", "if down"),
)
_PASSES = 5  # of the hot keys: 10,000 look-ups
_SLOW = 15e-6
"""Seconds a look-up above which a placement gets a tenth of the keys: one that asks every host."""
_REPEATS, _LONG = 3, 0.1  # builds, of which the median counts; one alone where it takes so long
_NS, _MS = 1e9, 1e3

_OWN_HASHES: dict[str, HashFunction] = {
    "envoy-maglev": xxh64_intdigest,
    "envoy-ring": xxh64_intdigest,
    "ketama": md5,
    "nginx-consistent": crc32,
}
_SETS, _COUNTED = 20, 4  # of names: by arcs, and those of them that are counted, too


@dataclass(frozen=True, slots=True)
class _Pool:
    """Some hosts, of which one leaves, and the keys that they are asked for."""

    hosts: tuple[Host, ...]
    keys: Sequence[str]

    @property
    def gone(self) -> str:
        """The host that leaves: one in the middle, for the last one suits some placements."""
        return self.hosts[len(self.hosts) // 2].name

    @property
    def left(self) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.name != self.gone)


@dataclass(slots=True)
class _Placed:
    """One placement over a pool: its tables with all hosts, and with one taken out of the list."""

    name: str
    table: placement.Table
    removed: placement.Table
    build: float
    add: float

    @classmethod
    def over(cls, name: str, pool: _Pool) -> _Placed:
        """Built, and grown by one host with the recipe that a pool of hosts uses; seconds."""
        build, recipe = placement.module(name).build, placement.recipe(name)
        made = [_timed(build, pool.hosts)]
        while len(made) < _REPEATS and made[0][1] < _LONG:
            made.append(_timed(build, pool.hosts))
        grown: list[float] = []
        while not grown or (len(grown) < _REPEATS and grown[0] < _LONG):
            removed = recipe(pool.left)
            grown.append(_timed(recipe, pool.hosts)[1])
        return cls(name, made[0][0], removed, median(took for _, took in made), median(grown))


def _timed(build: placement.Recipe, hosts: tuple[Host, ...]) -> tuple[placement.Table, float]:
    began = clock()
    table = build(hosts)
    return table, clock() - began


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    keys = _addresses(10_000 if quick else 40_000)
    for count in (10,) if quick else (10, 100, 1_000):
        yield _side_by_side(_Pool(_hosts(count), keys))
    rows = [*_look_ups(5 if quick else 31), _maglev_build(3 if quick else 9)]
    sets, counted = (2, 1) if quick else (_SETS, _COUNTED)
    yield Table("What was promised of placements", [*rows, *_multiprobe(keys, sets, counted)])


def _addresses(count: int) -> list[str]:
    """Distinct IPv4 addresses: the keys that every placement takes."""
    random = Random(1)
    found: dict[str, None] = {}
    while len(found) < count:
        a, b, c, d = random.getrandbits(32).to_bytes(4, "big")
        found[f"{a}.{b}.{c}.{d}"] = None
    return list(found)


def _hosts(count: int) -> tuple[Host, ...]:
    return as_hosts([f"10.0.{n // 250}.{n % 250 + 1}:8080" for n in range(count)])


def _side_by_side(pool: _Pool) -> Table:
    placed = [_Placed.over(name, pool) for name in placement.names()]
    done = _hot({one.name: one.table for one in placed}, pool.keys[:HOT])
    slow = [one.name for one in placed if done.median(one.name) > _SLOW]
    lines = [_line(one, pool, done, few=one.name in slow) for one in placed]
    return grid(f"All placements, {len(pool.hosts):,} hosts", _HEAD, lines, _note(pool, slow))


def _hot(tables: dict[str, placement.Table], keys: Sequence[str]) -> Rounds:
    """Look-ups of all tables in turns, and the position of a key alone where a table has it."""
    candidates: dict[str, Timed] = {}
    for name, table in tables.items():
        # what asks every host takes as long for each of a few
        slow = each(table.lookup, keys[:100])() > _SLOW
        some = keys[:300] if slow else [*keys] * _PASSES
        candidates[name] = each(table.lookup, some)
        if hasattr(table, "position"):
            candidates[f"{name} hash"] = each(table.position, some)
    return interleaved(candidates, rounds=5)


def _line(one: _Placed, pool: _Pool, done: Rounds, *, few: bool) -> tuple[str, ...]:
    keys = pool.keys[: len(pool.keys) // 10] if few else pool.keys
    before = list(map(one.table.lookup, keys))
    hashed = hasattr(one.table, "position")
    exact = exact_shares(one.table)
    if exact is not None:
        balance = f"{peak(exact):.3f}"
    else:
        balance = "-" if few else f"~{counted_peak(before, one.table.hosts):.3f}"
    return (
        one.name,
        f"{done.median(one.name) * _NS:,.0f}",
        f"{done.median(f'{one.name} hash') * _NS:,.0f}" if hashed else "-",
        f"{one.build * _MS:,.2f}",
        f"{one.add * _MS:,.2f}",
        f"{held(one.table, beside=pool.hosts) / len(pool.hosts):,.0f}",
        balance,
        *_moves(one, pool.gone, keys, before),
    )


def _moves(
    one: _Placed, gone: str, keys: Sequence[str], before: Sequence[str | None]
) -> Iterator[str]:
    removed = list(zip(before, map(one.removed.lookup, keys), strict=True))
    down = zip(before, map(one.table.without([gone]).lookup, keys), strict=True)
    yield f"{100 * sum(old != new for old, new in removed) / len(keys):.2f}"
    for pairs in (removed, down):
        yield f"{100 * sum(old not in (new, gone) for old, new in pairs) / len(keys):.2f}"


def _note(pool: _Pool, slow: Sequence[str]) -> str:
    count, keys = len(pool.hosts), len(pool.keys)
    even = sampled_peak([1 / count] * count, keys)
    note = (
        f"Keys: {keys:,} IPv4 addresses; look-ups: {HOT:,} of them, hot. hash: a key's position "
        "alone, where the\n"
        "table has one. add: one host more, by the recipe that a pool uses. B/host: bytes, the "
        "hosts not counted.\n"
        "peak/mean: exact, for an even hash; ~ is counted with the keys, where even shares would "
        f"read {even:.3f}.\n"
        "In % of all keys: moved when a host in the middle of the list is taken out "
        f"({100 / count:g} % are its own);\n"
        "collateral, those of them whose host stays; if down, collateral where it is marked down "
        "instead."
    )
    if slow:
        note += f"\nA tenth of the keys, and too few to count shares (-): {', '.join(slow)}."
    return note


def _look_ups(rounds: int) -> Iterator[Row]:
    keys = _addresses(HOT) * _PASSES
    data = [key.encode() for key in keys]
    hosts = _hosts(5)
    candidates = {"ring": each(placement.create("ring", hosts).lookup, keys)}
    for name, number in _OWN_HASHES.items():
        candidates[name] = each(placement.create(name, hosts).lookup, keys)
        candidates[f"{name} hash"] = each(number, data)
    done = interleaved(candidates, rounds)
    for name, number in _OWN_HASHES.items():
        ratio = done.ratio(name, "ring") - done.ratio(f"{name} hash", "ring")
        own = f"{number.__name__.partition('_')[0]} {done.ns(f'{name} hash')}"
        detail = f"{done.ns(name)}, {own}, ring {done.ns('ring')}"
        target = at_most(1 if name == "envoy-maglev" else 2)
        what = f"{name}, 5 hosts: (look-up - hash) over ring's"
        yield row(what, ratio, "times", target, detail=detail)


def _maglev_build(rounds: int) -> Row:
    build = partial(placement.module("envoy-maglev").build, _hosts(100))
    done = interleaved({"build": times(build, 1)}, rounds)
    what = "envoy-maglev, 100 hosts: build of 65,537 slots"
    return row(what, done.median("build") * _MS, "ms", at_most(80))


def _multiprobe(keys: Sequence[str], sets: int, counted: int) -> Iterator[Row]:
    create = partial(placement.create, "multiprobe", vnodes=16, probes=21)
    pools = [host_names(101, f"pool{n}-web") for n in range(sets)]
    tables = [create(pool[:100]) for pool in pools]
    exact = [exact_shares(table) or [] for table in tables]
    peaks = [peak(shares) for shares in exact]
    what = "multiprobe 16 x 21, 100 hosts, by arcs"
    detail = f"mean of {sets} sets of names, worst {max(peaks):.3f}"
    yield row(what, fmean(peaks), "peak/mean", at_most(1.06), detail=detail)

    many = _addresses(5 * len(keys))  # ``keys`` and more: the error is then 0.01
    read, bias, needless = [], [], 0
    for pool, table, shares in zip(pools[:counted], tables, exact, strict=False):
        owners = list(map(table.lookup, many))
        read.append(counted_peak(owners, table.hosts))
        bias.append(sampled_peak(shares, len(many)) - peak(shares))
        grown, shrunk = map(create(pool).lookup, keys), map(create(pool[1:100]).lookup, keys)
        for before, more, less in zip(owners, grown, shrunk, strict=False):
            needless += (more not in (before, pool[100])) + (before not in (less, pool[0]))
    detail = f"read {fmean(read):.3f}, less {fmean(bias):.3f} of sampling; {counted} sets"
    what = f"the same, counted with {len(many):,} keys"
    denoised = fmean(read) - fmean(bias)
    yield row(what, denoised, "peak/mean", at_most(1.06), detail=detail)
    none = at_most(0)
    measured = f"{needless} (of {len(keys):,} keys x {counted} sets, a host more, a host less)"
    what = "the same: moves between hosts that stay"
    yield Row(what, measured, none.shown("").rstrip(), none.verdict(needless))
