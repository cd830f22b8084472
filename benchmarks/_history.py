"""Who asked what, when, and what came back?  Paced load, and the checker of its history."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles

__all__ = ["Asked", "Fault", "Load", "duplicated", "failed", "moved_without_cause", "p99"]

_CLIENTS = 200
_POSTS = 1 / 3  # of all requests
_PATIENCE = 10.0  # seconds after which a client gives up: far more than any time-out of the gateway
_FRESH = 5.0  # seconds for which an idle connection is used again; the gateway keeps it for 30

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; status 0 is a connection that broke, times are of the monotonic clock."""

    number: int
    method: str
    client: int
    status: int
    host: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Fault:
    """A host that was hurt; ``until`` is when it was well again and surely taken back."""

    host: str
    at: float
    until: float


class Load:
    """``rate`` requests a second, unsynchronised, by clients that keep their cookies."""

    def __init__(self, front: str, rate: float, *, posts: float = _POSTS) -> None:
        self.history: list[Asked] = []
        self._front, self._rate, self._posts = front, rate, posts
        self._cookies = [b""] * _CLIENTS
        self._idle: deque[tuple[float, _Connection]] = deque()
        self._count = 0

    async def greet(self) -> None:
        """Let each client ask once, so that its host is known before anything is hurt."""
        for client in range(_CLIENTS):
            await self._one("GET", client)

    async def run(self, seconds: float) -> None:
        """Ask for so long, and wait for the last answer."""
        tasks: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        end = due + seconds
        while (due := due + random.expovariate(self._rate)) < end:
            await asyncio.sleep(due - time.monotonic())
            method = "POST" if random.random() < self._posts else "GET"
            task = asyncio.create_task(self._one(method, random.randrange(_CLIENTS)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    def hang_up(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop()[1][1].close()

    async def _one(self, method: str, client: int) -> None:
        self._count = number = self._count + 1
        began = time.monotonic()
        status, host = 0, ""
        try:
            async with asyncio.timeout(_PATIENCE):
                connection = await self._connection(began)
                status, host = await self._exchange(connection, method, number, client)
        except (OSError, EOFError, TimeoutError):
            pass
        ended = time.monotonic()
        if status:
            self._idle.append((ended, connection))
        self.history.append(Asked(number, method, client, status, host, began, ended))

    async def _connection(self, now: float) -> _Connection:
        while self._idle and now - self._idle[0][0] > _FRESH:
            self._idle.popleft()[1][1].close()
        if self._idle:
            return self._idle.pop()[1]
        name, _, port = self._front.rpartition(":")
        return await asyncio.open_connection(name, int(port))

    async def _exchange(
        self, connection: _Connection, method: str, number: int, client: int
    ) -> tuple[int, str]:
        reader, writer = connection
        try:
            writer.write(
                b"%b /%d HTTP/1.1\r\nHost: example.org\r\nX-User: user-%d\r\n%b"
                b"Content-Length: 4\r\n\r\nbody"
                % (method.encode(), number, client, self._cookies[client])
                if method == "POST"
                else b"GET /%d HTTP/1.1\r\nHost: example.org\r\nX-User: user-%d\r\n%b\r\n"
                % (number, client, self._cookies[client])
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length))
        except BaseException:
            writer.transport.abort()
            raise
        _, found, rest = head.partition(b"set-cookie: ")
        if found:
            self._cookies[client] = b"Cookie: " + rest.partition(b";")[0] + b"\r\n"
        status = int(head.split(b" ", 2)[1])
        return status, body.decode() if status == 200 else ""


def failed(history: Iterable[Asked], method: str) -> list[Asked]:
    """The requests of this method that were not answered by a host."""
    return [one for one in history if one.method == method and one.status != 200]


def duplicated(history: Iterable[Asked], carried_out: Iterable[int]) -> int:
    """How many POSTs hosts carried out more than once."""
    posts = {one.number for one in history if one.method == "POST"}
    return sum(times > 1 for number, times in Counter(carried_out).items() if number in posts)


def moved_without_cause(history: Iterable[Asked], faults: Iterable[Fault]) -> int:
    """How many times a client changed its host although neither the old nor the new was hurt."""
    hurt: dict[str, list[Fault]] = {}
    for fault in faults:
        hurt.setdefault(fault.host, []).append(fault)
    homes: dict[int, Asked] = {}
    moves = 0
    for one in sorted(history, key=lambda one: one.ended):
        if one.status != 200:
            continue
        before = homes.get(one.client)
        homes[one.client] = one
        if before is None or before.host == one.host:
            continue
        causes = (fault for name in (before.host, one.host) for fault in hurt.get(name, ()))
        moves += not any(f.at <= one.ended and before.began <= f.until for f in causes)
    return moves


def p99(history: Iterable[Asked]) -> float:
    """Seconds within which 99 of 100 requests were answered."""
    return quantiles((one.ended - one.began for one in history), n=100)[98]
