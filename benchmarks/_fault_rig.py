"""What is hurt?  Five hosts and a gateway, each a process of its own, ended by its own id."""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._measure import host_names

__all__ = ["CONNECT", "FIRST_BYTE", "SETTINGS", "Rig", "rig"]

HOSTS = 5
CONNECT = 1.0
FIRST_BYTE = 1.0

SETTINGS = (
    f"connect {CONNECT:g} s, first byte {FIRST_BYTE:g} s, an HTTP probe each second "
    "(0.5 s, fall 2), 5 failures eject for 5 s, the rest at its defaults"
)
_FILE = f"""
[pool]
hosts = [{{hosts}}]
[identity]
sources = ["header:X-User"]
[tokens]
secret_file = "{{secret}}"
[health]
probe = "http"
path = "/healthz"
interval = 1
timeout = 0.5
fall = 2
rise = 1
fast = 0.25
[health.outliers]
base = 5
share = {1 / HOSTS}
[timeouts]
connect = {CONNECT}
first_byte = {FIRST_BYTE}
"""


class Rig:
    """The processes. ``front`` is the gateway's address, ``said`` its log with the times."""

    def __init__(self, folder: Path, manner: str) -> None:
        self._folder, self._manner = folder, manner
        self._hosts = {name: self._started(name, 0) for name in host_names(HOSTS)}
        self._ports = {name: _port(process) for name, process in self._hosts.items()}
        self.said: list[tuple[float, str]] = []
        self.gateway = self._serving()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        self.front = self._address()

    @property
    def names(self) -> list[str]:
        """The hosts."""
        return list(self._hosts)

    def carried_out(self) -> Iterator[int]:
        """The numbers of all requests that hosts have carried out."""
        for name in self._hosts:
            yield from map(int, (self._folder / name).read_text(encoding="ascii").split())

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send it to a host; after SIGKILL, wait until it is dead."""
        self._hosts[name].send_signal(number)
        if number == signal.SIGKILL:
            self._hosts[name].wait()

    def start_again(self, name: str) -> None:
        """A killed host, at the port that it had."""
        _close(self._hosts[name])
        self._hosts[name] = self._started(name, self._ports[name])

    def away_at(self, name: str) -> float | None:
        """When the gateway first said that a host is ejected or down; None if it did not."""
        words = re.compile(rf"(ejected|down) {name}\b")
        return next((at for at, line in self.said if words.search(line)), None)

    def close(self) -> None:
        """End all of them."""
        for process in (self.gateway, *self._hosts.values()):
            process.kill()
            process.wait()
        self._listener.join()
        for process in (self.gateway, *self._hosts.values()):
            _close(process)

    def _started(self, name: str, port: int) -> subprocess.Popen[str]:
        module = "benchmarks._fault_host"
        arguments = (name, str(self._folder / name), self._manner, str(port))
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def _serving(self) -> subprocess.Popen[str]:
        secret, file = self._folder / "secret", self._folder / "h.toml"
        secret.write_text(secrets.token_hex(32), encoding="ascii")
        hosts = ", ".join(
            f'{{ name = "{name}", address = "127.0.0.1:{port}" }}'
            for name, port in self._ports.items()
        )
        file.write_text(_FILE.format(hosts=hosts, secret=secret.as_posix()), encoding="utf-8")
        command = [sys.executable, "-m", "hashring", "serve", str(file), "--listen", "127.0.0.1:0"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def _listen(self) -> None:
        assert self.gateway.stderr is not None
        for line in self.gateway.stderr:
            self.said.append((time.monotonic(), line))

    def _address(self) -> str:
        while self.gateway.poll() is None:
            for _, line in self.said:
                if found := re.search(r"serving .* at http://(\S+) ", line):
                    return found[1]
            time.sleep(0.02)
        self._listener.join()
        raise RuntimeError("".join(line for _, line in self.said))


@contextlib.contextmanager
def rig(manner: str = "serve") -> Iterator[Rig]:
    """Hosts that ``serve``, or ``fail`` each request, and a gateway to them."""
    with TemporaryDirectory() as folder:
        made = Rig(Path(folder), manner)
        try:
            yield made
        finally:
            made.close()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
