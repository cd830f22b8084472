"""Sticky sessions inside ASGI applications: rules, forwarding, and real uvicorn workers."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from hashring import ConfigError, HashringError, LoadBalancer
from hashring.affinity import header
from hashring.integrations.asgi import Placement, StickyMiddleware, Workers, new_id

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 4
Message = dict[str, Any]


async def unused(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the application must not be called")


def request(session: str | None = None, **more: Any) -> Message:
    headers = [] if session is None else [(b"cookie", b"hashring=" + session.encode())]
    base = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "GET",
        "path": "/",
        "scheme": "http",
    }
    return {**base, "query_string": b"", "headers": headers, **more}


async def run(app: Any, scope: Message, *messages: Message) -> list[Message]:
    """What ``app`` sends for ``scope``; after ``messages`` the client stays silent."""
    waiting = list(messages or ({"type": "http.request", "body": b"", "more_body": False},))
    sent: list[Message] = []

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


class Application:
    """Answers each request with its placement, and notes which process it stood for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scopes: list[Message] = []
        self.received: list[Message] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body = b""
        while True:
            message = await receive()
            self.received.append(message)
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if scope["path"] == "/fail":
            raise ValueError("a bug of the application")
        if scope["path"] == "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("a bug after the first bytes")
        if scope["path"] == "/wait":
            self.received.append(await receive())
            return
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"x-by", self.name.encode())],
            }
        )
        await send({"type": "http.response.body", "body": body[::-1]})


# -- between hosts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_other": "pass"}, "on_other must be 'forward', 'redirect', 'replay' or 'serve', got"),
        ({"secure": "yes", "me": "a", "on_other": "serve"}, "secure must be True, False or 'auto'"),
        ({"on_other": "serve"}, "me must be the name of this host"),
        ({"me": "a"}, "on_other='forward' passes requests between the workers of one machine"),
        ({"me": "a", "on_other": "serve", "cookie_name": None}, "must come from somewhere"),
        ({"me": "a", "on_other": "serve", "cookie_name": "a b"}, "cookie"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        StickyMiddleware(unused, LoadBalancer(["a", "b"]), **options)


def test_workers_take_no_name_and_no_redirect(tmp_path: Path) -> None:
    workers = Workers(tmp_path, count=2)
    with pytest.raises(ConfigError, match="leave out me"):
        StickyMiddleware(unused, workers, me="worker-0")
    with pytest.raises(ConfigError, match="workers share one"):
        StickyMiddleware(unused, workers, on_other="redirect")
    with pytest.raises(ConfigError, match="must be Workers or a LoadBalancer, got list"):
        StickyMiddleware(unused, ["a"], me="a", on_other="serve")  # type: ignore[arg-type]


def test_workers_serve_one_application(tmp_path: Path) -> None:
    workers = Workers(tmp_path, count=2)
    StickyMiddleware(unused, workers)
    with pytest.raises(ConfigError, match="already serve an application"):
        StickyMiddleware(unused, workers)


def test_workers_need_a_count_and_a_short_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    with pytest.raises(ConfigError, match="set WEB_CONCURRENCY"):
        Workers(tmp_path)
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert len(Workers(tmp_path).balancer.snapshot.members) == 3
    with pytest.raises(ConfigError, match="too long for a Unix socket"):
        Workers(tmp_path / ("x" * 100), count=2)


def test_a_request_of_another_host_is_redirected_to_its_address() -> None:
    lb = LoadBalancer([("web1", 1.0), ("web2", 1.0)])
    app = StickyMiddleware(unused, lb, me="web1", on_other="redirect")
    client = new_id(lb, "web2")
    sent = asyncio.run(run(app, request(client, path="/a b", query_string=b"q=1")))
    assert sent[0]["status"] == 307
    assert dict(sent[0]["headers"])[b"location"] == b"http://web2/a%20b?q=1"


def test_a_request_of_another_host_is_replayed_by_the_platform() -> None:
    lb = LoadBalancer(["web1", "web2"])
    app = StickyMiddleware(unused, lb, me="web1", on_other="replay")
    sent = asyncio.run(run(app, request(new_id(lb, "web2"))))
    assert dict(sent[0]["headers"])[b"fly-replay"] == b"instance=web2"


def test_a_websocket_of_another_host_is_closed_as_in_a_restart() -> None:
    lb = LoadBalancer(["web1", "web2"])
    app = StickyMiddleware(unused, lb, me="web1", on_other="redirect")
    scope = request(new_id(lb, "web2"), type="websocket", scheme="ws")
    sent = asyncio.run(run(app, scope, {"type": "websocket.connect"}))
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1012)]


