"""Hosts that name themselves, with pages that go wrong, and a gateway made of settings."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from hashring.config.reading import read
from hashring.gateway import Gateway
from tests.gateway.hosts import head_of, length_of
from tests.gateway.running import Response, ask, get, served

LIMIT = 10.0  # seconds after which a test is stuck


class PageHost:
    """A host that responds with its own name, and can stop and start again on its port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()

    async def respond(self, target: str, head: bytes, body: bytes) -> bytes:
        """The response to one request; empty for a connection that is reset."""
        if target.startswith("/hang"):
            await asyncio.sleep(2 * LIMIT)
        if target.startswith("/reset"):
            return b""
        status = b"503 Service Unavailable" if target.startswith("/503") else b"200 OK"
        length = 999 if target.startswith("/cut") else len(self.name)
        return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, length) + self.name.encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(EOFError, OSError, asyncio.CancelledError):
            while True:
                head = await head_of(reader)
                body = await reader.readexactly(length_of(head))
                target = head.split(b" ")[1].decode()
                response = await self.respond(target, head, body)
                writer.write(response)
                await writer.drain()
                if not response or target.startswith("/cut"):
                    break
        self._open.discard(writer)
        writer.close()


@contextlib.asynccontextmanager
async def started(hosts: list[PageHost]) -> AsyncIterator[list[PageHost]]:
    for host in hosts:
        await host.start()
    try:
        yield hosts
    finally:
        for host in hosts:
            host.stop()


@contextlib.asynccontextmanager
async def gateway_of(
    hosts: list[PageHost], options: Mapping[str, Any] | None = None
) -> AsyncIterator[tuple[str, Gateway]]:
    """A gateway to running hosts: its address, and itself."""
    given = {
        "pool.hosts": [{"name": host.name, "address": host.address} for host in hosts],
        "tokens.secret_env": "SECRET",
        "timeouts.first_byte": 0.3,
        "timeouts.connect": 1.0,
        "health.probe": "none",
        **(options or {}),
    }
    names = dict.fromkeys(given, "of a test")
    settings = read(options=given, names=names, environ={"SECRET": "a secret that only tests know"})
    gateway = Gateway.from_settings(settings)
    async with served(gateway) as front:
        yield front, gateway


def cookie_of(response: Response) -> str | None:
    """The token of a response, as a client sends it back."""
    match = re.match(rb"(hashring=[^;]+)", response.header(b"set-cookie") or b"")
    return match[1].decode() if match else None


async def join(front: str, number: int) -> list[tuple[str, bytes]]:
    """The cookies and hosts of ``number`` new clients."""
    sessions = []
    for _ in range(number):
        response = await ask(front, get("/"))
        cookie = cookie_of(response)
        assert cookie is not None
        sessions.append((cookie, response.body))
    return sessions


async def count_moved(front: str, sessions: list[tuple[str, bytes]]) -> int:
    """How many sessions another host than their own serves."""
    moved = 0
    for cookie, host in sessions:
        response = await ask(front, get("/", f"Cookie: {cookie}"))
        assert response.status == 200, response
        moved += response.body != host
    return moved
