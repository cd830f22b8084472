"""What does a client get when its host misbehaves?  An error or a cut, never others' bytes."""

from __future__ import annotations

import asyncio

import pytest

from hashring.gateway import Timeouts
from tests.gateway.hosts import OK, answering, head_of, refused_address, scripted
from tests.gateway.running import LIMIT, ask, gateway_to, get, hang_up, opened, response, served

START = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nhello",
        START + b"Content-Length: -1\r\n\r\n",
        START + b"Content-Length: 2, 3\r\n\r\nok",
        START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\noko",
        START + b"Content-Length: x\r\n\r\n",
        START + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        START + b": a\r\nContent-Length: 0\r\n\r\n",
        START + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        START + b"X: a\r\n" * 100_000,
        START[:9],
        START + b"Content-Le",
    ],
)
def test_a_bad_head_is_a_502(said: bytes) -> None:
    async def main() -> None:
        async with scripted(answering(said, close=True)) as host, served(gateway_to(host)) as front:
            found = await ask(front, get("/", method="POST"))
            assert found.status == 502, found
            assert b"request_id" in found.body

    asyncio.run(main())


@pytest.mark.parametrize(
    "said",
    [
        START + b"Content-Length: 100\r\n\r\nhello",
        START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n0\r\n\r\n",
        START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nfffffffffffffffffff\r\n",
    ],
)
def test_a_body_that_breaks_off_is_seen_to_break_off(said: bytes) -> None:
    async def main() -> None:
        async with scripted(answering(said, close=True)) as host, served(gateway_to(host)) as front:
            try:
                found = await ask(front, get("/"))
            except EOFError:
                return
            assert found.status == 502 or not found.whole

    asyncio.run(main())


def test_bytes_after_a_response_reach_no_other_client() -> None:
    """A host that sends a second answer unasked: the next client must not get it."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def main() -> None:
        async with scripted(answering(OK + evil)) as host, served(gateway_to(host)) as front:
            for _ in range(5):
                found = await ask(front, get("/"))
                assert found.body == b"ok"
                await asyncio.sleep(0.02)

    asyncio.run(main())


def test_length_beside_chunks_is_forwarded_once_as_chunks() -> None:
    said = START + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    async def main() -> None:
        async with scripted(answering(said)) as host, served(gateway_to(host)) as front:
            found = await ask(front, get("/"))
            assert (found.status, found.body, found.whole) in (
                (200, b"hello", True),
                (502, found.body, True),
            )
            assert found.status == 502 or found.header(b"content-length") is None

    asyncio.run(main())


def test_a_response_before_the_body_does_not_poison_the_pool() -> None:
    """A host that answers early: its connection has half a body on it, so nobody may use it."""
    came: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            came.append(await head_of(reader))
            writer.write(OK)
            await writer.drain()

    async def main() -> None:
        async with scripted(script) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            writer.write(get("/early", "Content-Length: 1000000", method="POST") + b"x" * 1000)
            assert (await response(reader)).status == 200
            for _ in range(3):
                found = await ask(front, get("/victim"))
                assert found.body == b"ok"
            await hang_up(writer)
        targets = [head.split(b" ")[1] for head in came]
        assert targets == [b"/early", *[b"/victim"] * 3]

    asyncio.run(main())


def test_a_truncated_upload_closes_its_connection() -> None:
    ends: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        if b"/cut" in head:
            ends.put_nowait(await reader.read(-1))
            return
        writer.write(OK)

    async def main() -> None:
        async with scripted(script) as host, served(gateway_to(host)) as front:
            _, writer = await opened(front)
            writer.write(get("/cut", "Content-Length: 1000", method="POST") + b"half")
            await asyncio.sleep(0.1)
            await hang_up(writer)
            assert (await ask(front, get("/victim"))).body == b"ok"
            async with asyncio.timeout(LIMIT):
                assert await ends.get() == b"half"

    asyncio.run(main())


def test_a_silent_host_is_a_504_for_a_post_after_one_try() -> None:
    came: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await head_of(reader))
        await asyncio.sleep(30)

    async def main() -> None:
        times = Timeouts(connect=1, first_byte=0.2, idle=0.2)
        async with (
            scripted(script) as host,
            scripted(script) as other,
            served(gateway_to(host, other, timeouts=times)) as front,
        ):
            found = await ask(front, get("/", "Content-Length: 2", method="POST") + b"ok")
            assert (found.status, len(came)) == (504, 1)
            assert (await ask(front, get("/"))).status == 504
            assert len(came) == 3  # both were asked

    asyncio.run(main())


def test_a_host_that_stops_in_its_answer_is_cut() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(START + b"Content-Length: 100\r\n\r\nhello")
        await asyncio.sleep(30)

    async def main() -> None:
        times = Timeouts(connect=1, first_byte=5, idle=0.2)
        async with scripted(script) as host, served(gateway_to(host, timeouts=times)) as front:
            found = await ask(front, get("/"))
            assert (found.status, found.whole) == (200, False)

    asyncio.run(main())


def test_retries_stay_within_the_budget() -> None:
    async def main() -> None:
        gateway = gateway_to(*[refused_address() for _ in range(4)])
        async with served(gateway) as front:
            began = asyncio.get_running_loop().time()
            for _ in range(100):
                assert (await ask(front, get("/"))).status == 502
            seconds = asyncio.get_running_loop().time() - began
        assert 0 < gateway.stats["retries"] <= 100 * 0.2 + 10 * (seconds + 1)

    asyncio.run(main())
