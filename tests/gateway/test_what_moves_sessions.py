"""What may move a session: an unreachable host, and nothing that a visitor can cause."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest

from hashring.config import Settings
from hashring.config.reading import read
from hashring.gateway import Gateway
from tests.gateway.hosts import Script, head_of, length_of, scripted
from tests.gateway.running import Response, ask, get, served

SECRET = "a secret of this test, long enough"
SESSIONS = 30


class CountingHost:
    """A host that names itself, with pages that go wrong when they are asked to."""

    def __init__(self, name: str) -> None:
        self.name, self.address = name, ""
        self.is_dead = False

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self.is_dead:
            head = await head_of(reader)
            await reader.readexactly(length_of(head))
            target = head.split(b" ")[1]
            if target.startswith(b"/hang"):
                await asyncio.sleep(30)
            if target.startswith(b"/reset"):
                writer.transport.abort()
                return
            status = b"503 Service Unavailable" if target.startswith(b"/503") else b"200 OK"
            length = b"999" if target.startswith(b"/cut") else b"%d" % len(self.name)
            body = self.name.encode()
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: " + length + b"\r\n\r\n" + body)
            await writer.drain()
            if length == b"999":
                return


def settings_of(hosts: list[str], more: str = "") -> Settings:
    text = f"pool.hosts = {hosts!r}"
    return read(_file(text + "\n" + more), environ={"S": SECRET})


def _file(text: str) -> str:
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "h.toml"
    path.write_text(text)
    return str(path)


@contextlib.asynccontextmanager
async def running(
    more: str = "", hosts: int = 3
) -> AsyncIterator[tuple[str, Gateway, list[CountingHost]]]:
    """A gateway of a configuration, and its hosts."""
    made = [CountingHost(f"web{number}") for number in range(hosts)]
    async with contextlib.AsyncExitStack() as stack:
        for host in made:
            script: Script = host.script
            host.address = await stack.enter_async_context(scripted(script))
        base = (
            '[tokens]\nsecret_env = "S"\n[timeouts]\nfirst_byte = 0.3\nconnect = 1\n'
            '[health]\nprobe = "none"\n'
        )
        settings = settings_of([host.address for host in made], base + more)
        gateway = Gateway.from_settings(settings)
        front = await stack.enter_async_context(served(gateway))
        yield front, gateway, made


def cookie_of(response: Response) -> str | None:
    found = response.header(b"set-cookie")
    match = re.match(rb"(hashring=[^;]+)", found or b"")
    return match[1].decode() if match else None


async def join(front: str, number: int) -> list[tuple[str, bytes]]:
    """``number`` new sessions: their cookies and hosts."""
    sessions = []
    for _ in range(number):
        response = await ask(front, get("/"))
        cookie = cookie_of(response)
        assert cookie is not None
        sessions.append((cookie, response.body))
    return sessions


async def count_moved(front: str, sessions: list[tuple[str, bytes]]) -> int:
    moved = 0
    for cookie, host in sessions:
        response = await ask(front, get("/", f"Cookie: {cookie}"))
        assert response.status == 200
        moved += response.body != host
    return moved


@pytest.mark.parametrize("page", ["/503", "/cut"])
def test_pages_that_go_wrong_eject_no_host(page: str) -> None:
    async def main() -> None:
        async with running() as (front, gateway, _):
            sessions = await join(front, SESSIONS)
            for _ in range(12):
                await ask(front, get(page, f"Cookie: {sessions[0][0]}"))
            assert await count_moved(front, sessions) == 0
            assert not gateway.lb.snapshot.away

    asyncio.run(main())


def test_statuses_count_where_the_operator_lists_them() -> None:
    async def main() -> None:
        more = "[health.outliers]\nstatuses = [503]\n"
        async with running(more) as (front, gateway, _):
            sessions = await join(front, SESSIONS)
            for _ in range(5):
                await ask(front, get("/503", f"Cookie: {sessions[0][0]}"))
            await until_away(gateway)
            assert await count_moved(front, sessions) == 0
            (ejected,) = gateway.lb.snapshot.away
            new = await join(front, SESSIONS)
            by_address = {host.name: host.address for host in _made_of(gateway)}
            assert all(by_address[body.decode()] != ejected for _, body in new)

    hosts: list[CountingHost] = []

    def _made_of(gateway: Gateway) -> list[CountingHost]:
        return hosts

    async def outer() -> None:
        more = "[health.outliers]\nstatuses = [503]\n"
        async with running(more) as (front, gateway, made):
            hosts[:] = made
            sessions = await join(front, SESSIONS)
            for _ in range(5):
                await ask(front, get("/503", f"Cookie: {sessions[0][0]}"))
            await until_away(gateway)
            assert await count_moved(front, sessions) == 0
            (ejected,) = gateway.lb.snapshot.away
            for _, body in await join(front, SESSIONS):
                assert next(h.address for h in hosts if h.name == body.decode()) != ejected

    asyncio.run(outer())


async def until_away(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        while not gateway.lb.snapshot.away:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("page", ["/hang", "/reset"])
def test_an_ejected_host_keeps_its_known_clients(page: str) -> None:
    async def main() -> None:
        async with running() as (front, gateway, _):
            sessions = await join(front, SESSIONS)
            for _ in range(5):
                await ask(front, get(page, f"Cookie: {sessions[0][0]}", method="POST"))
            await until_away(gateway)
            assert await count_moved(front, sessions) == 0

    asyncio.run(main())


async def kill(host: CountingHost, stack: contextlib.AsyncExitStack) -> None:
    host.is_dead = True
