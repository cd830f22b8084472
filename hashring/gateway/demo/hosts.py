"""How do hosts start, die and end?  Each is a process, ended by its own process id."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from hashring.errors import HashringError
from hashring.hosts import Host

_FILE = Path(__file__).with_name("backend.py")


class Backends:
    """Hosts by name, on free ports of 127.0.0.1; ``async with`` ends those that are left.

    Each ends by itself when the pipe to its standard input breaks, so none outlives this process
    however that ends.
    """

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self, name: str) -> Host:
        """Start a host, at the port that it had before if it had one.

        Raises ``HashringError`` if it does not come up.
        """
        # not asyncio's: uvloop forks by its own means, which would warn of the health monitor
        process = subprocess.Popen(  # noqa: ASYNC220  # it takes a millisecond
            # -I: the file alone, which starts faster without this package
            [sys.executable, "-I", str(_FILE), name, str(self._ports.get(name, 0))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        self._processes[name] = process
        assert process.stdout is not None
        # it prints its port or ends, so this ends
        line = await asyncio.to_thread(process.stdout.readline)
        if not line.strip().isdigit():
            raise HashringError(f"the demo's host {name!r} did not start: is 127.0.0.1 usable?")
        self._ports[name] = int(line)
        return Host(name, address=f"127.0.0.1:{int(line)}")

    async def start_all(self, names: list[str]) -> list[Host]:
        """Start several concurrently."""
        return list(await asyncio.gather(*(self.start(name) for name in names)))

    def kill(self, name: str) -> int:
        """``kill -9``; the process id that it had."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return process.pid

    async def __aenter__(self) -> Backends:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in list(self._processes):
            self.kill(name)
