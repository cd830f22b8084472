"""A gateway that places new clients where the least work is outstanding."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hashring.config import ProblemsError, read
from hashring.errors import ConfigError
from hashring.gateway import Gateway
from hashring.gateway.api import Api
from hashring.gateway.request_cost import RequestCost
from tests.affinity.redis_server import RedisServer
from tests.gateway.hosts import head_of, length_of, scripted
from tests.gateway.running import LIMIT, Response, ask, get, opened, response, served
from tests.waiting import wait_in_loop


class SlowHost:
    """Sends the head of a response, then half of its body, and the rest: each when it may."""

    def __init__(self) -> None:
        self.begin, self.end = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            await reader.readexactly(length_of(head))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            await self.begin.wait()
            writer.write(b"ab")
            await self.end.wait()
            writer.write(b"cd")


@contextlib.asynccontextmanager
async def running(
    hosts: list[str], more: str, path: Path, pool: str = ""
) -> AsyncIterator[tuple[Gateway, str]]:
    file = path / "h.toml"
    file.write_text(f'[health]\nprobe = "none"\n{more}[pool]\nhosts = {hosts}\n{pool}')
    settings = read(str(file), environ={"HASHRING_SECRET": "sixteen or more random bytes"})
    gateway = Gateway.from_settings(settings)
    async with served(gateway) as address:
        yield gateway, address


BY_LOAD = (
    '[tokens]\nsecret_env = "HASHRING_SECRET"\n[placement]\nnew_clients = "least-outstanding"\n'
)


def cookie_of(found: Response) -> str:
    cookie = found.header(b"set-cookie")
    assert cookie is not None
    return cookie.decode().partition(";")[0]


def test_new_clients_rotate_and_stay(tmp_path: Path) -> None:
    async def main() -> None:
        slow = SlowHost()
        slow.begin.set()
        slow.end.set()
        async with (
            scripted(slow) as one,
            scripted(slow) as two,
            running([one, two], BY_LOAD, tmp_path) as (gateway, address),
        ):
            clients = [cookie_of(await ask(address, get("/"))) for _ in range(10)]
            served_by = {host.name: gateway.lb.load(host).ok for host in gateway.lb.hosts}
            assert served_by == {one: 5, two: 5}
            for cookie in clients:
                found = await ask(address, get("/", f"Cookie: {cookie}"))
                assert found.header(b"set-cookie") is None, "it stays on its host"
            assert gateway.counts.reasons == Counter(least=10, pinned=10)

    asyncio.run(main())


def test_work_is_outstanding_until_the_first_body_byte(tmp_path: Path) -> None:
    async def main() -> None:
        slow = SlowHost()
        more = BY_LOAD + '[placement.cost]\nfrom = "json:tokens"\n'
        async with scripted(slow) as host, running([host], more, tmp_path) as (gateway, address):
            body = b'{"tokens": 500}'
            reader, writer = await opened(address)
            head = get("/", f"Content-Length: {len(body)}", method="POST")
            writer.write(head + body)
            async with asyncio.timeout(LIMIT):
                await reader.readuntil(b"\r\n\r\n")  # the head alone begins no response
                assert gateway.lb.load(host).pending == 1
                assert gateway.lb.load(host).outstanding == 1.0
                slow.begin.set()
                assert await reader.readexactly(2) == b"ab"
                load = gateway.lb.load(host)
                assert (load.in_flight, load.pending, load.outstanding) == (1, 0, 0.0)
                slow.end.set()
                await reader.readexactly(2)
            writer.close()

    asyncio.run(main())


def test_gateways_that_exchange_loads_see_each_others(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="the redis package is not installed")

    async def main(redis: str) -> None:
        busy, free = SlowHost(), SlowHost()
        free.begin.set()
        free.end.set()
        sync = f'sync = "{redis}"\nsync_interval = 0.05\n'
        async with contextlib.AsyncExitStack() as stack:
            one, two = [await stack.enter_async_context(scripted(each)) for each in (busy, free)]
            hosts = [one, two]
            first, near = await stack.enter_async_context(running(hosts, BY_LOAD + sync, tmp_path))
            second, far = await stack.enter_async_context(running(hosts, BY_LOAD + sync, tmp_path))
            waiting = []
            while not first.lb.load(one).pending:
                waiting.append(await opened(near))
                waiting[-1][1].write(get("/"))
                await asyncio.sleep(0.05)
            await wait_in_loop(lambda: second.lb._tracker.loads[one].remote)
            for _ in range(6):
                await ask(far, get("/"))
            assert second.lb.load(two).ok == 6
            busy.begin.set()
            busy.end.set()
            for reader, writer in waiting:
                assert (await response(reader)).status == 200
                writer.close()

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server.url))


def test_gateways_with_own_pins_exchange_no_loads(tmp_path: Path) -> None:
    file = tmp_path / "h.toml"
    file.write_text(
        '[tokens]\nenabled = false\n[placement]\nnew_clients = "least-outstanding"\n'
        'sync = "redis://127.0.0.1:1/0"\n[pool]\nhosts = ["127.0.0.1:1"]\n'
    )
    with pytest.raises(ConfigError, match="must share their pins"):
        Gateway.from_settings(read(str(file), environ={}))


def test_a_busy_host_gets_no_new_client(tmp_path: Path) -> None:
    async def main() -> None:
        busy, free = SlowHost(), SlowHost()
        free.begin.set()
        free.end.set()
        async with (
            scripted(busy) as one,
            scripted(free) as two,
            running([one, two], BY_LOAD, tmp_path) as (gateway, address),
        ):
            waiting: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
            while not waiting or gateway.lb.load(one).pending < 1:
                connection = await opened(address)
                connection[1].write(get("/"))
                waiting.append(connection)
                await asyncio.sleep(0.05)
            before = gateway.lb.load(two).ok
            for _ in range(6):
                await ask(address, get("/"))
            assert gateway.lb.load(two).ok >= before + 6
            assert gateway.lb.load(one).in_flight == 1
            busy.begin.set()
            busy.end.set()
            for reader, writer in waiting:
                assert (await response(reader)).status == 200
                writer.close()

    asyncio.run(main())


def test_without_tokens_a_table_remembers_clients_over_a_reload(tmp_path: Path) -> None:
    more = (
        '[tokens]\nenabled = false\n[identity]\nsources = ["header:x-user"]\n'
        '[placement]\nnew_clients = "least-outstanding"\n'
    )

    async def main() -> None:
        slow = SlowHost()
        slow.begin.set()
        slow.end.set()
        async with (
            scripted(slow) as one,
            scripted(slow) as two,
            running([one, two], more, tmp_path) as (gateway, address),
        ):
            for number in range(6):
                await ask(address, get("/", f"X-User: u{number}"))
            homes = {f"u{n}": gateway.lb.explain(f"u{n}").host for n in range(6)}
            file = tmp_path / "h.toml"
            file.write_text(file.read_text() + "[limits]\nretries = 1\n")
            gateway._read = lambda: read(str(file), environ={})
            before = gateway._generation
            gateway.reload()
            async with asyncio.timeout(LIMIT):
                while gateway._generation is before:  # noqa: ASYNC110  # it has no event
                    await asyncio.sleep(0.01)
            for number in range(6):
                assert gateway.lb.explain(f"u{number}").host == homes[f"u{number}"]
                assert gateway.lb.explain(f"u{number}").reason == "pinned"

    asyncio.run(main())


def test_excess_requests_wait_for_room_or_are_refused(tmp_path: Path) -> None:
    async def main(more: str, status: int) -> None:
        slow = SlowHost()
        slow.begin.set()
        limit = "max_in_flight = 1\n"
        async with (
            scripted(slow) as host,
            running([host], more, tmp_path, limit) as (gateway, address),
        ):
            first = await opened(address)
            first[1].write(get("/"))
            async with asyncio.timeout(LIMIT):
                await first[0].readuntil(b"ab")  # the host works on it
                assert gateway.lb.load(host).in_flight == 1
                second = asyncio.create_task(ask(address, get("/")))
                if status == 200:
                    await asyncio.sleep(0.05)
                    assert not second.done(), "it waits for room"
                    slow.end.set()
                found = await second
                assert found.status == status
                if status == 503:
                    assert b'"busy"' in found.body
                    assert found.header(b"retry-after") == b"1"
            first[1].close()

    for wait, status in ((0, 503), (20, 200)):
        asyncio.run(main(f"{BY_LOAD}[timeouts]\nqueue = {wait}\n", status))


def test_the_decision_header_has_host_reason_and_source(tmp_path: Path) -> None:
    more = BY_LOAD + '[gateway]\ndecision_header = "X-Hashring"\n'

    async def main() -> None:
        slow = SlowHost()
        slow.begin.set()
        slow.end.set()
        async with scripted(slow) as host, running([host], more, tmp_path) as (_, address):
            first = await ask(address, get("/"))
            assert first.header(b"x-hashring") == f'host="{host}", reason=least, from=none'.encode()
            again = await ask(address, get("/", f"Cookie: {cookie_of(first)}"))
            expected = f'host="{host}", reason=pinned, from=token'.encode()
            assert again.header(b"x-hashring") == expected

    asyncio.run(main())


def test_sessions_of_a_table_are_counted_and_assigned(tmp_path: Path) -> None:
    more = (
        '[tokens]\nenabled = false\n[identity]\nsources = ["header:x-user"]\n'
        '[placement]\nnew_clients = "least-outstanding"\n'
    )

    async def main() -> None:
        slow = SlowHost()
        slow.begin.set()
        slow.end.set()
        async with (
            scripted(slow) as one,
            scripted(slow) as two,
            running([one, two], more, tmp_path) as (gateway, address),
        ):
            for number in range(6):
                await ask(address, get("/", f"X-User: u{number}"))
            api = Api(gateway)
            listed = (await api.get("hosts", b""))["hosts"]
            assert [host["sessions"] for host in listed] == [3, 3]
            await api.post(
                "sessions/assign", b"", f'{{"client_id": "u0", "host": "{one}"}}'.encode()
            )
            await api.post(
                "sessions/assign", b"", f'{{"client_id": "new", "host": "{one}"}}'.encode()
            )
            assert (await api.get("where", b"id=new"))["host"] == one
            found = await api.post("sessions/forget", b"", b'{"client_id": "new"}')
            assert found["changed"] is True
            assert (await api.get("where", b"id=new"))["reason"] == "least"
            assert gateway.pins is not None
            assert gateway.pins.count(one) >= 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[placement]\nnew_clients = "least-outstandin"', "did you mean 'least-outstanding'?"),
        ("[placement]\npatience = 5", "placement.patience: needs fallback=LeastOutstanding()"),
        (
            '[placement.cost]\nfrom = "header"',
            "placement.cost.from: must be requests, bytes, header",
        ),
        ('[placement]\ngroup = "prefix:0"', "placement.group: must be header:NAME, json:FIELD or"),
        ('[placement.cost]\nform = "bytes"', "there is no such key: did you mean 'from'?"),
    ],
)
def test_a_wrong_option_is_a_problem(tmp_path: Path, more: str, words: str) -> None:
    file = tmp_path / "h.toml"
    file.write_text(f'[pool]\nhosts = ["127.0.0.1:1"]\n{more}\n')
    with pytest.raises(ProblemsError) as caught:
        read(str(file), environ={})
    assert words in str(caught.value)


class Head:
    """The length of a request."""

    chunked = False
    length: int | None = 12


@pytest.mark.parametrize(
    ("source", "body", "trusted", "cost"),
    [
        ("requests", b"", True, None),
        ("bytes", b"", False, 12.0),
        ("header:x-cost", b"", True, 7.5),
        ("header:x-cost", b"", False, None),
        ("json:a.b", b'{"a": {"b": 3}}', False, 3.0),
        ("json:a.b", b'{"a": {"b": true}}', False, None),
        ("json:a.b", b'{"a": 3}', False, None),
        ("json:a.b", b"[" * 5000, False, None),
        ("json:a", b'{"a": "1e999"}', False, None),
    ],
)
def test_the_cost_of_a_request(source: str, body: bytes, trusted: bool, cost: Any) -> None:
    scope = {"type": "http", "headers": [(b"x-cost", b"7.5")], "path": "/", "query_string": b""}
    head: Any = Head()
    assert RequestCost(source).cost(scope, head, body, trusted) == cost


def test_the_group_of_a_session() -> None:
    scope = {"type": "http", "headers": [(b"x-set", b"s1")], "path": "/", "query_string": b""}
    assert RequestCost(group="header:x-set").group(scope, b"") == "s1"
    assert RequestCost(group="json:set").group(scope, b'{"set": "s2"}') == "s2"
    prefix = RequestCost(group="prefix:4")
    assert (
        prefix.group(scope, b"abcdX") == prefix.group(scope, b"abcdY") != prefix.group(scope, b"x")
    )
    assert prefix.group(scope, b"") is None
    assert prefix.body_limit == 4
