"""Do WebSockets keep what they say, and the code that they close with?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.gateway import AccessLog, Gateway, tunnel_watch
from hashring.gateway.handshake import accept_value
from tests.gateway.hosts import answering, head_of, refused_address, scripted
from tests.gateway.running import (
    LIMIT,
    ask,
    gateway_to,
    get,
    hang_up,
    opened,
    response,
    served,
)


class Talker:
    """A host that echoes, and closes with the code that it is asked for."""

    def __init__(self) -> None:
        self.address = ""
        self.closes: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.paths: list[str] = []
        self.cookies: list[str | None] = []

    async def talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        self.cookies.append(socket.request.headers.get("cookie"))
        try:
            async for said in socket:
                if isinstance(said, str) and said.startswith("close "):
                    await socket.close(int(said.split()[1]), "as asked")
                    return
                if said == "die":
                    socket.transport.abort()
                    return
                await socket.send(said)
        except ConnectionClosed:
            pass
        code = socket.close_code or 0
        self.closes.put_nowait((code, socket.close_reason or ""))


@contextlib.asynccontextmanager
async def talker(*subprotocols: str) -> AsyncIterator[Talker]:
    found = Talker()
    async with serve(found.talk, "127.0.0.1", 0, subprotocols=list(subprotocols) or None) as server:  # type: ignore[arg-type]  # a str is one
        (sock,) = server.sockets
        found.address = f"127.0.0.1:{sock.getsockname()[1]}"
        yield found


@contextlib.asynccontextmanager
async def through(
    gateway: Gateway, path: str = "/", **options: object
) -> AsyncIterator[ClientConnection]:
    async with (
        served(gateway) as front,
        asyncio.timeout(LIMIT),
        connect(f"ws://{front}{path}", **options) as socket,  # type: ignore[arg-type]  # a test's own
    ):
        yield socket


def test_messages_go_both_ways_as_they_are() -> None:
    async def main() -> None:
        async with talker("b") as host:
            async with through(
                gateway_to(host.address), "/a/../b?c=%20", subprotocols=["a", "b"]
            ) as ws:
                assert ws.subprotocol == "b"
                for said in ("hello", "ä€", b"\x00\xff", "", b"", "x" * 1_000_000):
                    await ws.send(said)
                    assert await ws.recv() == said
            assert host.paths == ["/a/../b?c=%20"]

    asyncio.run(main())


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 1013, 3000, 4999])
def test_a_close_code_goes_through_in_both_directions(code: int) -> None:
    async def main() -> None:
        async with talker() as host:
            async with through(gateway_to(host.address)) as ws:
                await ws.send(f"close {code}")
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert (ws.close_code, ws.close_reason) == (code, "as asked")
            async with through(gateway_to(host.address)) as ws:
                await ws.send("hello")
                await ws.recv()
                await ws.close(code, "as I like")
                assert await host.closes.get() == (code, "as I like")

    asyncio.run(main())


def test_a_host_that_dies_is_seen_to_die() -> None:
    async def main() -> None:
        async with talker() as host, through(gateway_to(host.address)) as ws:
            await ws.send("die")
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1006

    asyncio.run(main())


def test_a_refused_handshake_is_reported_as_it_was() -> None:
    async def no(socket: ServerConnection, request: object) -> object:
        return socket.respond(418, "no")

    async def main() -> None:
        async with serve(Talker().talk, "127.0.0.1", 0, process_request=no) as server:  # type: ignore[arg-type]  # as its examples
            (sock,) = server.sockets
            with pytest.raises(InvalidStatus) as told:
                async with through(gateway_to(f"127.0.0.1:{sock.getsockname()[1]}")):
                    pass
            assert told.value.response.status_code == 418

    asyncio.run(main())


def test_a_dead_host_is_passed_over_and_no_host_is_a_status() -> None:
    async def main() -> None:
        async with talker() as host:
            dead = [refused_address() for _ in range(2)]
            gateway = gateway_to(*dead, host.address)
            async with served(gateway) as front, asyncio.timeout(LIMIT):
                for _ in range(3):
                    async with connect(f"ws://{front}/") as ws:
                        await ws.send("hello")
                        assert await ws.recv() == "hello"
            with pytest.raises(InvalidStatus) as told:
                async with through(gateway_to(*dead)):
                    pass
            assert told.value.response.status_code == 502

    asyncio.run(main())


def test_a_websocket_gets_a_token_and_stays_through_a_resize() -> None:
    async def main() -> None:
        async with talker() as host, talker() as other:
            lb = LoadBalancer([host.address])
            tokens = TokenAffinity(lb, Tokens(b"sixteen or more random bytes"))
            async with served(Gateway(lb, tokens=tokens)) as front, asyncio.timeout(LIMIT):
                async with connect(f"ws://{front}/") as ws:
                    assert ws.response is not None
                    token = ws.response.headers["set-cookie"].split(";")[0]
                    assert lb.load(host.address).in_flight == 1
                    lb.register(other.address)
                    await ws.send("still here")
                    assert await ws.recv() == "still here"
                headers = {"cookie": f"a=1; {token}"}
                for _ in range(3):
                    async with connect(f"ws://{front}/", additional_headers=headers) as ws:
                        await ws.send("hello")
                        assert await ws.recv() == "hello"
            assert len(host.paths) == 4
            assert host.cookies[1:] == ["a=1"] * 3
            assert lb.load(host.address).in_flight == 0

    asyncio.run(main())


HANDSHAKE = get(
    "/",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_the_clients_to_follow(status: int) -> None:
    async def main() -> None:
        asked = []

        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await head_of(reader))

        async with scripted(other) as elsewhere:
            where = f"http://{elsewhere}/inside"
            said = f"HTTP/1.1 {status} Go\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
            async with (
                scripted(answering(said.encode())) as host,
                served(gateway_to(host)) as front,
            ):
                found = await ask(front, HANDSHAKE)
        assert (found.status, found.header(b"location")) == (status, where.encode())
        assert not asked

    asyncio.run(main())


@pytest.mark.parametrize("status", ["099", "600", "999"])
def test_a_handshake_refused_by_no_status_is_a_bad_gateway(status: str) -> None:
    async def main() -> None:
        said = f"HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n".encode()
        async with scripted(answering(said)) as host, served(gateway_to(host)) as front:
            assert (await ask(front, HANDSHAKE)).status == 502

    asyncio.run(main())


def test_bytes_of_a_tunnel_pass_as_they_are() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        key = head.partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_value(key) + b"\r\n\r\n\xff early"
        )
        writer.write(await reader.readexactly(5))
        await writer.drain()

    async def main() -> None:
        async with scripted(script) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(HANDSHAKE)
            async with asyncio.timeout(LIMIT):
                assert (await response(reader)).status == 101
                writer.write(b"\x00\xff\x88no")
                assert await reader.read(100) == b"\xff early"
                assert await reader.readexactly(5) == b"\x00\xff\x88no"
                assert await reader.read() == b""
            await hang_up(writer)

    asyncio.run(main())


@pytest.mark.parametrize(
    "switch",
    [
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n",
        b"Upgrade: foo\r\nConnection: Upgrade\r\n",
        b"",
    ],
)
def test_a_switch_that_does_not_fit_is_a_bad_gateway(switch: bytes) -> None:
    async def main() -> None:
        said = b"HTTP/1.1 101 Switching Protocols\r\n" + switch + b"\r\n"
        async with scripted(answering(said)) as host, served(gateway_to(host)) as front:
            assert (await ask(front, HANDSHAKE)).status == 502

    asyncio.run(main())


def test_bytes_before_the_switch_are_refused() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()

    async def main() -> None:
        async with scripted(slow) as host, served(gateway_to(host)) as front:
            for pause in (0.0, 0.05):
                reader, writer = await opened(front)
                writer.write(HANDSHAKE)
                await asyncio.sleep(pause)
                writer.write(get("/smuggled"))
                async with asyncio.timeout(LIMIT):
                    assert (await response(reader)).status == 400
                await hang_up(writer)

    asyncio.run(main())


def test_another_protocol_is_a_tunnel_too() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        assert b"\r\nupgrade: own/1\r\n" in head
        writer.write(b"HTTP/1.1 101 OK\r\nUpgrade: own/1\r\nConnection: Upgrade\r\n\r\n")
        while line := await reader.readline():
            writer.write(line.upper())

    async def main() -> None:
        async with scripted(script) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(get("/", "Connection: Upgrade", "Upgrade: own/1"))
            async with asyncio.timeout(LIMIT):
                assert (await response(reader)).status == 101
                for word in (b"one\n", b"two\n"):
                    writer.write(word)
                    assert await reader.readline() == word.upper()
            await hang_up(writer)

    asyncio.run(main())


def test_a_side_that_does_not_read_holds_up_the_other() -> None:
    sent = 0
    block = bytes(64 * 1024)

    async def main() -> None:
        async with scripted(mute) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(HANDSHAKE)
            async with asyncio.timeout(LIMIT):
                assert (await response(reader)).status == 101
            nonlocal sent
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while sent < 256 << 20:
                        writer.write(block)
                        await writer.drain()
                        sent += len(block)
            await hang_up(writer)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        key = head.partition(b"sec-websocket-key: ")[2].partition(b"\r\n")[0]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_value(key) + b"\r\n\r\n"
        )
        await asyncio.sleep(30)

    asyncio.run(main())
    assert sent < 64 << 20  # the buffers of the system and of four connections


def test_the_log_states_who_closed() -> None:
    async def main() -> None:
        lines: list[str] = []
        async with talker() as host:
            gateway = gateway_to(host.address, access_log=AccessLog("text", lines.append))
            async with through(gateway) as ws:
                await ws.send("close 4001")
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
            gateway = gateway_to(host.address, access_log=AccessLog("text", lines.append))
            async with through(gateway) as ws:
                ws.transport.abort()
        told = [line.rstrip().partition("closed ")[2] for line in lines]
        assert told == ["by the host", "by the client"]

    asyncio.run(main())


@contextlib.asynccontextmanager
async def _tunnel(
    goodbye: bytes, lines: list[str]
) -> AsyncIterator[tuple[LoadBalancer, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A tunnel to a host that says ``goodbye`` at the client's end; without one it stays open."""
    over = asyncio.Event()

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
        while said := await reader.read(1000):
            writer.write(said)
        if goodbye:
            writer.write(goodbye)
        else:
            await over.wait()

    async with scripted(host) as address:
        lb = LoadBalancer([address])
        lb.keeps_sessions(True)
        gateway = Gateway(lb, access_log=AccessLog("text", lines.append))
        async with asyncio.timeout(LIMIT), served(gateway) as front:
            reader, writer = await opened(front)
            try:
                writer.write(get("/", "Connection: Upgrade", "Upgrade: talk"))
                await reader.readuntil(b"\r\n\r\n")
                yield lb, reader, writer
            finally:
                over.set()
                await hang_up(writer)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"


