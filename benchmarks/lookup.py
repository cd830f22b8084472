"""How fast is a look-up?  Beside uhashring, a bare hash call, and rendezvous hashing."""

from __future__ import annotations

from collections.abc import Iterator

import mmh3
import uhashring
from pymemcache.client.rendezvous import (  # type: ignore[import-untyped]  # it ships no types
    RendezvousHash,
)

from benchmarks._measure import COLD, HOT, Rounds, Timed, clock, each, host_names, interleaved, keys
from benchmarks._report import Row, Table, Target, at_least, at_most, row
from hashring import HashRing

__all__ = ["run"]

_FASTER = {  # hosts -> how many times faster than uhashring: hot, cold
    10: (7, 7),
    100: (7.5, 7),
    1_000: (10, 6),
}
_BARE = at_most(5.2)  # times a call of mmh3.hash, the least that any look-up has to do
_VNODES = 160  # uhashring's default
_NS = 1e9


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    sizes = [10] if quick else list(_FASTER)
    rounds = (3, 2) if quick else (21, 7)  # hot, cold: a cold round is five times as long
    rows = [line for hosts in sizes for line in _beside_uhashring(hosts, *rounds)]
    note = f"Distinct str keys: hot {HOT:,}, cold {COLD:,}. Medians; ratios of one run."
    yield Table(f"ring.lookup(str) at {_VNODES} vnodes", rows, note)
    rows = [line for hosts in sizes for line in _default(hosts, *rounds)]
    yield Table("ring.lookup(str) at the default 512 vnodes", rows, note)
    yield Table("Other look-ups", [_many(rounds[1]), *map(_rendezvous, sizes)])


def _beside_uhashring(hosts: int, hot_rounds: int, cold_rounds: int) -> Iterator[Row]:
    names = host_names(hosts)
    ring = HashRing(names, vnodes=_VNODES)
    theirs = uhashring.HashRing(nodes=names, vnodes=_VNODES)
    for heat, distinct, rounds in (("hot", HOT, hot_rounds), ("cold", COLD, cold_rounds)):
        some = keys(distinct)
        done = interleaved(
            {
                "ours": each(ring.lookup, some),
                "uhashring": each(theirs.get_node, some),
                "mmh3": each(mmh3.hash, some),
            },
            rounds,
        )
        what = f"{hosts:,} hosts, {heat}"
        target = at_least(_FASTER[hosts][heat == "cold"])
        detail = f"{done.ns('ours')}, uhashring {done.ns('uhashring')}"
        ratio = done.ratio("uhashring", "ours")
        yield row(f"{what}: uhashring over ours", ratio, "times", target, detail=detail)
        yield _beside_bare(what, done, _BARE if heat == "hot" else None)


def _default(hosts: int, hot_rounds: int, cold_rounds: int) -> Iterator[Row]:
    ring = HashRing(host_names(hosts))
    for heat, distinct, rounds in (("hot", HOT, hot_rounds), ("cold", COLD, cold_rounds)):
        some = keys(distinct)
        done = interleaved({"ours": each(ring.lookup, some), "mmh3": each(mmh3.hash, some)}, rounds)
        promised = heat == "hot" and hosts <= 100
        yield _beside_bare(f"{hosts:,} hosts, {heat}", done, _BARE if promised else None)


def _beside_bare(what: str, done: Rounds, target: Target | None) -> Row:
    detail = f"{done.ns('ours')}, mmh3.hash {done.ns('mmh3')}"
    ratio = done.ratio("ours", "mmh3")
    return row(f"{what}: ours over mmh3.hash(str)", ratio, "times", target, detail=detail)


def _many(rounds: int) -> Row:
    ring, some = HashRing(host_names(100)), keys(COLD)
    done = interleaved({"many": _all_of(ring, some), "one": each(ring.lookup, some)}, rounds)
    detail = f"one by one {done.ns('one')}; 100 hosts x 512, cold"
    return row("lookup_many, a key", done.median("many") * _NS, "ns", detail=detail)


def _all_of(ring: HashRing, some: list[str]) -> Timed:
    def timed() -> float:
        began = clock()
        ring.lookup_many(some)
        return (clock() - began) / len(some)

    return timed


def _rendezvous(hosts: int) -> Row:
    names = host_names(hosts)
    ring, theirs = HashRing(names), RendezvousHash(names)
    # it hashes once for each host, so a few keys take as long as thousands of ours
    few = keys(HOT)[: 10_000 // hosts]
    done = interleaved(
        {"ours": each(ring.lookup, keys(HOT)), "theirs": each(theirs.get_node, few)}, 5
    )
    detail = f"ours {done.ns('ours')}: {done.ratio('theirs', 'ours'):,.0f} times faster"
    what = f"pymemcache's rendezvous, {hosts:,} hosts"
    return row(what, done.median("theirs") * 1e6, "us", detail=detail)