def test_an_anonymous_client_gets_an_id_of_its_host() -> None:
    lb = LoadBalancer([f"web{n}" for n in range(9)])
    inner = Application("web3")
    app = StickyMiddleware(inner, lb, me="web3", on_other="redirect")
    sent = asyncio.run(run(app, request(scheme="https")))
    cookie = dict(sent[0]["headers"])[b"set-cookie"].decode()
    found = re.fullmatch(
        r"hashring=([0-9a-f]{32}); Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure", cookie
    )
    assert found is not None
    assert lb.pick(found[1]).name == "web3"
    assert inner.scopes[0]["hashring"] == Placement(found[1], "web3", is_owner=True)


def test_an_id_of_a_host_that_owns_nothing_is_an_error() -> None:
    lb = LoadBalancer(["web1", "web2"])
    lb.mark_down("web2", "test")
    with pytest.raises(HashringError, match="no ID that belongs to 'web2'"):
        new_id(lb, "web2")


# -- between workers, in one process ---------------------------------------------------------------


class Pair:
    """Two workers in one event loop, and clients of each."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.workers = [Workers(directory, count=2, **options) for _ in range(2)]
        self.inner = [Application(f"worker-{n}") for n in range(2)]
        self.apps = [
            StickyMiddleware(inner, each)
            for inner, each in zip(self.inner, self.workers, strict=True)
        ]

    async def __aenter__(self) -> Pair:
        for workers in self.workers:
            await workers.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for workers in self.workers:
            await workers.stop()


def test_a_request_reaches_its_owner_with_all_its_parts(tmp_path: Path) -> None:
    async def main() -> None:
        async with Pair(tmp_path) as pair:
            client = pair.workers[1].new_id()
            scope = request(
                client, method="POST", raw_path=b"/%ff", client=("10.0.0.1", 5), root_path="/app"
            )
            scope["headers"].append((b"x-odd", b"\xff\x00"))
            pair.workers[1].state = {"database": "open"}
            big = os.urandom(3 << 20)
            parts = [{"type": "http.request", "body": big, "more_body": True}]
            sent = await run(pair.apps[0], scope, *parts, {"type": "http.request", "body": b"!"})
            assert dict(sent[0]["headers"])[b"x-by"] == b"worker-1"
            assert sent[1]["body"] == (big + b"!")[::-1]
            seen = pair.inner[1].scopes[0]
            for key in ("method", "raw_path", "client", "root_path", "headers", "query_string"):
                assert seen[key] == scope[key], key
            assert seen["hashring"] == Placement(client, "worker-1", is_owner=True)
            assert seen["state"] == {"database": "open"}
            assert not pair.inner[0].scopes

    asyncio.run(main())


def test_a_client_that_leaves_is_noticed_by_the_owner(tmp_path: Path) -> None:
    async def main() -> None:
        async with Pair(tmp_path) as pair:
            scope = request(pair.workers[1].new_id(), path="/wait")
            parts = ({"type": "http.request", "body": b""}, {"type": "http.disconnect"})
            await run(pair.apps[0], scope, *parts)
            assert pair.inner[1].received[-1] == {"type": "http.disconnect"}

    asyncio.run(main())


def test_an_exception_of_the_owner_is_one_here_and_logged_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Pair(tmp_path) as pair:
            for path in ("/fail", "/half"):
                with pytest.raises(HashringError, match="see its log"):
                    await run(pair.apps[0], request(pair.workers[1].new_id(), path=path))

    asyncio.run(main())
    assert caplog.text.count("ValueError: a bug") == 2


def test_an_owner_that_ended_is_waited_for_and_then_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        async with Pair(tmp_path, patience=0.2) as pair:
            client = pair.workers[1].new_id()
            await pair.workers[1].stop()
            sent = await run(pair.apps[0], request(client))
            assert dict(sent[0]["headers"])[b"x-by"] == b"worker-0"  # the next slot of its walk
            replacement = Workers(tmp_path, count=2)
            inner = Application("replacement")
            StickyMiddleware(inner, replacement)
            await replacement.start()
            assert replacement.name == "worker-1"
            sent = await run(pair.apps[0], request(client))
            assert dict(sent[0]["headers"])[b"x-by"] == b"replacement"
            await replacement.stop()

    asyncio.run(main())


def test_a_process_without_a_slot_forwards_until_one_is_free(tmp_path: Path) -> None:
    async def main() -> None:
        async with Pair(tmp_path) as pair:
            third = Workers(tmp_path, count=2)
            app = StickyMiddleware(unused, third)
            for workers in pair.workers:
                sent = await run(app, request(workers.new_id()))
                assert dict(sent[0]["headers"])[b"x-by"] == (workers.name or "").encode()
            assert third.name is None
            await pair.workers[0].stop()
            for _ in range(600):
                if third.name is not None:
                    break
                await asyncio.sleep(0.05)
            assert third.name == "worker-0"
            await third.stop()

    asyncio.run(main())


def test_concurrent_first_requests_claim_one_slot(tmp_path: Path) -> None:
    async def main() -> None:
        workers = Workers(tmp_path, count=4)
        app = StickyMiddleware(Application("one"), workers, identity=header("x-user"))
        await asyncio.gather(*(run(app, request()) for _ in range(20)))
        assert workers.name == "worker-0"
        other = Workers(tmp_path, count=4)
        await other.start()
        assert other.name == "worker-1"
        await workers.stop()
        await other.stop()

    asyncio.run(main())


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot use the directory .*Not a directory"):
        asyncio.run(Workers(tmp_path / "file" / "under", count=2).start())


# -- between real processes ------------------------------------------------------------------------


class Server:
    """uvicorn with several workers on a free port."""

    def __init__(self, directory: Path, app: str) -> None:
        self.log = directory / "uvicorn.log"
        environment = {
            **os.environ,
            "ASGI_TEST_DIRECTORY": str(directory / "run"),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "uvicorn", f"tests.integrations.asgi_app:{app}"]
        command += ["--workers", str(WORKERS), "--port", "0", "--no-access-log"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment, "WEB_CONCURRENCY": str(WORKERS)},
                stdout=log,
                stderr=log,
            )
        self.port = 0

    def wait(self, condition: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition(text := self.log.read_text()):
            assert self.process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[str, str]:
        """The response's body and cookie, on a new connection, so that any process may get it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, (response.status, text)
            return text, (response.headers.get("set-cookie") or "").split(";")[0]
        finally:
            connection.close()


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(tmp_path, request.param)
    try:
        server.wait(lambda text: text.count("Application startup complete") >= WORKERS)
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", server.log.read_text())
        assert found is not None
        server.port = int(found[1])
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=30)


