"""Sessions that hosts name: learned in a table, or carried in an envelope."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hashring import Host
from hashring.config import ProblemsError, read
from hashring.gateway import Timeouts
from hashring.gateway.admin import Admin
from tests.affinity.redis_server import RedisServer
from tests.gateway.running import ask, get
from tests.gateway.session_hosts import PageHost, gateway_of, started


class SessionHost(PageHost):
    """A host that mints session IDs and knows only its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.sessions: Counter[str] = Counter()
        self.seen: list[str] = []

    async def respond(self, target: str, head: bytes, body: bytes) -> bytes:
        given = _header(head, b"mcp-session-id")
        if target.startswith("/open"):
            given = f"{self.name}-{len(self.sessions)}"
            self.sessions[given] = 0
        if given not in self.sessions:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        self.sessions[given] += 1
        more = b""
        if head.startswith(b"DELETE"):
            del self.sessions[given]
        if target.startswith("/forget"):
            more = b"X-Hashring-Forget: 1\r\n"
        content = json.dumps({"id": given, "host": self.name}).encode()
        return b"HTTP/1.1 200 OK\r\nMcp-Session-Id: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
            given.encode(),
            more,
            len(content),
            content,
        )


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


def hosts(number: int = 4) -> list[SessionHost]:
    return [SessionHost(f"web{each}") for each in range(number)]


BASE = {"tokens.enabled": False, "fallback.strategy": "round-robin"}
TABLE = {**BASE, "sessions.learn": ["mcp"]}
ENVELOPE = {**BASE, "sessions.learn": [{"preset": "mcp", "mode": "envelope"}]}


@contextlib.asynccontextmanager
async def gateways(
    pool: Sequence[PageHost], options: Mapping[str, Any], number: int
) -> AsyncIterator[list[str]]:
    async with contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(gateway_of(list(pool), options)) for _ in range(number)
        ]
        yield [front for front, _ in made]


async def open_sessions(front: str, number: int) -> list[str]:
    found = []
    for _ in range(number):
        response = await ask(front, get("/open"))
        session = response.header(b"mcp-session-id")
        assert session is not None
        found.append(session.decode())
    return found


async def count_known(front: str, sessions: Sequence[str], target: str = "/call") -> int:
    known = 0
    for session in sessions:
        response = await ask(front, get(target, f"Mcp-Session-Id: {session}"))
        known += response.status == 200
    return known


@pytest.mark.parametrize("options", [TABLE, ENVELOPE], ids=["table", "envelope"])
def test_each_call_of_a_named_session_finds_its_host(options: Mapping[str, Any]) -> None:
    async def main() -> None:
        async with started(list(hosts())) as pool, gateways(pool, options, 1) as (front,):
            sessions = await open_sessions(front, 200)
            assert [await count_known(front, sessions) for _ in range(5)] == [200] * 5

    asyncio.run(main())


def test_an_envelope_holds_over_a_restart_and_two_gateways() -> None:
    async def main() -> None:
        pool = hosts()
        async with started(list(pool)):
            async with gateways(pool, ENVELOPE, 2) as (one, two):
                sessions = await open_sessions(one, 60)
                assert await count_known(two, sessions) == 60
            async with gateways(pool, ENVELOPE, 1) as (again,):
                assert await count_known(again, sessions) == 60
            named = {session for host in pool for session in host.sessions}
            assert len(named) == 60, "no host has seen a wrapped ID"
            assert not named & set(sessions), "each client has one"

    asyncio.run(main())


def test_a_changed_envelope_chooses_no_host() -> None:
    async def main() -> None:
        pool = hosts()
        async with started(list(pool)), gateways(pool, ENVELOPE, 1) as (front,):
            (session,) = await open_sessions(front, 1)
            inner, _, seal = session.rpartition(".")
            other = seal[:-1] + ("A" if seal[-1] != "A" else "B")
            assert await count_known(front, [f"{inner}.{other}"]) == 0

    asyncio.run(main())


