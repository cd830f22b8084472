"""A real etcd of a test's own, that can be killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.servers import Program

PROGRAM, CONTROL = "etcd", "etcdctl"


class EtcdServer(Program):
    """``with EtcdServer(folder) as server``: on free ports of 127.0.0.1, its data in ``folder``."""

    def __init__(self, folder: Path, *more: str, scheme: str = "http") -> None:
        for program, package in ((PROGRAM, "etcd-server"), (CONTROL, "etcd-client")):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed (package {package})")
        self._folder, self._more, self._scheme = folder, more, scheme
        self.port, self._peer = _free_port(), _free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.url = f"etcd://{self.endpoint}/services/web"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        here = f"{self._scheme}://{self.endpoint}"
        peer = f"http://127.0.0.1:{self._peer}"
        words = [
            *("--name", "one", "--data-dir", str(self._folder / "data")),
            *("--listen-client-urls", here, "--advertise-client-urls", here),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"one={peer}", "--logger", "zap"),
            *("--unsafe-no-fsync",) * ("--unsafe-no-fsync" in _flags()),
            *self._more,
        ]
        with (self._folder / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, *words], stdout=log, stderr=log)
        until = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError((self._folder / "etcd.log").read_text()[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True  # it listens once it has a leader
        except OSError:
            return False

    def put(self, name: str, value: str, *more: str) -> None:
        """``etcdctl put`` of a host."""
        self.control("put", f"/services/web/{name}", value, *more)

    def delete(self, name: str) -> None:
        """``etcdctl del`` of a host."""
        self.control("del", f"/services/web/{name}")

    def control(self, *words: str) -> str:
        """What ``etcdctl`` prints."""
        limits = ("--command-timeout=60s", "--dial-timeout=60s")  # 5 s and 2 s by default
        command = [CONTROL, *limits, f"--endpoints={self._scheme}://{self.endpoint}", *words]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _flags() -> str:
    said = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