@pytest.mark.parametrize("goodbye", [b"goodbye", b""], ids=["ends", "stays"])
def test_a_tunnel_ends_at_the_deadline_of_a_drain(
    monkeypatch: pytest.MonkeyPatch, goodbye: bytes
) -> None:
    monkeypatch.setattr(tunnel_watch, "_GOODBYE", 0.1)
    lines: list[str] = []

    async def main() -> None:
        async with _tunnel(goodbye, lines) as (lb, reader, writer):
            (host,) = lb.hosts
            lb.drain(host.name, by="operator")  # without a deadline it stays
            await asyncio.sleep(1.5)  # some rounds of checks
            await _echo(reader, writer)
            lb.drain(host.name, deadline=0.0, by="operator")
            assert await reader.read() == goodbye

    asyncio.run(main())
    assert lines[0].endswith(" drain_deadline\n")


def test_a_drain_of_another_host_ends_no_tunnel() -> None:
    async def main() -> None:
        async with _tunnel(b"goodbye", []) as (lb, reader, writer):
            lb.set_hosts([*lb.hosts, "127.0.0.1:1"])
            lb.drain("127.0.0.1:1", deadline=0.0, by="operator")
            lb.drain(lb.hosts[0].name, by="outlier")  # as an ejection: known clients stay
            await asyncio.sleep(1.5)
            await _echo(reader, writer)

    asyncio.run(main())


def test_a_websocket_is_closed_at_the_deadline_of_a_drain() -> None:
    async def main() -> None:
        async with talker() as host:
            gateway = gateway_to(host.address)
            async with through(gateway) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                gateway.lb.keeps_sessions(True)
                gateway.lb.drain(host.address, deadline=0.0)
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert await host.closes.get() == (1006, "")

    asyncio.run(main())
