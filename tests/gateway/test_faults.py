"""A host dies, or stops, under load: who noticed?  Real processes, and the history checked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hashring import Host, LoadBalancer
from hashring.affinity import header
from hashring.gateway import Gateway, Timeouts
from hashring.health import HealthMonitor, HttpProbe, OutlierRules, ProbeRules
from tests.gateway.running import get, opened, response, served

ROOT = Path(__file__).resolve().parents[2]
HOSTS = 5
CLIENTS = 20
REQUESTS = 60  # of each client, of which each third is a POST
FIRST_BYTE = 0.5


@dataclass
class Asked:
    """One request of the history."""

    number: int
    method: str
    client: int
    status: int
    host: str
    began: float
    ended: float


@dataclass
class Process:
    name: str
    address: str
    done: Path
    handle: subprocess.Popen[str]

    def carried_out(self) -> list[int]:
        return [int(line) for line in self.done.read_text().split()]


@dataclass
class History:
    asked: list[Asked] = field(default_factory=list)
    fault_at: float = 0.0


def started(name: str, folder: Path) -> Process:
    done = folder / name
    handle = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.backend", name, str(done)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert handle.stdout is not None
    port = int(handle.stdout.readline())
    return Process(name, f"127.0.0.1:{port}", done, handle)


@contextlib.asynccontextmanager
async def pool(folder: Path) -> AsyncIterator[list[Process]]:
    found: list[Process] = []
    try:
        for number in range(HOSTS):
            found += [started(f"host{number}", folder)]  # one by one: each must be ended
        yield found
    finally:
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.handle.pid, signal.SIGKILL)
            process.handle.wait()
            assert process.handle.stdout is not None
            process.handle.stdout.close()


async def client(front: str, number: int, history: History) -> None:
    """One client, one request after the other, on one connection."""
    clock = asyncio.get_running_loop().time
    reader, writer = await opened(front)
    for turn in range(REQUESTS):
        method = "POST" if turn % 3 == 2 else "GET"
        name = number * REQUESTS + turn
        began = clock()
        writer.write(get(f"/{name}", f"X-Client: {number}", "Content-Length: 0", method=method))
        found = await response(reader)
        history.asked.append(
            Asked(name, method, number, found.status, found.body.decode(), began, clock())
        )
        await asyncio.sleep(0.004)
    writer.close()


async def under_load(folder: Path, fault: signal.Signals) -> tuple[History, list[Process], str]:
    """The history of a load during which one of five hosts got ``fault``, and its name."""
    history = History()
    async with pool(folder) as processes:
        lb = LoadBalancer([Host(p.name, address=p.address) for p in processes])
        monitor = HealthMonitor(
            lb,
            HttpProbe("/0"),
            ProbeRules(interval=0.5, timeout=0.3, fast=0.2),
            outliers=OutlierRules(failures=3, base=30, share=0.5),
        )
        times = Timeouts(connect=1, first_byte=FIRST_BYTE, idle=5)
        gateway = Gateway(lb, identity=header("x-client"), health=monitor, timeouts=times)
        victim = next(p for p in processes if p.name == lb.pick("0").name)
        async with served(gateway) as front:
            clients = [
                asyncio.create_task(client(front, number, history)) for number in range(CLIENTS)
            ]
            while len(history.asked) < CLIENTS * REQUESTS // 4:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.005)
            history.fault_at = asyncio.get_running_loop().time()
            os.kill(victim.handle.pid, fault)
            await asyncio.gather(*clients)
        return history, processes, victim.name


def check(history: History, processes: list[Process], victim: str) -> list[Asked]:
    """What holds for both faults; the requests that failed."""
    assert len(history.asked) == CLIENTS * REQUESTS
    failed = [one for one in history.asked if one.status != 200]
    assert all(one.method == "POST" for one in failed), failed
    posts = {one.number for one in history.asked if one.method == "POST"}
    done = Counter(n for process in processes for n in process.carried_out() if n in posts)
    assert not {n: times for n, times in done.items() if times > 1}
    homes: dict[int, set[str]] = {}
    for one in history.asked:
        if one.status == 200 and one.ended < history.fault_at:
            homes.setdefault(one.client, set()).add(one.host)
    assert all(len(hosts) == 1 for hosts in homes.values())
    for one in history.asked:  # who was elsewhere stayed there
        if one.status == 200 and homes.get(one.client, {victim}) != {victim}:
            assert {one.host} == homes[one.client]
    assert any(home == {victim} for home in homes.values())
    return failed


def test_a_killed_host_costs_no_get_and_doubles_no_post(tmp_path: Path) -> None:
    history, processes, victim = asyncio.run(under_load(tmp_path, signal.SIGKILL))
    failed = check(history, processes, victim)
    assert all(one.began <= history.fault_at + 0.05 for one in failed), failed
    assert all(one.status == 502 for one in failed)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_stopped_host_costs_only_posts_before_its_ejection(tmp_path: Path) -> None:
    history, processes, victim = asyncio.run(under_load(tmp_path, signal.SIGSTOP))
    failed = check(history, processes, victim)
    assert all(one.status == 504 for one in failed), failed
    # ejected after three time-outs, or by three probes
    assert all(one.began <= history.fault_at + FIRST_BYTE + 2.0 for one in failed)