@pytest.mark.parametrize("end", ["forget", "delete"])
def test_a_session_ends_by_its_host_or_its_client(end: str) -> None:
    async def main() -> None:
        pool = hosts()
        async with started(list(pool)), gateway_of(list(pool), TABLE) as (front, gateway):
            (session,) = await open_sessions(front, 1)
            assert gateway.pins is not None
            assert gateway.pins.get(session) is not None
            method, target = ("DELETE", "/call") if end == "delete" else ("GET", "/forget")
            response = await ask(front, get(target, f"Mcp-Session-Id: {session}", method=method))
            assert (response.status, response.header(b"x-hashring-forget")) == (200, None)
            assert gateway.pins.get(session) is None

    asyncio.run(main())


def test_an_operator_ends_a_session_on_the_admin_listener() -> None:
    async def main() -> None:
        pool = hosts()
        async with started(list(pool)), gateway_of(list(pool), TABLE) as (front, gateway):
            (session,) = await open_sessions(front, 1)
            admin = Admin(gateway)
            local = [(b"host", b"127.0.0.1")]
            scope: dict[str, Any] = {"type": "http", "path": f"/v1/sessions/{session}"}
            scope |= {"method": "DELETE", "headers": local}
            sent: list[dict[str, Any]] = []

            async def send(message: Any) -> None:
                sent.append(message)

            receive: Any = asyncio.Event().wait
            await admin(scope, receive, send)
            assert sent[0]["status"] == 200
            assert gateway.pins is not None
            assert gateway.pins.get(session) is None
            foreign = [*local, (b"origin", b"https://else.where")]
            await admin({**scope, "headers": foreign}, receive, send)
            assert sent[2]["status"] == 403

    asyncio.run(main())


