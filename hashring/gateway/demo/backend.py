"""What is a host that remembers?  HTTP over sockets, and a count for each session in memory.

Run as a file, without hashring: ``python backend.py NAME PORT``. It prints the port that it
listens on, and ends when its standard input does, so it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

_PATIENCE = 5.0  # seconds in which a port that its forerunner held must become free
_COOKIE = b"sid="


class Shop:
    """Sessions and how often each has called; a session that it does not know begins at 1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[str, int] = {}

    def answer(self, head: bytes) -> bytes:
        """The whole response to a request's head. ``/anonymous`` begins no session."""
        sid = _sid(head)
        extra = ""
        count = 0
        if not head.startswith(b"GET /anonymous "):
            if sid is None:
                sid = os.urandom(8).hex()
                extra = f"Set-Cookie: sid={sid}; Path=/\r\n"
            count = self.counts[sid] = self.counts.get(sid, 0) + 1
        body = json.dumps({"host": self.name, "sid": sid, "count": count})
        return (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                writer.write(self.answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        writer.close()


def _sid(head: bytes) -> str | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"cookie":
            for part in value.split(b";"):
                if part.strip().startswith(_COOKIE):
                    return part.strip()[len(_COOKIE) :].decode("latin-1")
    return None


async def _listen(shop: Shop, port: int) -> asyncio.Server:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return await asyncio.start_server(shop.serve, "127.0.0.1", port)
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


async def _main(name: str, port: int) -> None:
    server = await _listen(Shop(name), port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
    os._exit(0)
