"""The gateway as an ASGI application: the same request, driven by another server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.gateway import AccessLog, Gateway, Limits, Timeouts
from tests.gateway.hosts import OK, answering, head_of, length_of, scripted
from tests.gateway.running import LIMIT, ask, gateway_to, get, hang_up, opened, response
from tests.gateway.test_websocket import talker


@contextlib.asynccontextmanager
async def mounted(app: Gateway) -> AsyncIterator[str]:
    """The address of a plain uvicorn, which knows nothing of us."""
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no signal for its start
        await asyncio.sleep(0.01)
    try:
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def test_bodies_and_headers_pass_and_a_client_gets_its_token() -> None:
    heads: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            heads.append(head)
            body = await reader.readexactly(length_of(head))
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-Odd: \xff\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            writer.write(body)

    async def main() -> None:
        lines: list[str] = []
        async with scripted(echo) as host:
            lb = LoadBalancer([host])
            tokens = TokenAffinity(lb, Tokens(b"sixteen or more random bytes"))
            app = Gateway(lb, tokens=tokens, access_log=AccessLog("text", lines.append))
            async with mounted(app) as front:
                body = b"x" * 200_000
                request = get("/a%2Fb?c", f"Content-Length: {len(body)}", method="POST") + body
                found = await ask(front, request)
                assert (found.status, found.body) == (200, body)
                assert found.header(b"x-odd") == b"\xff"
                assert (found.header(b"set-cookie") or b"").startswith(b"hashring=")
                assert (await ask(front, get("/"))).body == b""
                assert (await ask(front, get("/", method="HEAD"), head=True)).status == 200
        assert heads[0].startswith(b"POST /a%2Fb?c HTTP/1.1\r\n")
        assert [line.split(" out=")[1].split()[0] for line in lines] == ["200000", "0", "0"]

    asyncio.run(main())


def test_a_stream_comes_as_sent_and_a_hang_up_reaches_the_host() -> None:
    async def main() -> None:
        over, go = asyncio.Event(), asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                writer.write(b"3\r\none\r\n")
                await go.wait()
                go.clear()
            await reader.read()
            over.set()

        async with scripted(script) as host:
            gateway = gateway_to(host)
            async with mounted(gateway) as front, asyncio.timeout(LIMIT):
                reader, writer = await opened(front)
                writer.write(get("/"))
                await reader.readuntil(b"\r\n\r\n")
                for _ in range(3):
                    assert await reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
                    go.set()
                await hang_up(writer)
                await over.wait()
                while gateway.in_flight:  # noqa: ASYNC110  # a counter has no signal
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_host_that_breaks_off_is_seen_to_break_off() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"

    async def main() -> None:
        async with (
            scripted(answering(said, close=True)) as host,
            mounted(gateway_to(host)) as front,
        ):
            found = await ask(front, get("/"))
            assert (found.status, found.whole) == (200, False)

    asyncio.run(main())


def test_a_client_that_does_not_read_holds_up_the_host() -> None:
    sent = 0

    async def main() -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536

        async with scripted(flood) as host:
            gateway = gateway_to(host, timeouts=Timeouts(idle=0.4))
            async with mounted(gateway) as front, asyncio.timeout(LIMIT):
                _, writer = await opened(front)
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a TCP transport
                writer.write(get("/"))
                while not gateway.in_flight:  # noqa: ASYNC110  # a counter has no signal
                    await asyncio.sleep(0.01)
                while gateway.in_flight:  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.01)
                await hang_up(writer)

    asyncio.run(main())
    assert sent < 64 << 20


def test_messages_and_close_codes_go_both_ways() -> None:
    async def main() -> None:
        async with talker("b") as host:
            app = gateway_to(host.address)
            async with mounted(app) as front, asyncio.timeout(LIMIT):
                async with connect(f"ws://{front}/x", subprotocols=["a", "b"]) as ws:  # type: ignore[list-item]  # a str is one
                    assert ws.subprotocol == "b"
                    for said in ("hello", "ä€", b"\x00\xff", "", b"", "x" * 1_000_000):
                        await ws.send(said)
                        assert await ws.recv() == said
                    await ws.close(4001, "as I like")
                    assert await host.closes.get() == (4001, "as I like")
                for asked, told in (("close 4002", 4002), ("die", 1014)):
                    async with connect(f"ws://{front}/", subprotocols=["b"]) as ws:  # type: ignore[list-item]  # a str is one
                        await ws.send(asked)
                        with pytest.raises(ConnectionClosed):
                            await ws.recv()
                        assert ws.close_code == told
                assert app.stats["websockets"] == 3
                assert not app.in_flight

    asyncio.run(main())


def test_a_message_over_the_limit_ends_the_websocket() -> None:
    async def main() -> None:
        async with talker() as host:
            app = gateway_to(host.address, limits=Limits(message=1000))
            async with (
                mounted(app) as front,
                asyncio.timeout(LIMIT),
                connect(f"ws://{front}/") as ws,
            ):
                await ws.send("x" * 1001)  # which the host sends back
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 1009

    asyncio.run(main())


def test_a_websocket_has_code_1001_at_the_deadline_of_a_drain() -> None:
    async def main() -> None:
        async with talker() as host, asyncio.timeout(LIMIT):
            gateway = gateway_to(host.address)
            async with mounted(gateway) as front, connect(f"ws://{front}/") as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                gateway.lb.keeps_sessions(True)
                gateway.lb.drain(host.address, deadline=0.0)
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 1001
                assert (await host.closes.get())[0] == 1001

    asyncio.run(main())


def test_a_refused_handshake_is_passed_on() -> None:
    said = OK.replace(b"200 OK", b"418 No")

    async def main() -> None:
        async with scripted(answering(said)) as host, mounted(gateway_to(host)) as front:
            with pytest.raises(InvalidStatus) as told:
                async with connect(f"ws://{front}/"):
                    pass
            assert (told.value.response.status_code, told.value.response.body) == (418, b"ok")

    asyncio.run(main())


def test_a_response_of_a_stopping_gateway_ends_its_connection() -> None:
    async def main() -> None:
        async with scripted(answering(OK)) as host:
            gateway = gateway_to(host)
            async with mounted(gateway) as front:
                reader, writer = await opened(front)
                writer.write(get("/"))
                assert (await response(reader)).header(b"connection") is None
                gateway.stop()
                writer.write(get("/"))
                assert (await response(reader)).header(b"connection") == b"close"
                assert await reader.read() == b""
                await hang_up(writer)

    asyncio.run(main())
