"""Who asks?  Clients that keep their cookies and count along, and others that keep nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from http.cookies import SimpleCookie
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

_PAUSE = (0.2, 0.8)  # seconds between two requests of a client: 200 make 400 a second
_ANONYMOUS = (0.02, 0.08)  # and between two anonymous ones: 20 a second
_TIMEOUT = 10.0


class Client:
    """One session: its cookies, the count that its host must say next, and where it is.

    ``asked`` counts its answers, ``broken`` how often a host had forgotten it.
    """

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}
        self.sid = ""
        self.host = ""
        self.asked = 0
        self.broken = 0
        self._count = 0

    def hear(self, said: dict[str, object]) -> None:
        """Take an answer; a count that is not the next one is a session lost."""
        count = said["count"]
        assert isinstance(count, int)
        if self._count and count != self._count + 1:
            self.broken += 1
        self._count = count
        self.sid, self.host = str(said["sid"]), str(said["host"])
        self.asked += 1


class DemoClients:
    """``size`` clients and anonymous requests at ``url``, from entering to leaving.

    ``served`` counts answers by host, ``anonymous`` those to anonymous requests; ``failures`` are
    the requests without a good answer, by what came instead.
    """

    def __init__(self, url: str, size: int, rng: random.Random | None = None) -> None:
        self.members = [Client() for _ in range(size)]
        self.served: Counter[str] = Counter()
        self.anonymous: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._url = url
        self._rng = rng or random.Random()
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def requests(self) -> int:
        """How many requests have an answer, good or bad."""
        return sum(self.served.values()) + sum(self.failures.values())

    @property
    def sessions(self) -> Counter[str]:
        """How many clients are on each host."""
        return Counter(client.host for client in self.members if client.host)

    @property
    def broken(self) -> int:
        """How many times a client has lost its session, all in all."""
        return sum(client.broken for client in self.members)

    async def rounds(self, number: int, least: float = 0.0) -> None:
        """Wait until each client has had ``number`` more answers, and ``least`` seconds."""
        goals = [(client, client.asked + number) for client in self.members]
        await asyncio.sleep(least)
        for client, goal in goals:
            while client.asked < goal:  # noqa: ASYNC110  # a signal for each response would cost more
                await asyncio.sleep(0.05)

    async def __aenter__(self) -> DemoClients:
        import aiohttp

        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),  # each client has its own
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )
        self._tasks = [asyncio.create_task(self._live(client)) for client in self.members]
        self._tasks.append(asyncio.create_task(self._pass_by()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _live(self, client: Client) -> None:
        await asyncio.sleep(self._rng.uniform(0, _PAUSE[1]))
        while True:
            said = await self._ask("/", client.cookies)
            if said is not None:
                client.hear(said)
            await asyncio.sleep(self._rng.uniform(*_PAUSE))

    async def _pass_by(self) -> None:
        while True:
            said = await self._ask("/anonymous", {})
            if said is not None:
                self.anonymous[str(said["host"])] += 1
            await asyncio.sleep(self._rng.uniform(*_ANONYMOUS))

    async def _ask(self, path: str, cookies: dict[str, str]) -> dict[str, object] | None:
        """One GET; new cookies go into ``cookies``. None, and counted, if it fails."""
        import aiohttp

        assert self._session is not None
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = {"Cookie": header} if header else {}
        try:
            async with self._session.get(self._url + path, headers=headers) as answer:
                body = await answer.read()
                if answer.status != 200:
                    self.failures[str(answer.status)] += 1
                    return None
                for line in answer.headers.getall("Set-Cookie", []):
                    cookies.update({k: morsel.value for k, morsel in SimpleCookie(line).items()})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.failures[type(error).__name__] += 1
            return None
        said: dict[str, object] = {}
        with contextlib.suppress(ValueError):
            said = json.loads(body)
        self.served[str(said.get("host"))] += 1
        return said
