"""Does it flow?  Both ways, at once, at the slower side's pace, and in little memory."""

from __future__ import annotations

import asyncio
import resource

from hashring.gateway import Timeouts
from tests.gateway.hosts import OK, answering, head_of, length_of, scripted
from tests.gateway.running import LIMIT, gateway_to, get, hang_up, opened, response, served

MIB = 1 << 20
SIZE = 100 * MIB
MOST_GROWTH = 16 * MIB
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def pour(writer: asyncio.StreamWriter, size: int) -> None:
    block = bytes(64 * 1024)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()


async def swallow(reader: asyncio.StreamReader, size: int) -> None:
    while size:
        got = await reader.read(min(size, 256 * 1024))
        if not got:
            raise EOFError
        size -= len(got)


async def source_and_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await head_of(reader)
    await swallow(reader, length_of(head))
    size = SIZE if b"GET /down" in head else 0
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    await pour(writer, size)


def test_100_mib_each_way_in_bounded_memory() -> None:
    async def main() -> None:
        async with scripted(source_and_sink) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(get("/down"))
            await reader.readuntil(b"\r\n\r\n")
            await swallow(reader, MIB)  # what a first stream allocates is no growth
            before = peak()
            await swallow(reader, SIZE - MIB)
            writer.write(get("/up", f"Content-Length: {SIZE}", method="POST"))
            await pour(writer, SIZE)
            assert (await response(reader)).status == 200
            assert peak() - before <= MOST_GROWTH
            await hang_up(writer)

    asyncio.run(main())


def test_a_client_that_never_reads_holds_little_and_is_cut() -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        block = bytes(64 * 1024)
        for _ in range(SIZE // len(block)):
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async def main() -> None:
        async with scripted(script) as host:
            gateway = gateway_to(host, timeouts=Timeouts(idle=0.4))
            async with served(gateway) as front:
                _, writer = await opened(front)
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a TCP transport
                writer.write(get("/"))
                async with asyncio.timeout(LIMIT):
                    while not gateway.in_flight:  # noqa: ASYNC110  # nobody tells
                        await asyncio.sleep(0.01)
                    while gateway.in_flight:  # noqa: ASYNC110  # nobody tells
                        await asyncio.sleep(0.01)
                assert sent < 64 * MIB
                await hang_up(writer)

    asyncio.run(main())


def test_events_stream_and_a_hang_up_reaches_the_host() -> None:

    async def main() -> None:
        over = asyncio.Event()
        go = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(CHUNKED + b"Content-Type: text/event-stream\r\n\r\n")
            for number in range(3):
                event = b"data: %d\n\n" % number
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                await writer.drain()
                await go.wait()
                go.clear()
            await reader.read()
            over.set()

        async with scripted(script) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(get("/events", "Accept: text/event-stream"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            async with asyncio.timeout(LIMIT):
                for number in range(3):  # each is here before the next is sent
                    assert await reader.readuntil(b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
                    go.set()
                await hang_up(writer)
                await over.wait()

    asyncio.run(main())


def test_both_directions_flow_at_the_same_time() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + b"\r\n")
        while size := int(await reader.readline(), 16):
            chunk = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n%b" % (size, chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def main() -> None:
        async with scripted(echo) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(get("/echo", "Transfer-Encoding: chunked", method="POST"))
            async with asyncio.timeout(LIMIT):
                writer.write(b"5\r\nhello\r\n")
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readuntil(b"hello\r\n") == b"5\r\nhello\r\n"
                writer.write(b"5\r\nagain\r\n")
                assert await reader.readuntil(b"again\r\n") == b"5\r\nagain\r\n"
                writer.write(b"0\r\n\r\n")
                assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
            await hang_up(writer)

    asyncio.run(main())


def test_a_client_that_stops_in_its_body_is_reported_so() -> None:
    async def main() -> None:
        async with scripted(source_and_sink) as host:
            gateway = gateway_to(host, timeouts=Timeouts(idle=0.4))
            async with served(gateway) as front:
                reader, writer = await opened(front)
                writer.write(get("/up", "Content-Length: 100", method="POST") + b"half")
                async with asyncio.timeout(LIMIT):
                    assert (await response(reader)).status == 408
                await hang_up(writer)

    asyncio.run(main())


def test_a_head_that_drips_is_refused_in_time() -> None:
    async def main() -> None:
        async with scripted(source_and_sink) as host:
            gateway = gateway_to(host, timeouts=Timeouts(head=0.3))
            async with served(gateway) as front:
                reader, writer = await opened(front)
                writer.write(b"GET / HTTP/1.1\r\nHo")
                async with asyncio.timeout(LIMIT):
                    assert (await response(reader)).status == 408
                await hang_up(writer)

    asyncio.run(main())


def test_a_connection_may_idle_longer_than_a_head_may_take() -> None:
    async def main() -> None:
        async with scripted(source_and_sink) as host:
            gateway = gateway_to(host, timeouts=Timeouts(head=0.2, client_idle=5))
            async with served(gateway) as front:
                reader, writer = await opened(front)
                async with asyncio.timeout(LIMIT):
                    for _ in range(2):
                        writer.write(get("/up", "Content-Length: 2", method="POST") + b"up")
                        assert (await response(reader)).status == 200
                        await asyncio.sleep(0.5)
                    writer.write(b"GET / HTTP/1.1\r\nHo")  # and the next head is due again
                    assert (await response(reader)).status == 408
                await hang_up(writer)

    asyncio.run(main())


def test_an_empty_body_that_ends_late_keeps_the_connection() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            writer.write(CHUNKED + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(b"0\r\n\r\n")

    async def main() -> None:
        async with scripted(late) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            for _ in range(3):
                writer.write(get("/"))
                found = await response(reader)
                assert (found.status, found.body, found.whole) == (200, b"", True)
            await hang_up(writer)

    asyncio.run(main())


def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    async def chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + b"\r\n5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"6\r\n world\r\n0\r\n\r\n")

    async def main() -> None:
        async with scripted(chunks) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
            async with asyncio.timeout(LIMIT):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert body == b"hello world"
            await hang_up(writer)

    asyncio.run(main())


def test_a_response_while_stopping_ends_its_connection() -> None:
    async def main() -> None:
        async with scripted(answering(OK)) as host:
            gateway = gateway_to(host)
            async with served(gateway) as front:
                reader, writer = await opened(front)
                writer.write(get("/"))
                assert (await response(reader)).header(b"connection") is None
                gateway.stop()
                writer.write(get("/"))
                assert (await response(reader)).header(b"connection") == b"close"
                assert await reader.read() == b""
                await hang_up(writer)

    asyncio.run(main())
