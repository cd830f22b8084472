"""How fast does the balancer pick?  By client ID, round robin, and in leases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import repeat
from threading import Event, Thread

from benchmarks._measure import HOT, Timed, clock, each, host_names, interleaved, keys, times
from benchmarks._report import Row, Table, at_most, row
from hashring import HashRing, Host, LoadBalancer
from hashring.load import TrackedRequest
from hashring.placement import Table as Placed
from hashring.placement import create
from hashring.strategies.least_connections import LeastConnections

__all__ = ["run"]

_NS = 1e9
_US = 1e6
_COUNT = 20_000  # calls a round
_MANY = 1_000  # hosts, where an order by load has something to order


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    rounds = 3 if quick else 21
    note = f"Str client IDs, {HOT:,} distinct (hot). Medians; ratios of one run."
    yield Table("lb.pick", [*_sticky(rounds), *_round_robin(rounds)], note)
    rows = [*_queue_step(rounds), *_leases(rounds)]
    yield Table("Leases", rows, f"{_MANY:,} hosts unless another number is given. Medians.")


def _sticky(rounds: int) -> Iterator[Row]:
    names, some = host_names(10), keys(HOT)
    ring, lb, one_down = HashRing(names), LoadBalancer(names), LoadBalancer(names)
    one_down.mark_down("host7", "benchmark")
    large_ring = HashRing(host_names(_MANY), vnodes=160)
    large = LoadBalancer(host_names(_MANY), placement=HashRing(vnodes=160))
    done = interleaved(
        {
            "lookup": each(ring.lookup, some),
            "pick": each(lb.pick, some),
            "down": each(one_down.pick, some),
            "large lookup": each(large_ring.lookup, some),
            "large pick": each(large.pick, some),
        },
        rounds,
    )
    for what, pick, lookup in (
        ("10 hosts x 512", "pick", "lookup"),
        ("1,000 hosts x 160", "large pick", "large lookup"),
    ):
        detail = f"{done.ns(pick)}, {done.ns(lookup)}"
        ratio = done.ratio(pick, lookup)
        target = at_most(1.45, 1.15)
        yield row(f"pick(id) over ring.lookup, {what}", ratio, "times", target, detail=detail)
    detail = f"{done.ns('down')}, {done.ns('pick')}"
    ratio = done.ratio("down", "pick")
    yield row("1 of 10 hosts down over all up", ratio, "times", at_most(1.1), detail=detail)


def _round_robin(rounds: int) -> Iterator[Row]:
    small, large = LoadBalancer(host_names(10)), LoadBalancer(host_names(_MANY), placement=None)
    done = interleaved({"10": times(small.pick, _COUNT), "many": times(large.pick, _COUNT)}, rounds)
    yield row("pick() round robin, 10 hosts", done.median("10") * _NS, "ns", at_most(200))
    yield row(f"pick() round robin, {_MANY:,} hosts", done.median("many") * _NS, "ns", at_most(200))
    free = _answers_while_locked()
    verdict = "ok" if free else "MISSED"
    measured = "answers" if free else "waits"
    yield Row("pick() while another thread holds both locks", measured, "answers", verdict)


def _answers_while_locked() -> bool:
    """Whether picks come back in the middle of a change, with the load tracker locked as well."""
    locked, let_go = Event(), Event()

    def slow(hosts: tuple[Host, ...]) -> Placed:
        if len(hosts) > 10:  # a recipe runs under the lock that changes take
            # private, but the one way to hold the lock that leases take
            with lb._tracker.lock:
                locked.set()
                let_go.wait(60)
        return create("ring", hosts)

    lb = LoadBalancer(host_names(10), placement=slow)
    change = Thread(target=lb.register, args=("one more",))
    picks = Thread(target=lambda: (lb.pick(), lb.pick("session-1")))
    change.start()
    locked.wait(60)
    picks.start()
    picks.join(5)  # microseconds, unless it waits for a lock
    free = locked.is_set() and not picks.is_alive()
    let_go.set()
    change.join()
    picks.join()
    return free


def _queue_step(rounds: int) -> Iterator[Row]:
    quiet = LoadBalancer(host_names(_MANY), placement=None, fallback=LeastConnections())
    busy = LoadBalancer(host_names(_MANY), placement=None, fallback=LeastConnections())
    _make_busy(busy)
    done = interleaved(
        {
            "quiet": _queue_steps(quiet),
            "busy": _queue_steps(busy),
            "lease": _anonymous_leases(quiet),
            "busy lease": _anonymous_leases(busy),
        },
        rounds,
    )
    step = "LeastConnections: choose, count and release"
    load = "1,500 requests in flight"
    yield row(f"{step}, all idle", done.median("quiet") * _US, "us", at_most(2.2))
    yield row(f"{step}, {load}", done.median("busy") * _US, "us", at_most(2.2))
    yield row("with lb.lease(), LeastConnections, all idle", done.median("lease") * _US, "us")
    yield row(f"with lb.lease(), LeastConnections, {load}", done.median("busy lease") * _US, "us")


def _make_busy(lb: LoadBalancer) -> None:
    """Half of 3,000 requests are still in flight, unevenly, as when answers differ in length."""
    leases = [lb.lease().acquire() for _ in range(3_000)]
    for lease in random.Random(1).sample(leases, 1_500):
        lease.release()


def _queue_steps(lb: LoadBalancer) -> Timed:
    # private, because the step below a lease has no public name: the order by load alone
    tracker, loads = lb._tracker, lb._state.active.loads

    def timed() -> float:
        began = clock()
        for _ in repeat(None, _COUNT):
            request = TrackedRequest(tracker)
            with tracker.lock:
                host = tracker.least_loaded()
                if host is None:
                    raise RuntimeError("every host of this benchmark is usable")
                tracker.enter(request, loads[host.name])
            tracker.leave(request, None)
        return (clock() - began) / _COUNT

    return timed


def _anonymous_leases(lb: LoadBalancer) -> Timed:
    def timed() -> float:
        began = clock()
        for _ in repeat(None, _COUNT):
            with lb.lease():
                pass
        return (clock() - began) / _COUNT

    return timed


def _leases(rounds: int) -> Iterator[Row]:
    plain = LoadBalancer(host_names(10))
    ordered = LoadBalancer(
        host_names(_MANY), placement=HashRing(vnodes=160), fallback=LeastConnections()
    )
    ordered.pick()  # the order by load is kept from the first time that somebody asks for it
    bounded = LoadBalancer(host_names(10), load_factor=1.25, load_floor=8)
    done = interleaved(
        {
            "plain": _sticky_leases(plain),
            "ordered": _sticky_leases(ordered),
            "bounded": _sticky_leases(bounded),
        },
        rounds,
    )
    for name, what in (
        ("plain", "10 hosts"),
        ("ordered", f"{_MANY:,} hosts kept in order by load"),
    ):
        yield row(f"with lb.lease(id), {what}", done.median(name) * _US, "us", at_most(3))
    what = "10 hosts, load_factor=1.25"
    yield row(f"with lb.lease(id), {what}", done.median("bounded") * _US, "us")


def _sticky_leases(lb: LoadBalancer) -> Timed:
    some = keys(HOT)

    def timed() -> float:
        began = clock()
        for key in some:
            with lb.lease(key):
                pass
        return (clock() - began) / len(some)

    return timed
