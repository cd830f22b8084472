"""How soon is a change in etcd in the pool, and what do outages and flaps cost?  A real etcd."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import socket
import subprocess
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks._report import Row, Table, at_most, row
from hashring import HashRing, LoadBalancer
from hashring.discovery import Backoff, Discovery, Entry, Membership, gather, source
from hashring.strategies import Rng

__all__ = ["run"]

_PROGRAMS = ("etcd", "etcdctl")
_LIMIT = 60.0  # seconds until something that should have happened is given up
_GRAIN = 0.001  # seconds between two looks at the pool: 1 % of what is promised


class _Never:
    """No jitter: flaps have no retries, so it is never asked."""

    def random(self) -> float:
        return 0.0

    def randrange(self, start: int, stop: int | None = None) -> int:
        return 0


_NEVER: Rng = _Never()


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        note = f"{' and '.join(missing)} not installed: nothing of etcd was measured."
        yield Table("A change in etcd", [], note)
    else:
        changes, away = (10, 2.0) if quick else (100, 60.0)
        with _etcd() as (endpoint, restart):
            rows = asyncio.run(_changes(endpoint, changes))
            rows += asyncio.run(_outage(endpoint, restart, away))
        note = (
            "A change: from the start of etcdctl to the new snapshot. A return: from etcd's first "
            "answer to a read to the pool with a change that was made then."
        )
        yield Table("A change in etcd", rows, note)
    flaps = 500 if quick else 10_000
    note = f"{flaps:,} memberships, each of which changes the pool; a source in this process."
    yield Table("Pools that change", [_reconcile(), *asyncio.run(_flaps(flaps))], note)


# -- etcd -----------------------------------------------------------------------------------------


@contextmanager
def _etcd() -> Iterator[tuple[str, Callable[[float], None]]]:
    """An etcd of our own, and what kills it and starts it again after some seconds."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ports.append(listening.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        command = ["etcd", "--data-dir", str(Path(folder) / "data"), "--logger", "zap"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"default={peer}", "--log-level", "error"]
        endpoint = f"127.0.0.1:{ports[0]}"
        running = [_started(command, endpoint)]

        def restart(after: float) -> None:
            running[0].kill()
            running[0].wait()
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(["sleep", str(after)], timeout=after, check=False)
            running[0] = _started(command, endpoint)

        try:
            yield endpoint, restart
        finally:
            running[0].kill()
            running[0].wait()


