"""What do probes cost, and how soon is a dead host out?  Real hosts on loopback."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter, process_time

from benchmarks._report import Row, Table, at_most, row
from hashring import Host, LoadBalancer
from hashring.health import HealthMonitor, HttpProbe, Probe, ProbeRules, TcpProbe

__all__ = ["run"]

_HOST = """
import asyncio

async def answer(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (OSError, EOFError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

# probed often, so that the table is made in a minute: what is compared is the bound of the rules
_OFTEN = ProbeRules(interval=1.0, timeout=0.5, fast=0.5)
_HURTS = {"kill -9": signal.SIGKILL, "SIGSTOP": getattr(signal, "SIGSTOP", signal.SIGTERM)}


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    hosts, seconds = (100, 2.0) if quick else (1_000, 20.0)
    with _serving(1) as [(_, port)]:
        rows = [
            asyncio.run(_cost("HTTP", HttpProbe("/healthz"), port, hosts, seconds)),
            asyncio.run(_cost("TCP", TcpProbe(), port, hosts, seconds)),
        ]
    note = "Processor time of the probing process, its share of one core; the host is another one."
    yield Table(f"{hosts:,} hosts probed every 5 s", rows, note)
    repeats = 3 if quick else 20
    bound = _OFTEN.interval * _OFTEN.fall + _OFTEN.timeout
    rows = [asyncio.run(_out(name, hurt, repeats, bound)) for name, hurt in _HURTS.items()]
    note = (
        f"Seconds until the pool knows, the longest of {repeats}; interval {_OFTEN.interval:g} s, "
        f"timeout {_OFTEN.timeout:g} s, fall {_OFTEN.fall}."
    )
    yield Table("A dead host is out", rows, note)


async def _cost(kind: str, probe: Probe, port: int, hosts: int, seconds: float) -> Row:
    """Many hosts at one address: to the prober they are as many."""
    rules = ProbeRules()
    lb = LoadBalancer([Host(f"host{n}", address=f"127.0.0.1:{port}") for n in range(hosts)])
    async with HealthMonitor(lb, probe, rules) as monitor:
        await asyncio.sleep(rules.fast + rules.timeout)  # the first probes come faster
        probes, began, used = monitor.stats["probes"], perf_counter(), process_time()
        await asyncio.sleep(seconds)
        used = process_time() - used
        share = 100 * used / (perf_counter() - began)
        probes = monitor.stats["probes"] - probes
        failed = monitor.stats["probes_failed"]
    each = f"{used / max(1, probes) * 1e6:.0f} us a probe, {probes:,} probes, {failed} failed"
    return row(kind, share, "%", at_most(15), detail=each)


async def _out(name: str, hurt: int, repeats: int, bound: float) -> Row:
    """Each host is hurt at a random moment between two of its probes."""
    with _serving(repeats + 1) as served:
        hosts = [
            Host(f"host{n}", address=f"127.0.0.1:{port}") for n, (_, port) in enumerate(served)
        ]
        lb = LoadBalancer(hosts)
        out: asyncio.Queue[tuple[str | None, float]] = asyncio.Queue()
        async with HealthMonitor(lb, HttpProbe(), _OFTEN) as monitor:
            # told once the pool knows
            monitor.subscribe(lambda change: out.put_nowait((change.host, perf_counter())))
            await asyncio.sleep(_OFTEN.interval * 2)  # every host has been probed
            hurt_at = {}
            for host, (process, _) in list(zip(hosts, served, strict=True))[1:]:
                await asyncio.sleep(random.random() * _OFTEN.interval / 5)
                hurt_at[host.name] = perf_counter()
                os.kill(process.pid, hurt)
            took = []
            while hurt_at:
                gone, at = await out.get()
                took.append(at - hurt_at.pop(str(gone)))
    return row(name, max(took), "s", at_most(bound), detail=f"median {median(took):.2f} s")


@contextmanager
def _serving(count: int) -> Iterator[list[tuple[subprocess.Popen[str], int]]]:
    """So many hosts, each a process, with their ports."""
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            process = subprocess.Popen(
                [sys.executable, "-c", _HOST], stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
        yield [(each, int(each.stdout.readline())) for each in processes if each.stdout]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
