"""Several workers: replaced without a lost request, restarted after a crash, counted together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.serving import Serving, hosts, serving
from tests.gateway.running import ask, get, hang_up, opened, response
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="workers share addresses by Linux's SO_REUSEPORT"
)
WORKERS = 2


def admin_of(running: Serving) -> str:
    found = re.search(r"admin listener at (http://\S+)", running.hear("admin listener"))
    assert found
    return found[1]


def page(running: Serving, path: str = "/state") -> Any:
    with urllib.request.urlopen(admin_of(running) + path, timeout=30) as answer:
        body = answer.read()
    return json.loads(body) if path == "/state" else body.decode()


def children(process: int) -> set[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return {int(number) for number in listed.split()}


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except OSError:
        return False
    return state.split()[0] != "Z"


class Busy:
    """A client without a pause, on one connection or on a new one for each request."""

    def __init__(self, address: str, *, keeps: bool) -> None:
        self.address, self.keeps = address, keeps
        self.answers = 0
        self.lost: list[str] = []

    async def live(self) -> None:
        while True:
            try:
                reader, writer = await opened(self.address)
            except OSError as error:
                self.lost.append(repr(error))
                continue
            try:
                await self._use(reader, writer)
            except (OSError, EOFError) as error:
                self.lost.append(repr(error))
            finally:
                await hang_up(writer)

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask until the connection is to be left."""
        while True:
            writer.write(get("/"))
            found = await response(reader)
            if found.status == 200 and found.whole:
                self.answers += 1
            else:
                self.lost.append(str(found))
            await asyncio.sleep(0.002)
            if not self.keeps or found.header(b"connection") == b"close":
                return


@asynccontextmanager
async def busy(address: str) -> AsyncIterator[list[Busy]]:
    clients = [Busy(address, keeps=number % 2 == 0) for number in range(8)]
    tasks = [asyncio.create_task(client.live()) for client in clients]
    try:
        yield clients
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def started(*args: str) -> Any:
    common = ("--workers", str(WORKERS), "--admin", "127.0.0.1:0")
    return serving(*args, *common)


def test_a_reload_replaces_the_workers_and_loses_no_request() -> None:
    with hosts("a") as (host,), started("--host", host) as running:
        address, supervisor = running.address, running.process.pid
        before = children(supervisor)
        assert len(before) == WORKERS

        async def main() -> int:
            async with busy(address) as clients:
                for times in (1, 2):
                    goals = [client.answers + 20 for client in clients]
                    while any(c.answers < goal for c, goal in zip(clients, goals, strict=True)):
                        await asyncio.sleep(0.01)
                        assert not [client.lost for client in clients if client.lost]
                    os.kill(supervisor, signal.SIGHUP)
                    await asyncio.to_thread(running.hear, "workers were replaced", times)
                await asyncio.to_thread(wait_until, lambda: len(children(supervisor)) == WORKERS)
            assert not [client.lost for client in clients if client.lost]
            return sum(client.answers for client in clients)

        answers = asyncio.run(main())
        assert not before & children(supervisor)
        state = page(running)
        # what a client did not wait for at the end was counted too
        assert answers <= state["stats"]["requests"] <= answers + 8
        assert len(state["workers"]) == WORKERS
        found = re.search(r'gateway_requests_total\{.*"2xx"\} (\S+)', page(running, "/metrics"))
        assert found
        assert answers <= float(found[1]) <= answers + 8
        assert running.end() == 0


def test_a_killed_worker_is_replaced() -> None:
    with hosts("a") as (host,), started("--host", host) as running:
        address, supervisor = running.address, running.process.pid
        victim = min(children(supervisor))
        os.kill(victim, signal.SIGKILL)
        running.hear("another one starts")
        wait_until(lambda: len(children(supervisor) - {victim}) == WORKERS)
        wait_until(lambda: len(page(running)["workers"]) == WORKERS)
        for _ in range(8):
            assert asyncio.run(ask(address, get("/"))).status == 200
        assert running.end() == 0


def _act(running: Serving, host: str, action: str, **values: object) -> None:
    url = f"{admin_of(running)}/v1/hosts/{host}/{action}"
    body = json.dumps(values).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.status == 200


