"""What do the tests of ``serve`` share?  Hosts that count, a gateway of its own, and clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import hashring.gateway.demo.backend as backend
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds for what takes a fraction of one on an idle machine


@contextmanager
def hosts(*names: str) -> Iterator[list[str]]:
    """Counting hosts, each a process; their addresses."""
    started = [
        subprocess.Popen(
            [sys.executable, "-I", str(backend.__file__), name, "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    try:
        ports = [int(process.stdout.readline()) for process in started if process.stdout]
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        for process in started:
            process.kill()
            process.communicate()


@dataclass
class Serving:
    """A running ``hashring serve``: its address, what it has said on stderr, its process."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def hear(self, words: str, times: int = 1) -> str:
        """Wait until ``words`` were said so many times; the line that holds them."""

        def found() -> str | None:
            lines = [line for line in list(self.said) if words in line]
            return lines[times - 1] if len(lines) >= times else None

        line = wait_until(found, lambda: f"{words!r} was not said: {self.said}")
        assert line is not None
        return line

    @property
    def address(self) -> str:
        found = re.search(r"at http://(\S+) ", self.hear("serving"))
        assert found
        return found[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def serving(*args: str, listen: str = "127.0.0.1:0", **environ: str) -> Iterator[Serving]:
    """``hashring serve ARGS`` in a process; killed at the end if it still runs."""
    command = [sys.executable, "-m", "hashring", "serve", *args]
    process = subprocess.Popen(
        [*command, "--listen", listen] if listen else command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )
    running = Serving(process)

    def listening() -> None:
        assert process.stderr
        for line in process.stderr:
            running.said.append(line.rstrip("\n"))

    reader = threading.Thread(target=listening)
    reader.start()
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        assert process.stderr
        process.stderr.close()


class Session:
    """A client with cookies on one connection that notes every answer that is not the next one."""

    def __init__(self, address: str) -> None:
        self._connection = HTTPConnection(address, timeout=PATIENCE)
        self.cookies: dict[str, str] = {}
        self.wrong: list[str] = []
        self.hosts: list[str] = []
        self.count = 0

    def ask(self) -> None:
        header = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            self._connection.request("GET", "/", headers={"Cookie": header} if header else {})
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            self.wrong.append(repr(error))
            self._connection.close()
            return
        for value in answer.headers.get_all("Set-Cookie", []):
            name, _, rest = value.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        said = json.loads(body)
        if answer.status != 200 or said["count"] != self.count + 1:
            self.wrong.append(f"{answer.status} {said} after {self.count}")
        self.count = said.get("count", self.count)
        self.hosts.append(said.get("host", ""))

    def close(self) -> None:
        self._connection.close()


@contextmanager
def crowd(address: str, size: int = 8) -> Iterator[list[Session]]:
    """Sessions that ask without a pause, each in a thread, until the block ends."""
    sessions = [Session(address) for _ in range(size)]
    over = threading.Event()

    def live(session: Session) -> None:
        while not over.wait(0.005):  # two cores serve clients, gateway and hosts
            session.ask()

    threads = [threading.Thread(target=live, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        yield sessions
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for session in sessions:
            session.close()
