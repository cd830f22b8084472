"""What do clients notice of a fault?  Asked for by name: minutes.

``python -m benchmarks.gateway_faults_long --only kill,soak --repeats 5 --minutes 3`` runs a part.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from benchmarks._fault_rig import CONNECT, FIRST_BYTE, SETTINGS, Rig, rig
from benchmarks._history import Asked, Fault, Load, duplicated, failed, moved_without_cause, p99
from benchmarks._report import Row, Table, as_text, at_most, row

__all__ = ["run"]

_RATE = 500.0
_SOAK_RATE = 300.0
_REPEATS = 20
_MINUTES = 10.0
_BEFORE, _AFTER = 1.5, 4.5  # seconds of load around a fault; time-outs and ejection take two
_AFTERMATH = 1.0  # seconds for a host that goes on to work off what has queued meanwhile
_EVERY, _HURT, _BACK = 20.0, 5.0, 14.0  # seconds: a fault each, so long, taken back at the latest
_QUIET = 6.0  # seconds without a request; idle connections to hosts are closed after 4
_MB = 1e6


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    repeats, minutes = (1, 0.7) if quick else (_REPEATS, _MINUTES)
    for part in _PARTS.values():
        yield part(repeats, minutes)


@dataclass(frozen=True)
class _Hurt:
    """What one repeat has shown; ``dead`` is when the signal had its effect."""

    history: list[Asked]
    victim: str
    sent: float
    dead: float
    away: float | None
    duplicates: int
    moves: int

    def failed(self, method: str) -> list[Asked]:
        return failed(self.history, method)

    def in_flight(self) -> int:
        """POSTs that were on their way to the victim while it died: their clients were there."""
        there = {one.client for one in self.history if one.host == self.victim}
        return sum(
            one.method == "POST" and one.began <= self.dead and one.ended >= self.sent
            for one in self.history
            if one.client in there
        )


def _kill(repeats: int, _: float) -> Table:
    found = [_repeat(signal.SIGKILL) for _ in range(repeats)]
    late = sum(one.began > hurt.dead for hurt in found for one in hurt.failed("POST"))
    pairs = [(len(hurt.failed("POST")), hurt.in_flight()) for hurt in found]
    beyond = sum(max(0, posts - in_flight) for posts, in_flight in pairs)
    posts, in_flight = map(sum, zip(*pairs, strict=True))
    detail = f"{posts} all in all, {in_flight} were in flight there"
    rows = [
        *_common(found),
        _count("POST errors beyond those in flight there", beyond, 0, detail),
        _count("POST errors, sent when it was dead", late, 0),
    ]
    title = f"kill -9 of 1 host in 5, {repeats} repeats"
    return Table(title, rows, f"{_RATE:g} requests/s, a third POSTs; {SETTINGS}.")


def _stop(repeats: int, _: float) -> Table:
    found = [_repeat(signal.SIGSTOP) for _ in range(repeats)]
    posts = [(hurt, one) for hurt in found for one in hurt.failed("POST")]
    late = sum(hurt.away is None or one.began > hurt.away for hurt, one in posts)
    others = sum(one.status != 504 for _, one in posts)
    away = [hurt.away - hurt.dead for hurt in found if hurt.away is not None]
    seconds = max(away, default=float("inf"))
    slow = max(p99(hurt.history) for hurt in found)
    rows = [
        *_common(found),
        _count("POST errors, sent after the ejection", late, 0, f"{len(posts)} all in all"),
        _count("POST errors that are no 504", others, 0),
        row("p99, the worst repeat", slow, "s", at_most(CONNECT + FIRST_BYTE)),
        row("slowest answer", max(o.ended - o.began for h in found for o in h.history), "s"),
        row("ejected after, the worst repeat", seconds, "s"),
    ]
    title = f"SIGSTOP of 1 host in 5, {repeats} repeats"
    return Table(title, rows, f"{_RATE:g} requests/s, a third POSTs; {SETTINGS}.")


def _common(found: list[_Hurt]) -> list[Row]:
    """What holds for both faults."""
    history = [one for hurt in found for one in hurt.history]
    there = sum(one.host == hurt.victim for hurt in found for one in hurt.history)
    return [
        _count("requests", len(history), detail=f"{there} answered by the victim before"),
        _count("GET errors", sum(len(hurt.failed("GET")) for hurt in found), 0),
        _count("POSTs carried out twice", sum(hurt.duplicates for hurt in found), 0),
        _count("clients moved without cause", sum(hurt.moves for hurt in found), 0),
    ]


def _count(what: str, number: int, most: int | None = None, detail: str = "") -> Row:
    measured = f"{number:,} ({detail})" if detail else f"{number:,}"
    if most is None:
        return Row(what, measured)
    return Row(what, measured, f"<= {most:,}", at_most(most).verdict(number))


def _repeat(number: signal.Signals) -> _Hurt:
    """Five new hosts, a new gateway, and one fault in the midst of the load."""
    with rig() as made:
        victim = random.choice(made.names)
        load = Load(made.front, _RATE)
        times: list[float] = []

        def hurt() -> None:
            times.append(time.monotonic())
            made.signal(victim, number)
            times.append(time.monotonic())

        async def main() -> None:
            await load.greet()
            asyncio.get_running_loop().call_later(_BEFORE, hurt)
            await load.run(_BEFORE + _AFTER)
            load.hang_up()

        asyncio.run(main())
        if number == signal.SIGSTOP:  # it now does what it was sent: is a POST among it done twice?
            made.signal(victim, signal.SIGCONT)
            time.sleep(_AFTERMATH)
        sent, dead = times
        fault = Fault(victim, sent, float("inf"))
        return _Hurt(
            load.history,
            victim,
            sent,
            dead,
            made.away_at(victim),
            duplicated(load.history, made.carried_out()),
            moved_without_cause(load.history, [fault]),
        )


def _failing(_: int, minutes: float) -> Table:
    seconds = 10.0 if minutes >= 1 else 2.0
    with rig("fail") as made:
        load = Load(made.front, _RATE, posts=0.0)
        asyncio.run(load.run(seconds))
        took = max(one.ended for one in load.history) - min(one.began for one in load.history)
        asked = sum(1 for _ in made.carried_out())
    clients = len(load.history)
    target = at_most(1.2 * clients + 10 * (took + 1))
    detail = f"{clients} of clients in {took:.1f} s: {asked / clients:.2f} times"
    found = [row("requests to hosts", asked, "", target, detail=detail)]
    note = f"GETs, {_RATE:g}/s; each host reads a request and closes. 1.2 x, and 10 a second."
    return Table("All hosts failing", found, note)


def _soak(_: int, minutes: float) -> Table:
    with rig() as made:
        load = Load(made.front, _SOAK_RATE)
        faults: list[Fault] = []
        memory: list[tuple[float, int]] = []
        idle = asyncio.run(_soaked(made, load, minutes * 60, faults, memory))
        twice = duplicated(load.history, made.carried_out())
    # one fault of each kind is the warm-up: what a first one allocates is no growth
    settled = [one for one in memory if one[0] >= memory[0][0] + min(2 * _EVERY, minutes * 20)]
    slope = linear_regression([at for at, _ in settled], [size for _, size in settled]).slope
    posts = failed(load.history, "POST")
    outside = sum(not any(f.at <= one.ended <= f.until + 1 for f in faults) for one in posts)
    growth = (settled[-1][1] - settled[0][1]) / _MB
    rows = [
        row("memory slope", slope * 600 / _MB, "MB/10 min", at_most(2), detail=f"{growth:+.1f} MB"),
        _count("more descriptors when idle", idle[1] - idle[0], 0, f"{idle[0]} before"),
        _count("requests", len(load.history), detail=f"{len(faults)} faults"),
        _count("GET errors", len(failed(load.history, "GET")), 0),
        _count("POST errors away from a fault", outside, 0, f"{len(posts)} all in all"),
        _count("POSTs carried out twice", twice, 0),
        _count("clients moved without cause", moved_without_cause(load.history, faults), 0),
    ]
    note = f"{_SOAK_RATE:g} requests/s, kill -9 or SIGSTOP in turns each {_EVERY:g} s; {SETTINGS}."
    return Table(f"Soak, {minutes:g} minutes", rows, note)


async def _soaked(
    made: Rig, load: Load, seconds: float, faults: list[Fault], memory: list[tuple[float, int]]
) -> tuple[int, int]:
    """The load with its faults and samples; descriptors when idle, before and after."""
    await load.run(2.0)
    before = await _idle(made, load)
    helpers = [
        asyncio.create_task(_hurting(made, faults, seconds)),
        asyncio.create_task(_sampling(made, memory)),
    ]
    await load.run(seconds)
    await helpers[0]
    helpers[1].cancel()
    return before, await _idle(made, load)


async def _idle(made: Rig, load: Load) -> int:
    load.hang_up()
    await asyncio.sleep(_QUIET)
    counts = []
    for _ in range(20):  # a probe is open now and then
        counts.append(len(os.listdir(f"/proc/{made.gateway.pid}/fd")))  # noqa: PTH208  # one call
        await asyncio.sleep(0.1)
    return min(counts)


async def _hurting(made: Rig, faults: list[Fault], seconds: float) -> None:
    """Each host in turn, killed or stopped in turns."""
    for turn in range(int(seconds / _EVERY)):
        await asyncio.sleep(_EVERY - _HURT if turn else _EVERY / 4)
        name = made.names[turn % len(made.names)]
        kill = turn % 2 == 0
        faults.append(Fault(name, now := time.monotonic(), now + _BACK))
        made.signal(name, signal.SIGKILL if kill else signal.SIGSTOP)
        await asyncio.sleep(_HURT)
        if kill:
            made.start_again(name)
        else:
            made.signal(name, signal.SIGCONT)


async def _sampling(made: Rig, memory: list[tuple[float, int]]) -> None:
    while True:
        memory.append((time.monotonic(), _resident(made.gateway.pid)))
        await asyncio.sleep(1.0)


def _resident(process: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


_PARTS: dict[str, Callable[[int, float], Table]] = {
    "kill": _kill,
    "stop": _stop,
    "failing": _failing,
    "soak": _soak,
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks.gateway_faults_long")
    parser.add_argument("--only", default=",".join(_PARTS), help="some of these")
    parser.add_argument("--repeats", type=int, default=_REPEATS, help="of kill and stop")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="of the soak")
    asked = parser.parse_args()
    for name in asked.only.split(","):
        print(as_text(_PARTS[name](asked.repeats, asked.minutes), quick=False), flush=True)


if __name__ == "__main__":
    main()