def _marks(running: Serving) -> list[tuple[Any, ...]]:
    """What each worker has: drains, marks and weights of the hosts, from its own socket."""
    return [
        tuple((h["drains"], h["down"], h["weight"]) for h in json.loads(worker)["hosts"])
        for worker in _of_each(running.process.pid, "/state")
    ]


def _of_each(supervisor: int, path: str) -> list[bytes]:
    """A page of each worker, from the sockets that it has open."""
    inodes = set()
    for process in children(supervisor):
        for link in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    lines = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
    listening = [line.split() for line in lines if " 00010000 " in line]
    return [_page_at(each[7], path) for each in listening if each[6] in inodes]


def _page_at(socket_path: str, path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(socket_path)
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        got = b""
        while part := sock.recv(65536):
            got += part
    return got.partition(b"\r\n\r\n")[2]


def test_marks_of_operators_outlive_the_workers() -> None:
    with hosts("a", "b", "c") as names:
        options = [each for name in names for each in ("--host", name)]
        with started(*options) as running:
            supervisor = running.process.pid
            first, second, third = names
            _act(running, first, "drain")
            _act(running, second, "down", reason="disk")
            _act(running, third, "weight", weight=3)
            _act(running, third, "drain")
            _act(running, third, "resume")
            expected: list[tuple[Any, ...]] = [
                ((["operator"], {}, 1.0), ([], {"operator": "disk"}, 1.0), ([], {}, 3.0))
            ] * WORKERS
            assert _marks(running) == expected

            victim = min(children(supervisor))
            os.kill(victim, signal.SIGKILL)
            running.hear("another one starts")
            wait_until(lambda: len(children(supervisor) - {victim}) == WORKERS)
            wait_until(lambda: len(page(running)["workers"]) == WORKERS)
            assert _marks(running) == expected

            before = children(supervisor)
            os.kill(supervisor, signal.SIGHUP)
            running.hear("workers were replaced")
            wait_until(lambda: not before & children(supervisor))
            assert _marks(running) == expected

            _act(running, first, "resume")  # reaches the new ones
            assert all(each[0][0] == [] for each in _marks(running))
            assert running.end() == 0


def test_workers_end_with_their_supervisor() -> None:
    with hosts("a") as (host,), started("--host", host) as running:
        assert running.address
        workers = children(running.process.pid)
        running.process.kill()
        wait_until(lambda: not any(map(is_alive, workers)))


def test_workers_accept_the_tokens_of_each_other() -> None:
    with hosts("a", "b") as addresses, started("--hosts", ",".join(addresses)) as running:

        async def main() -> None:
            token = ""
            for _ in range(16):  # connections, spread over the workers
                lines = [f"Cookie: {token}"] if token else []
                found = await ask(running.address, get("/", *lines))
                set_cookies = [v for n, v in found.headers if n == b"set-cookie"]
                given = [value for value in set_cookies if value.startswith(b"hashring=")]
                assert bool(given) is not bool(token)
                token = token or given[0].split(b";")[0].decode()

        asyncio.run(main())
        assert running.end() == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            '[tokens]\nenabled = false\n[placement]\nnew_clients = "least-outstanding"\n',
            "several workers do not share sessions in memory",
        ),
        ('[sessions]\nstore = "memory"\n', "sessions.store: must be redis://"),
    ],
)
def test_sessions_in_memory_of_workers_are_refused(tmp_path: Path, table: str, said: str) -> None:
    file = tmp_path / "h.toml"
    file.write_text(f'[pool]\nhosts = ["127.0.0.1:9"]\n{table}[gateway]\nworkers = 2\n')
    with serving(str(file)) as running:
        assert running.process.wait(30) != 0
        running.hear(said)


def test_a_unix_socket_can_be_served(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with hosts("a") as (host,), serving("--host", host, "--uds", path, listen="") as running:
        running.hear("serving")

        async def main() -> int:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(get("/"))
            found = await response(reader)
            await hang_up(writer)
            return found.status

        assert asyncio.run(main()) == 200
        assert running.end() == 0