@pytest.mark.parametrize("server", ["app"], indirect=True)
def test_two_hundred_clients_keep_their_process_through_a_kill(server: Server) -> None:
    def visit(cookie: str) -> tuple[int, str]:
        text, new = server.request("GET", "/", b"", **({"Cookie": cookie} if cookie else {}))
        return int(json.loads(text)["pid"]), new or cookie

    def visits(cookie: str) -> list[dict[str, Any]]:
        return [json.loads(server.request("GET", "/", Cookie=cookie)[0]) for _ in range(4)]

    with ThreadPoolExecutor(16) as pool:
        first = list(pool.map(visit, [""] * 200))
        homes = {cookie: pid for pid, cookie in first}
        assert len(homes) == 200
        assert len(set(homes.values())) > 1
        for (cookie, pid), seen in zip(homes.items(), pool.map(visits, homes), strict=True):
            assert [each["pid"] for each in seen] == [pid] * 4, cookie
            assert [each["visits"] for each in seen] == [2, 3, 4, 5]

        killed = first[0][0]
        os.kill(killed, signal.SIGKILL)
        server.wait(lambda text: text.count("Application startup complete") > WORKERS)
        again = dict(zip(homes, pool.map(visits, homes), strict=True))
    for cookie, pid in homes.items():
        pids = {each["pid"] for each in again[cookie]}
        assert len(pids) == 1
        if pid != killed:  # only the sessions of the killed process are lost
            assert pids == {pid}
            assert again[cookie][0]["visits"] == 6
        else:
            assert again[cookie][0]["visits"] == 1


@pytest.mark.parametrize("server", ["app"], indirect=True)
def test_a_websocket_and_a_large_body_reach_the_owner(server: Server) -> None:
    text, cookie = server.request("GET", "/")
    home = json.loads(text)["pid"]
    for _ in range(8):  # several, so that some reach another process first
        body, _ = server.request("POST", "/", os.urandom(1 << 20), Cookie=cookie)
        assert (json.loads(body)["pid"], json.loads(body)["size"]) == (home, 1 << 20)
        url = f"ws://127.0.0.1:{server.port}/"
        with connect(url, additional_headers={"Cookie": cookie}) as socket:
            socket.send("hello")
            assert socket.recv() == f"{home} {cookie.partition('=')[2]} hello"


@pytest.mark.parametrize("server", ["chat"], indirect=True)
def test_socket_io_by_polling_without_cookies_keeps_its_sessions(server: Server) -> None:
    path = "/socket.io/?EIO=4&transport=polling"

    def talk(number: int) -> int:
        opened, _ = server.request("GET", path)
        sid = json.loads(opened[1:])["sid"]
        mine = f"{path}&sid={sid}"
        server.request("POST", mine, b"40")
        server.request("GET", mine)
        pids = set()
        for turn in range(5):
            server.request("POST", mine, b'42%d["echo","%d"]' % (turn, number))
            answer, _ = server.request("GET", mine)
            found = re.fullmatch(rf'43{turn}\["(\d+) {number}"\]', answer)
            assert found is not None, answer
            pids.add(found[1])
        return len(pids)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(talk, range(200))) == {1}
