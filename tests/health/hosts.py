"""What stands in for the hosts?  Real HTTP servers, each a process of its own, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from hashring.hosts import Host

__all__ = ["PATIENCE", "Served", "refused_port", "serving"]

PATIENCE = 30.0
"""Seconds after which a test that waits gives up: far more than any machine needs."""

SERVER = """
import asyncio
mode = {"status": "200", "delay": "0"}

async def answer(reader, writer):
    try:
        path = (await reader.readuntil(b"\\r\\n\\r\\n")).split()[1].decode()
        status, delay = mode["status"], mode["delay"]
        if path.startswith("/mode/"):
            _, _, mode["status"], mode["delay"] = path.split("/")
            status, delay = "200", "0"
        await asyncio.sleep(float(delay))
        writer.write(f"HTTP/1.1 {status} X\\r\\nContent-Length: 2\\r\\n\\r\\nok".encode())
        await writer.drain()
    except (OSError, EOFError):
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Served:
    """One host: a process that answers on ``port``, and what can happen to it."""

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.host = Host(name, address=f"127.0.0.1:{self.port}")

    def behave(self, status: int = 200, delay: float = 0.0) -> None:
        """Answer with ``status`` after ``delay`` seconds from now on."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", f"/mode/{status}/{delay}")
        connection.getresponse().read()
        connection.close()

    def kill(self) -> None:
        """As ``kill -9``."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it: the kernel still accepts for it, and it never answers."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        """Whatever its state, it is gone."""
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def serving(count: int) -> Iterator[list[Served]]:
    """So many hosts, named web1, web2 and so on."""
    hosts: list[Served] = []
    try:
        for number in range(1, count + 1):
            hosts.append(Served(f"web{number}"))  # noqa: PERF401  # each must be ended
        yield hosts
    finally:
        for host in hosts:
            host.end()


def refused_port() -> int:
    """A port on which nobody listens: it was somebody's a moment ago."""
    with serving(1) as (host,):
        return host.port
