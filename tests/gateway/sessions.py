"""Sessions that keep their cookies and ask one gateway or another, and note what they got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from tests.gateway.running import get, hang_up, opened, response

_PAUSE = 0.01  # seconds between two requests of a session
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Visit:
    """One request with an answer; times are readings of the monotonic clock."""

    host: str
    count: int
    began: float
    ended: float


@dataclass
class Session:
    """One client of the counting hosts, on one connection to each gateway.

    ``visits`` are its answers in order, ``by`` counts them by gateway, ``wrong`` says what was no
    answer of a host, and ``failovers`` counts the requests for which another gateway was asked.
    """

    fronts: Sequence[str]
    cookies: dict[str, str] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failovers: int = 0
    _open: dict[str, _Connection] = field(default_factory=dict)

    async def ask(self, turn: int) -> None:
        """One GET: of the gateway whose turn it is, or of the next that answers."""
        began = time.monotonic()
        for number in range(len(self.fronts)):
            front = self.fronts[(turn + number) % len(self.fronts)]
            try:
                status, body = await self._on(front)
            except (EOFError, OSError):
                await self._leave(front)
                self.failovers += 1
                continue
            if status != 200:
                self.wrong.append(f"{status} {body!r}")
                return
            said = json.loads(body)
            self.visits.append(Visit(said["host"], said["count"], began, time.monotonic()))
            self.by[front] += 1
            return
        self.wrong.append("no gateway answered")

    async def _on(self, front: str) -> tuple[int, bytes]:
        if front not in self._open:
            self._open[front] = await opened(front)
        reader, writer = self._open[front]
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        writer.write(get("/", *([f"Cookie: {cookie}"] if cookie else [])))
        found = await response(reader)
        if not found.whole:
            raise EOFError
        for key, value in found.headers:
            if key.lower() == b"set-cookie":
                name, _, rest = value.decode().partition("=")
                self.cookies[name] = rest.partition(";")[0]
        if found.header(b"connection") == b"close":
            await self._leave(front)
        return found.status, found.body

    async def _leave(self, front: str) -> None:
        if front in self._open:
            await hang_up(self._open.pop(front)[1])

    async def live(self) -> None:
        """Ask until it is cancelled."""
        try:
            for turn in range(1_000_000):
                await self.ask(turn)
                await asyncio.sleep(_PAUSE)
        finally:
            for front in tuple(self._open):
                await self._leave(front)

    @property
    def lost(self) -> bool:
        """Whether a host had forgotten it, which then counts from 1 again."""
        return any(
            later.count <= visit.count
            for visit, later in zip(self.visits, self.visits[1:], strict=False)
        )


@contextlib.asynccontextmanager
async def living(sessions: Sequence[Session]) -> AsyncIterator[None]:
    """They ask until the block ends."""
    tasks = [asyncio.create_task(session.live()) for session in sessions]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def rounds(sessions: Sequence[Session], number: int, front: str | None = None) -> None:
    """Wait until each has had so many more answers (through ``front``)."""

    def had(session: Session) -> int:
        return session.by.total() if front is None else session.by[front]

    goals = [(session, had(session) + number) for session in sessions]
    async with asyncio.timeout(30):
        for session, goal in goals:
            while had(session) < goal:  # nobody tells
                assert not session.wrong, session.wrong
                await asyncio.sleep(0.01)
