"""A gateway that really serves, in this event loop, and clients that speak raw bytes to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from hashring import LoadBalancer
from hashring.gateway import Gateway, Timeouts, serve

LIMIT = 10.0  # seconds after which a test is stuck


@contextlib.asynccontextmanager
async def served(gateway: Gateway, **options: object) -> AsyncIterator[str]:
    """The address on which ``gateway`` is served."""
    stop = asyncio.Event()
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            gateway,
            listen="127.0.0.1:0",
            linger=0,
            grace=1,
            started=lambda front, back: told.set_result(front),
            stop=stop,
            **options,  # type: ignore[arg-type]  # a test's own
        )
    )
    await asyncio.wait((told, task), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await told if told.done() else ""
    finally:
        stop.set()
        await task


def gateway_to(*addresses: str, **options: object) -> Gateway:
    """A gateway to these hosts, quick to give up."""
    options.setdefault("timeouts", Timeouts(connect=1, first_byte=2, idle=2))
    return Gateway(LoadBalancer(addresses), **options)  # type: ignore[arg-type]  # a test's own


@dataclass
class Response:
    """What came back: ``whole`` says whether its body was complete."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool

    def header(self, name: bytes) -> bytes | None:
        found = [value for key, value in self.headers if key.lower() == name]
        return found[0] if found else None


async def opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name, _, port = address.rpartition(":")
    return await asyncio.open_connection(name, int(port), limit=1 << 20)


async def response(reader: asyncio.StreamReader, *, head: bool = False) -> Response:
    """The next response on a connection. Raises ``EOFError`` if there is none."""
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].split(b"\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    found = Response(int(first.split(b" ")[1]), pairs, b"", whole=True)
    if head or found.status in (101, 204, 304):
        return found
    try:
        if found.header(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readline(), 16):
                found.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            found.body = await reader.readexactly(int(found.header(b"content-length") or 0))
    except (EOFError, ValueError, ConnectionError):
        found.whole = False
    return found


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def ask(address: str, request: bytes, *, head: bool = False) -> Response:
    """One request on a connection of its own."""
    reader, writer = await opened(address)
    try:
        writer.write(request)
        async with asyncio.timeout(LIMIT):
            return await response(reader, head=head)
    finally:
        await hang_up(writer)


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    """A plain request."""
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: test", *lines, "", "")).encode()