def test_the_table_survives_a_restart_in_its_file(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "sessions"
        options = {**TABLE, "sessions.file": str(file)}
        pool = hosts()
        async with started(list(pool)):
            async with gateways(pool, options, 1) as (front,):
                sessions = await open_sessions(front, 40)
            async with gateways(pool, options, 1) as (front,):
                assert await count_known(front, sessions) == 40
            file.write_text(file.read_text()[:-20])
            async with gateway_of(list(pool), options) as (front, gateway):
                assert gateway.pins is not None
                assert len(gateway.pins) == 0, "a damaged file is ignored"

    asyncio.run(main())


class PollingHost(PageHost):
    """Engine.IO polling, an API of responses and a page with a cookie, all in one."""

    async def respond(self, target: str, head: bytes, body: bytes) -> bytes:
        name, extra = self.name.encode(), b""
        if target.startswith("/socket.io") and "sid=" not in target:
            content = b'0{"sid":"sid-of-%s","upgrades":[]}' % name
        elif target == "/v1/responses":
            content = json.dumps(
                {"id": f"resp-{self.name}-{len(body)}", "host": self.name}
            ).encode()
        elif target == "/stream":
            content = (
                b'data: {"type":"created","response":{"id":"stream-%s"}}\n\ndata: {}\n\n' % name
            )
            extra = b"Content-Type: text/event-stream\r\n"
        elif target == "/login":
            content, extra = name, b"Set-Cookie: JSESSIONID=j-%s; Path=/\r\n" % name
        else:
            content = name
        head = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (extra, len(content))
        return head + content


def post(target: str, value: Mapping[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    return get(target, f"Content-Length: {len(body)}", method="POST") + body


def test_ids_in_bodies_streams_and_cookies_are_learned() -> None:
    async def main() -> None:
        options = {**BASE, "sessions.learn": ["socketio", "openai-responses", "jsessionid"]}
        pool = [PollingHost(f"web{each}") for each in range(4)]
        async with started(list(pool)), gateways(pool, options, 1) as (front,):
            for name in [(await ask(front, get("/socket.io/?t=1"))).body for _ in range(4)]:
                sid = json.loads(name[1:])["sid"]
                found = await ask(front, get(f"/socket.io/?sid={sid}"))
                assert sid == f"sid-of-{found.body.decode()}"
            for _ in range(4):
                first = json.loads((await ask(front, post("/v1/responses", {}))).body)
                again = await ask(front, post("/x", {"previous_response_id": first["id"]}))
                assert again.body.decode() == first["host"]
            home = (await ask(front, get("/stream"))).body.split(b"stream-")[1][:4]
            named = {"previous_response_id": f"stream-{home.decode()}"}
            assert (await ask(front, post("/x", named))).body == home
            for _ in range(4):
                home = (await ask(front, get("/login"))).body
                page = await ask(front, get("/", f"Cookie: JSESSIONID=j-{home.decode()}"))
                assert page.body == home

    asyncio.run(main())


def test_two_gateways_share_learned_sessions_by_redis(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        options = {**TABLE, "sessions.store": url}
        pool = hosts()
        async with started(list(pool)), gateways(pool, options, 2) as (one, two):
            sessions = await open_sessions(one, 40)
            assert await count_known(two, sessions) == 40

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server.url))


def test_identified_clients_stay_when_a_host_joins() -> None:
    async def main() -> None:
        options = {**BASE, "sessions.store": "memory", "identity.sources": ["header:x-user"]}
        pool = [PageHost(f"web{each}") for each in range(5)]
        async with started(pool), gateway_of(pool[:4], options) as (front, gateway):
            users = [f"X-User: {number}" for number in range(60)]
            before = [(await ask(front, get("/", user))).body for user in users]
            gateway.lb.register(Host("web4", address=pool[4].address))
            assert [(await ask(front, get("/", user))).body for user in users] == before
            new = {(await ask(front, get("/", f"X-User: n{n}"))).body for n in range(60)}
            assert b"web4" in new
            assert (await ask(front, get("/"))).status == 200
            assert gateway.pins is not None
            assert len(gateway.pins) == 120, "no entry for a client without an ID"

    asyncio.run(main())


def test_a_reload_keeps_the_table() -> None:
    async def main() -> None:
        pool = hosts()
        async with started(list(pool)), gateway_of(list(pool), TABLE) as (front, gateway):
            sessions = await open_sessions(front, 20)
            assert gateway.settings is not None
            new = replace(gateway.settings, timeouts=Timeouts(connect=3))
            await gateway._take(new)
            assert gateway.timeouts.connect == 3
            assert await count_known(front, sessions) == 20

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"sessions.learn": ["mpc"]}, "there is no preset 'mpc'"),
        ({"sessions.learn": [{"preset": "socketio", "mode": "envelope"}]}, "an envelope has only"),
        ({"sessions.learn": [{"from": "header:x", "find": ["header:x"]}]}, "is not a place of"),
        ({"sessions.store": "memory", "gateway.workers": 2}, "must be redis://"),
        ({"sessions.store": "sqlite"}, "memory or the URL of a Redis"),
        (
            {"sessions.file": "x", "sessions.store": "redis://a"},
            "is for sessions in memory",
        ),
    ],
)
def test_a_rule_that_cannot_work_is_refused(options: Mapping[str, Any], what: str) -> None:
    given = {"pool.hosts": ["a:1"], **options}
    with pytest.raises(ProblemsError, match=what):
        read(options=given, names=dict.fromkeys(given, "of a test"), environ={})


@pytest.mark.parametrize("source", ["llm", "json:chat.id"])
def test_a_conversation_of_megabytes_stays_on_one_host(source: str) -> None:
    async def main() -> None:
        options = {**BASE, "identity.sources": [source], "timeouts.first_byte": 10.0}
        pool = [PageHost(f"web{each}") for each in range(4)]
        async with started(pool), gateway_of(pool, options) as (front, _):
            used = Counter[bytes]()
            messages = [{"role": "user", "content": "hello"}]
            for _ in range(20):
                call = {"messages": messages, "chat": {"id": "c1"}}
                used[(await ask(front, post("/v1/chat/completions", call))).body] += 1
                messages += [{"role": "assistant", "content": "x" * 100_000}]
                messages += [{"role": "user", "content": "and then?"}]
            assert len(json.dumps(messages)) > 2_000_000
            assert list(used.values()) == [20]

    asyncio.run(main())
