"""Who asks?  Clients that keep their cookies and count along, and others that keep nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from http.cookies import SimpleCookie
from types import TracebackType

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


class DemoConnection:
    """One connection to the gateway, opened again when it has ended."""

    def __init__(self, address: str) -> None:
        self._name, _, self._port = address.rpartition(":")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, cookie: str) -> tuple[int, list[str], bytes]:
        """The status, the cookies that are set, and the body. Raises ``OSError``, ``EOFError``."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._name, int(self._port))
            reader, writer = self._streams
            cookies = f"Cookie: {cookie}\r\n" if cookie else ""
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._name}\r\n{cookies}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = [(name.lower(), value) for name, _, value in (x.partition(": ") for x in head)]
            body = await reader.readexactly(int(dict(fields).get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if ("connection", "close") in fields:
            self.close()
        return int(head[0].split()[1]), [v for name, v in fields if name == "set-cookie"], body

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class DemoClients:
    """``size`` clients and anonymous requests at ``address``, from entering to leaving.

    ``served`` counts answers by host, ``anonymous`` those to anonymous requests; ``failures`` are
    the requests without a good answer, by what came instead.
    """

    def __init__(self, address: str, size: int, rng: random.Random | None = None) -> None:
        self.members = [Client() for _ in range(size)]
        self.served: Counter[str] = Counter()
        self.anonymous: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._address = address
        self._rng = rng or random.Random()
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

    async def _live(self, client: Client) -> None:
        await asyncio.sleep(self._rng.uniform(0, _PAUSE[1]))
        with contextlib.closing(DemoConnection(self._address)) as connection:
            while True:
                said = await self._ask(connection, "/", client.cookies)
                if said is not None:
                    client.hear(said)
                await asyncio.sleep(self._rng.uniform(*_PAUSE))

    async def _pass_by(self) -> None:
        with contextlib.closing(DemoConnection(self._address)) as connection:
            while True:
                said = await self._ask(connection, "/anonymous", {})
                if said is not None:
                    self.anonymous[str(said["host"])] += 1
                await asyncio.sleep(self._rng.uniform(*_ANONYMOUS))

    async def _ask(
        self, connection: DemoConnection, path: str, cookies: dict[str, str]
    ) -> dict[str, object] | None:
        """One GET; new cookies go into ``cookies``. None, and counted, if it fails."""
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        try:
            async with asyncio.timeout(_TIMEOUT):
                status, set_cookies, body = await connection.get(path, header)
        except (OSError, EOFError, ValueError) as error:
            self.failures[type(error).__name__] += 1
            return None
        if status != 200:
            self.failures[str(status)] += 1
            return None
        for line in set_cookies:
            cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        said: dict[str, object] = {}
        with contextlib.suppress(ValueError):
            said = json.loads(body)
        self.served[str(said.get("host"))] += 1
        return said
