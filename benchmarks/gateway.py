"""What does the gateway cost?  Processor time beside itself without features, latency, memory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TypeAlias

from benchmarks._proxies import NAMES, proxy
from benchmarks._report import Row, Table, at_least, at_most, row

__all__ = ["run"]

_PAIRS = 7
_CONNECTIONS = 16
_RATE = 500  # requests a second at which the latency is taken
_MOST_ADDED = {50: 1.5, 99: 10.0}  # milliseconds, by percentile
_MIB = 1 << 20
_TICKS = 100  # of processor time a second in /proc: USER_HZ, fixed on Linux

_Pair: TypeAlias = tuple[list[float], list[float]]
"""Milliseconds of requests that went directly, and of those through a proxy."""


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    with _child("host") as (_, host):
        yield _processor(host, 3 if quick else _PAIRS, 1_000 if quick else 8_000)
        yield _latency(host, 1 if quick else 4, 1.0 if quick else 5.0)
        yield asyncio.run(_memory(host, (50 if quick else 1024) * _MIB))


def _processor(host: str, pairs: int, requests: int) -> Table:
    """Interleaved, so that what else the machine does meets both."""
    used: dict[str, list[float]] = {"bare": [], "full": []}
    with _child("bare", host) as bare, _child("full", host) as full:
        both = {"bare": bare, "full": full}
        for process, port in both.values():
            asyncio.run(_load(port, 500))
            _cpu(process)
        for _ in range(pairs):
            for name, (process, port) in both.items():
                before = _cpu(process)
                asyncio.run(_load(port, requests))
                used[name].append((_cpu(process) - before) / requests * 1e6)
    ratios = [one / other for one, other in zip(used["bare"], used["full"], strict=True)]
    detail = f"bare {median(used['bare']):.0f} us, all features {median(used['full']):.0f} us"
    found = row("bare / all features", median(ratios), "", at_least(0.85), detail=detail)
    note = (
        "Processor time per request of the gateway's process: identity by header, token, lease, "
        "health, forwarding headers, access log; 13-byte answers, the same server and client."
    )
    return Table(f"Processor time, {pairs} interleaved pairs", [found], note)


async def _load(address: str, requests: int) -> None:
    """So many requests by clients that come back with what they were given."""

    async def client(number: int, count: int) -> None:
        reader, writer = await _opened(address)
        token = b"Cookie: theme=dark\r\n"
        for _ in range(count):
            writer.write(_request(number, token))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            _, found, rest = head.partition(b"set-cookie: ")
            if found:
                token = b"Cookie: theme=dark; " + rest.partition(b";")[0] + b"\r\n"
        writer.close()

    each = requests // _CONNECTIONS
    await asyncio.gather(*(client(number, each) for number in range(_CONNECTIONS)))


def _request(number: int, extra: bytes = b"", target: bytes = b"/api/items?page=2") -> bytes:
    return (
        b"GET %b HTTP/1.1\r\nHost: example.org\r\nUser-Agent: benchmark/1.0\r\n"
        b"Accept: application/json\r\nAccept-Encoding: gzip\r\nX-User: user-%d\r\n%b\r\n"
    ) % (target, number, extra)


def _latency(host: str, rounds: int, seconds: float) -> Table:
    """Each proxy beside the direct line, one after the other and that several times over."""
    took: dict[str, _Pair] = {}
    with contextlib.ExitStack() as stack:
        _, gateway = stack.enter_context(_child("full", host))
        fronts: dict[str, str | None] = {"gateway": gateway}
        fronts |= {name: stack.enter_context(proxy(name, host)) for name in NAMES}
        for _ in range(rounds):
            for name, front in fronts.items():
                if front is not None:
                    pair = took.setdefault(name, ([], []))
                    asyncio.run(_paced({host: pair[0], front: pair[1]}, seconds))
    rows = [_added("gateway", took["gateway"], part, limit) for part, limit in _MOST_ADDED.items()]
    for name in NAMES:
        if name in took:
            rows += [_added(name, took[name], part) for part in _MOST_ADDED]
        else:
            rows.append(Row(name, "not installed here, or it does not start"))
    note = (
        f"{_RATE} requests a second, and as many directly by turns: that line is the noise floor. "
        "The others are one thread each and only pass on."
    )
    return Table("Added latency", rows, note)


def _added(name: str, pair: _Pair, part: int, limit: float | None = None) -> Row:
    direct, through = (_part(values, part) for values in pair)
    target = None if limit is None else at_most(limit)
    detail = f"direct {direct:.2f} ms, through it {through:.2f} ms"
    return row(f"{name}, p{part}", through - direct, "ms", target, detail=detail)


async def _paced(into: dict[str, list[float]], seconds: float) -> None:
    """Unsynchronised arrivals at each address of ``into``, which gets the milliseconds taken."""
    pools = {address: [await _opened(address) for _ in range(64)] for address in into}
    tasks = set()
    due = perf_counter()
    end = due + seconds
    while (due := due + random.expovariate(len(into) * _RATE)) < end:
        await asyncio.sleep(due - perf_counter())
        address = random.choice(list(into))
        if not pools[address]:  # left out, the slowest moments would not count
            pools[address].append(await _opened(address))
        tasks.add(asyncio.create_task(_timed(pools[address], into[address])))
    await asyncio.gather(*tasks)
    for pool in pools.values():
        for _, writer in pool:
            writer.close()


async def _timed(
    pool: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]], into: list[float]
) -> None:
    reader, writer = pool.pop()
    began = perf_counter()
    writer.write(_request(random.randrange(1000)))
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(_length(head))
    into.append((perf_counter() - began) * 1000)
    pool.append((reader, writer))


def _part(values: list[float], part: int) -> float:
    return quantiles(values, n=100)[part - 1]


async def _memory(host: str, size: int) -> Table:
    with _child("full", host) as (process, front):
        await _down(front, 8 * _MIB)  # what a first stream allocates is no growth
        before = _rss(process)
        rows = [await _grown("down", process, before, _down(front, size))]
        rows.append(await _grown("up", process, before, _up(front, size)))
        reader, writer = await _opened(front)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a TCP transport
        writer.write(_request(1, target=b"/%d" % size))
        await asyncio.sleep(2.0)
        rows.append(row("unread", (_rss(process) - before) / _MIB, "MiB", at_most(64)))
        writer.transport.abort()
        del reader
    return Table(f"Memory while {size // _MIB} MiB stream", rows, "Growth of resident memory.")


async def _grown(name: str, process: subprocess.Popen[str], before: int, stream: object) -> Row:
    began = perf_counter()
    await stream  # type: ignore[misc]  # a coroutine
    rate = f"in {perf_counter() - began:.1f} s"
    return row(name, (_rss(process, "VmHWM") - before) / _MIB, "MiB", at_most(16), detail=rate)


async def _down(address: str, size: int) -> None:
    reader, writer = await _opened(address)
    writer.write(_request(1, target=b"/%d" % size))
    left = _length(await reader.readuntil(b"\r\n\r\n"))
    while left:
        left -= len(await reader.read(_MIB))
    writer.close()


async def _up(address: str, size: int) -> None:
    reader, writer = await _opened(address)
    writer.write(_request(1, b"Content-Length: %d\r\n" % size).replace(b"GET", b"POST", 1))
    block = bytes(64 * 1024)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name, _, port = address.rpartition(":")
    return await asyncio.open_connection(name, int(port), limit=_MIB)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])


def _cpu(process: subprocess.Popen[str]) -> float:
    """Seconds of processor time that a process has used."""
    fields = (
        Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(process: subprocess.Popen[str], what: str = "VmRSS") -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _child(kind: str, *addresses: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "benchmarks._gateway_child", kind, *addresses]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, f"127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
