"""What do the parity tests start?  Tiny backends in this process, and real programs beside it."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = [
    "LOOPBACK",
    "Backends",
    "HttpTalk",
    "MemcachedTalk",
    "Proxy",
    "free_port",
    "program",
    "running",
    "version_of",
]

LOOPBACK = "127.0.0.1"
READY_WITHIN = 30.0  # seconds; the slowest, Varnish, compiles its configuration with gcc first
ENDED_WITHIN = 10.0  # seconds until a program that was told to end is killed
POLL = 0.05  # seconds between two looks at whether a program is ready


class _Talk(asyncio.Protocol):
    """One connection to a backend, which answers its own name to every request."""

    END = b""

    def __init__(self, name: str, open_connections: set[asyncio.WriteTransport]) -> None:
        self.name = name.encode()
        self._unread = b""
        self._open = open_connections
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        assert self._transport is not None
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        *requests, self._unread = (self._unread + data).split(self.END)
        assert self._transport is not None
        for request in requests:
            self._transport.write(self.answer(request))

    def answer(self, request: bytes) -> bytes:
        raise NotImplementedError


class HttpTalk(_Talk):
    """HTTP/1.1 without bodies in the request: a 200 whose body is the backend's name."""

    END = b"\r\n\r\n"

    def answer(self, request: bytes) -> bytes:
        assert request.startswith(b"GET "), request
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.name), self.name)


class MemcachedTalk(_Talk):
    """The memcached text protocol: every ``get`` hits, and the value is the backend's name."""

    END = b"\r\n"

    def answer(self, request: bytes) -> bytes:
        key = request.split(b" ")[1]
        return b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(self.name), self.name)


class Backends:
    """``count`` servers on free ports of loopback, all in one thread; ``addresses`` in order."""

    def __init__(self, count: int, talk: type[_Talk]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._talk = talk
        self._servers: dict[str, asyncio.Server] = {}
        self._open: set[asyncio.WriteTransport] = set()
        for _ in range(count):
            self.add(socket.create_server((LOOPBACK, 0)))

    @property
    def addresses(self) -> list[str]:
        """The name of each backend, which is what it answers: ``127.0.0.1:port`` unless given."""
        return list(self._servers)

    def add(self, listening: socket.socket, name: str | None = None) -> str:
        """Serve ``listening`` too, under ``name`` (None: its ``host:port``); gives the name."""
        if name is None:
            name = "{}:{}".format(*listening.getsockname())
        self._await(self._serve(listening, name))
        return name

    async def _serve(self, listening: socket.socket, name: str) -> None:
        self._servers[name] = await self._loop.create_server(
            lambda: self._talk(name, self._open), sock=listening
        )

    async def _close(self, address: str) -> None:
        server = self._servers[address]
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        # a connection that was just accepted is a task until it is made, and is made for a
        # server that is open
        if accepted := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepted)
        server.close()

    def _await(self, what: object) -> None:
        assert asyncio.iscoroutine(what)
        asyncio.run_coroutine_threadsafe(what, self._loop).result(ENDED_WITHIN)

    def close(self, address: str) -> None:
        """No longer accept connections at ``address``."""
        self._await(self._close(address))

    def stop(self) -> None:
        """Close every socket, and end the thread."""
        self._await(self._close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ENDED_WITHIN)
        self._loop.close()

    async def _close_all(self) -> None:
        for address in self._servers:
            await self._close(address)
        while self._open:
            for connection in self._open:
                connection.abort()
            await asyncio.sleep(0)


class Proxy(NamedTuple):
    """A program that runs: what it calls itself, and where it listens."""

    version: str
    port: int


def free_port() -> int:
    """A port of loopback that nobody listens on right now."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def program(name: str, package: str) -> str:
    """The path of the program ``name``; skips the test when it is not installed."""
    # Debian keeps servers in /usr/sbin, PyPI scripts stand beside the interpreter
    places = f"{Path(sys.executable).parent}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(name) or shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed (package {package})")
    return found


def version_of(name: str, path: str, flag: str) -> str:
    """``name`` and the first version number of what ``path flag`` prints."""
    said = subprocess.run([path, flag], capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    assert found, said
    return f"{name} {found[0]}"


def listens(port: int) -> bool:
    """Whether somebody accepts connections at ``port`` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    ports: Sequence[int],
    *,
    env: Mapping[str, str] | None = None,
    ready: Callable[[], bool] = lambda: True,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in ``folder`` until the block ends; entered once all ``ports`` accept.

    Gives the process. ``ready`` is asked after the ports. Ends the program by its own process id.
    A program that ends early or is not ready in time fails the test with what it wrote.
    """
    log = folder / "log.txt"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        _until_ready(process, lambda: all(map(listens, ports)) and ready(), command[0], log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_ready(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], name: str, log: Path
) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{name} ended with {process.returncode}:\n{log.read_text('utf-8')}")
        if ready():
            return
        time.sleep(POLL)
    pytest.fail(f"{name} was not ready in {READY_WITHIN:g} s:\n{log.read_text('utf-8')}")
