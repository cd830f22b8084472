"""A host that records every byte, and reads requests by rules that leave one reading."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Recorder:
    """What came: ``requests`` are (head, body) of each whole request, ``raw`` all bytes."""

    address: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    raw: list[bytearray] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # why a connection could not be read

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = bytearray()
        self.raw.append(seen)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen += head
                body = await self._body(head, reader, seen)
                self.requests.append((head, body))
                target = head.split(b" ", 2)[1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(target))
                writer.write(target)
                await writer.drain()
        except asyncio.IncompleteReadError as error:
            seen += error.partial
        except (OSError, asyncio.CancelledError):
            pass
        except ValueError as error:
            self.odd.append(f"{error}: {bytes(seen)!r}")
        finally:
            writer.close()

    async def _body(self, head: bytes, reader: asyncio.StreamReader, seen: bytearray) -> bytes:
        fields = [line.partition(b":") for line in head[:-4].split(b"\r\n")[1:]]
        lengths = [value.strip() for name, _, value in fields if name.lower() == b"content-length"]
        codings = [
            value.strip() for name, _, value in fields if name.lower() == b"transfer-encoding"
        ]
        hosts = [value for name, _, value in fields if name.lower() == b"host"]
        if len(lengths) + len(codings) > 1 or len(hosts) != 1:
            raise ValueError("two readings")
        if codings:
            if codings != [b"chunked"]:
                raise ValueError("an unknown coding")
            return await self._chunks(reader, seen)
        if not lengths:
            return b""
        if not lengths[0].isdigit():
            raise ValueError("a length that is no number")
        body = await reader.readexactly(int(lengths[0]))
        seen += body
        return body

    async def _chunks(self, reader: asyncio.StreamReader, seen: bytearray) -> bytes:
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            seen += line
            size = int(line, 16)
            chunk = await reader.readexactly(size + 2)
            seen += chunk
            if not chunk.endswith(b"\r\n"):
                raise ValueError("a chunk without an end")
            if not size:
                return body
            body += chunk[:-2]


@contextlib.asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """A recorder that listens."""
    found = Recorder()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, limit=1 << 20)
    name, port = server.sockets[0].getsockname()[:2]
    found.address = f"{name}:{port}"
    try:
        yield found
    finally:
        server.close()