def _started(command: list[str], endpoint: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = perf_counter() + _LIMIT
    while perf_counter() < until:
        with suppress(subprocess.CalledProcessError):
            _control(endpoint, "get", "ready")
            return process
    process.kill()
    raise RuntimeError(f"etcd did not answer within {_LIMIT:g} s")


def _control(endpoint: str, *words: str) -> None:
    subprocess.run(
        ["etcdctl", f"--endpoints={endpoint}", "--command-timeout=1s", *words],
        env={**os.environ, "ETCDCTL_API": "3"},
        capture_output=True,
        check=True,
    )


async def _until(done: Callable[[], object]) -> float:
    async with asyncio.timeout(_LIMIT):
        while not done():  # noqa: ASYNC110  # the pool's state is what is measured
            await asyncio.sleep(_GRAIN)
    return perf_counter()


async def _changes(endpoint: str, count: int) -> list[Row]:
    """A host changes its address, again and again."""
    lb, took = LoadBalancer(), []
    _control(endpoint, "put", "/bench/web1", "10.0.0.1:1")
    async with Discovery(source(f"etcd://{endpoint}/bench"), lb):
        for number in range(count):
            address = f"10.0.0.1:{1000 + number}"
            put = asyncio.to_thread(_control, endpoint, "put", "/bench/web1", address)
            began = perf_counter()
            doing = asyncio.create_task(put)
            seen = await _until(lambda address=address: lb.hosts[0].address == address)  # type: ignore[misc]  # its default
            took.append(seen - began)
            await doing
    detail = f"{count} changes, the longest {1000 * max(took):.0f} ms"
    return [
        row("to the new snapshot, median", 1000 * median(took), "ms", at_most(100), detail=detail)
    ]


async def _outage(endpoint: str, restart: Callable[[float], None], away: float) -> list[Row]:
    """``kill -9`` and a restart while clients are routed; then a change."""
    lb, picks, failed = LoadBalancer(), 0, 0
    async with Discovery(source(f"etcd://{endpoint}/bench"), lb) as discovery:
        done = asyncio.create_task(asyncio.to_thread(restart, away))
        while not done.done():
            for _ in range(100):
                picks += 1
                try:
                    lb.pick(f"client-{picks}")
                except LookupError:
                    failed += 1
            await asyncio.sleep(0.01)
        back = perf_counter()
        changing = asyncio.create_task(
            asyncio.to_thread(_control, endpoint, "put", "/bench/web2", "10.0.0.2:1")
        )
        caught_up = await _until(lambda: len(lb) == 2 and discovery.last_error is None) - back
        await changing
    detail = f"of {picks:,} in {away:g} s without etcd"
    return [
        row("failed picks", failed, "", at_most(0), detail=detail),
        row("caught up after its return", caught_up, "s", at_most(2)),
    ]


# -- pools that change ----------------------------------------------------------------------------


def _reconcile() -> Row:
    """1,000 hosts of which each has another address and weight; without a ring to build."""
    from hashring.discovery.reconciler import apply_membership

    lb, took = LoadBalancer(placement=None), []
    for turn in range(20):
        entries = (
            Entry(f"host{n}", f"10.0.{turn}.1:{n}", 1 + turn % 2, n % 7 == turn % 7)
            for n in range(1000)
        )
        membership = gather(entries)
        began = perf_counter()
        lb.apply(apply_membership, membership)
        took.append(perf_counter() - began)
    return row("1,000 hosts in one snapshot", 1000 * median(took), "ms", at_most(50))


class _Flapping:
    """A source that waits until its last membership is in the pool, then tells the next."""

    def __init__(self, lb: LoadBalancer, count: int) -> None:
        self._lb, self._count = lb, count

    async def watch(self) -> AsyncIterator[Membership]:
        """Nine hosts and ten, in turns."""
        for turn in range(self._count):
            membership = gather(Entry(f"host{n}") for n in range(9 + turn % 2))
            yield membership
            while len(self._lb) != len(membership.hosts):  # noqa: ASYNC110  # as in _until
                await asyncio.sleep(_GRAIN / 4)
        await asyncio.Event().wait()


async def _flaps(count: int) -> list[Row]:
    gc.collect()
    descriptors = _descriptors()
    lb = LoadBalancer(placement=HashRing(vnodes=16))  # the ring is measured elsewhere
    flapping = _Flapping(lb, count)
    tracemalloc.start()
    async with Discovery(flapping, lb, debounce=0.0, backoff=Backoff(rng=_NEVER)) as discovery:
        while discovery.stats["changed"] < count // 5:  # noqa: ASYNC110  # as in _until
            await asyncio.sleep(_GRAIN)  # caches have filled, threads are there
        gc.collect()
        before, tasks = tracemalloc.get_traced_memory()[0], len(asyncio.all_tasks())
        while discovery.stats["changed"] < count:  # noqa: ASYNC110  # as in _until
            await asyncio.sleep(_GRAIN)
        gc.collect()
        grown, more = tracemalloc.get_traced_memory()[0] - before, len(asyncio.all_tasks()) - tasks
        changed = discovery.stats["changed"]
    tracemalloc.stop()
    left = len(asyncio.all_tasks()) - 1
    now = _descriptors()
    return [
        row("tasks left", left + max(0, more), "", at_most(0), detail=f"{changed:,} changes"),
        row("file descriptors left", now - descriptors, "", at_most(0)),
        # a leak of one small object a flap would be 0.5 MB or more
        row("memory grown since a fifth of them", grown / 1e6, "MB", at_most(0.25)),
    ]


def _descriptors() -> int:
    """Open files and sockets of this process; 0 where the system does not say."""
    here = Path("/proc/self/fd")
    return sum(1 for _ in here.iterdir()) if here.is_dir() else 0
