"""What does it cost to remember clients, and whom does it keep in place?  A table of pins."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean

from benchmarks._measure import HOT, Rounds, Timed, clock, each, host_names, interleaved, keys
from benchmarks._report import Row, Table, at_most, row
from hashring import HashRing, LoadBalancer
from hashring.affinity import PinTable

__all__ = ["run"]

_NS = 1e9
_HOSTS = 10
_LIVE = 10_000  # clients of the growth and of the restart
_FILLS = 10  # of an empty table in a round: 20,000 new clients


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    note = f"{_HOSTS} hosts, {HOT:,} str client IDs (hot). Medians of one run."
    yield Table("lb.pick with a PinTable", list(_picks(3 if quick else 41)), note)
    live = [f"session-{number}" for number in range(500 if quick else _LIVE)]
    rows = [*_growth(live), *_restart(live)]
    yield Table(f"Moves of {len(live):,} live clients", rows, "Counted, not estimated.")


def _picks(rounds: int) -> Iterator[Row]:
    names, some = host_names(_HOSTS), keys(HOT)
    ids = [key.encode() for key in some]
    few, new = some[:HOT], ids[:HOT]
    ring, plain, held, empty = HashRing(names), LoadBalancer(names), PinTable(), PinTable()
    known, unknown = LoadBalancer(names, pins=held), LoadBalancer(names, pins=empty)
    for key in few:
        known.pick(key)

    done = interleaved(
        {
            "lookup": each(ring.lookup, some),
            "hit": each(known.pick, some),
            "get": each(held.get, ids),
            "miss": _anew(empty, new, each(unknown.pick, few)),
            "get nothing": _anew(empty, new, each(empty.get, new)),
            "claim": _anew(empty, new, _claims(empty, new)),
            "lease": _leases(known, some),
            "plain lease": _leases(plain, some),
        },
        rounds,
    )
    yield _beside("hit", done, ("get",), 1.0)
    yield _beside("miss", done, ("get nothing", "claim"), 1.75)
    for what in ("hit", "miss"):
        yield row(f"pick, {what}", done.median(what) * _NS, "ns", at_most(700))
    detail = f"without pins {done.ns('plain lease')}"
    yield row("lease, hit", done.median("lease") * _NS, "ns", detail=detail)


def _beside(what: str, done: Rounds, parts: Sequence[str], bound: float) -> Row:
    """What a pick costs beside the calls of the table that it makes, in look-ups."""
    rest = done.median(what) - sum(map(done.median, parts))
    calls = ", ".join(f"{part} {done.ns(part)}" for part in parts)
    detail = f"{done.ns(what)}; {calls}; look-up {done.ns('lookup')}"
    ratio = rest / done.median("lookup")
    return row(f"pick without the table, {what}", ratio, "look-ups", at_most(bound), detail=detail)


def _anew(pins: PinTable, ids: list[bytes], timed: Timed) -> Timed:
    """What is measured on a table that knows nobody; to forget them is not measured."""

    def forgotten() -> float:
        for key in ids:
            if (host := pins.get(key)) is not None:
                pins.replace(key, host, None)
        return timed()

    return lambda: fmean(forgotten() for _ in range(_FILLS))


def _claims(pins: PinTable, ids: list[bytes]) -> Timed:
    def timed() -> float:
        claim = pins.claim
        began = clock()
        for key in ids:
            claim(key, "host0")
        return (clock() - began) / len(ids)

    return timed


def _leases(lb: LoadBalancer, some: list[str]) -> Timed:
    def timed() -> float:
        began = clock()
        for key in some:
            with lb.lease(key):
                pass
        return (clock() - began) / len(some)

    return timed


# -- who moves -------------------------------------------------------------------------------------


def _growth(live: list[str]) -> Iterator[Row]:
    four = host_names(4)
    share = sum(HashRing([*four, "new"]).lookup(key) == "new" for key in live)
    for what, lb, most in (
        ("with pins", LoadBalancer(four, pins=PinTable()), 0),
        (f"the ring alone; the newcomer's share is {share:,}", LoadBalancer(four), share),
    ):
        before = _where(lb, live)
        lb.register("new")
        moves = _moves(before, _where(lb, live))
        yield row(f"growth 4 -> 5, {what}", moves, "clients", at_most(most))


def _restart(live: list[str]) -> Iterator[Row]:
    five = host_names(5)
    for what, lb, most in (
        ("with pins", LoadBalancer(five, pins=PinTable()), 1.5),
        ("the ring alone", LoadBalancer(five), 2.0),
    ):
        moves = _rolled(lb, live) / len(live)
        yield row(f"rolling restart of 5 hosts, {what}", moves, "moves a client", at_most(most))


def _rolled(lb: LoadBalancer, live: list[str]) -> int:
    """Each host in turn is drained, goes, and comes back; the moves of all clients."""
    states = [_where(lb, live)]
    for host in lb.hosts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a drain without pins moves its clients at once
            lb.drain(host)
        lb.mark_down(host, "restart")
        states.append(_where(lb, live))
        lb.mark_up(host)
        lb.resume(host)
        states.append(_where(lb, live))
    return sum(_moves(before, after) for before, after in pairwise(states))


def _where(lb: LoadBalancer, live: list[str]) -> list[str]:
    return [lb.pick(key).name for key in live]


def _moves(before: list[str], after: list[str]) -> int:
    return sum(old != new for old, new in zip(before, after, strict=True))
