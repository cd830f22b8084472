"""The core through our own server: hops, loops, trailers, bounds, pipelines."""

from __future__ import annotations

import asyncio

import pytest

from hashring import LoadBalancer
from hashring.affinity.identity import IdentitySource
from hashring.gateway import Gateway, Limits, Timeouts
from tests.gateway.hosts import OK, answering, head_of, length_of, refused_address, scripted
from tests.gateway.recorder import recorder
from tests.gateway.running import LIMIT, ask, gateway_to, get, hang_up, opened, response, served

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"


async def said(front: str, request: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    reader, writer = await opened(front)
    writer.write(request)
    async with asyncio.timeout(LIMIT):
        found = await reader.read()
    await hang_up(writer)
    return found


def test_a_request_that_comes_back_is_a_loop() -> None:
    async def main() -> None:
        gateway = gateway_to("127.0.0.1:1")
        async with served(gateway) as front:
            gateway.lb.register(front)
            gateway.lb.unregister("127.0.0.1:1")
            found = await ask(front, get("/"))
        assert found.status == 508
        assert b'"loop"' in found.body
        assert gateway.stats["requests"] == 2

    asyncio.run(main())


def test_two_gateways_in_a_row_pass_a_request() -> None:
    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as inner:
            async with served(gateway_to(inner)) as front:
                assert (await ask(front, get("/", "Via: 1.0 fred"))).status == 200
            head = host.requests[0][0]
        via = head.partition(b"\r\nvia: ")[2].partition(b"\r\n")[0].split(b", ")
        assert via[0] == b"1.0 fred"
        assert len(set(via)) == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "sent", "status", "came"),
    [
        ("OPTIONS", "0", 405, None),
        ("TRACE", "0", 405, None),
        ("OPTIONS", "3", 200, b"max-forwards: 2\r\n"),
        ("GET", "0", 200, b""),
    ],
)
def test_max_forwards_is_counted_down(
    method: str, sent: str, status: int, came: bytes | None
) -> None:
    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as front:
            found = await ask(front, get("/", f"Max-Forwards: {sent}", method=method))
            assert found.status == status
            if came is None:
                assert not host.requests
            else:
                assert came in host.requests[0][0]

    asyncio.run(main())


def test_early_hints_and_trailers_reach_clients_of_http_1_1() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    answer = hints + CHUNKED + b"Server-Timing: db\r\nContent-Length: 9\r\n\r\n"

    async def main() -> None:
        async with scripted(answering(answer)) as host, served(gateway_to(host)) as front:
            new = await said(front, get("/", "Connection: close"))
            old = await said(front, b"GET / HTTP/1.0\r\nHost: test\r\n\r\n")
        assert new.startswith(
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 2"
        )
        assert new.endswith(b"2\r\nok\r\n0\r\nserver-timing: db\r\n\r\n")
        assert old.startswith(b"HTTP/1.1 200 OK\r\n")
        assert old.endswith(b"\r\n\r\nok")

    asyncio.run(main())


def test_pipelined_requests_are_answered_in_order() -> None:
    number = 2_000

    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as front:
            reader, writer = await opened(front)
            for at in range(number):
                body = b"Content-Length: 2\r\n\r\nhi" if at % 3 == 2 else b"\r\n"
                method = b"POST" if at % 3 == 2 else b"GET"
                writer.write(b"%b /%d HTTP/1.1\r\nHost: test\r\n%b" % (method, at, body))
            async with asyncio.timeout(30):
                for at in range(number):
                    assert (await response(reader)).body == b"/%d" % at
            await hang_up(writer)
        assert [body for _, body in host.requests[:3]] == [b"", b"", b"hi"]

    asyncio.run(main())


def test_many_pipelined_requests_that_are_refused_end_in_order() -> None:
    async def main() -> None:
        gateway = gateway_to("127.0.0.1:1")
        gateway.lb.mark_down("127.0.0.1:1", "reboot")
        async with served(gateway) as front:
            reader, writer = await opened(front)
            writer.write(get("/") * 3_000)
            async with asyncio.timeout(30):
                for _ in range(3_000):
                    assert (await response(reader)).status == 503
            await hang_up(writer)
        assert not gateway.in_flight

    asyncio.run(main())


def test_a_connection_over_the_limit_gets_503(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with recorder() as host:
            gateway = gateway_to(host.address, limits=Limits(connections=2))
            async with served(gateway) as front:
                kept = [await opened(front) for _ in range(2)]
                for reader, writer in kept:
                    writer.write(get("/"))
                    assert (await response(reader)).status == 200
                assert (await ask(front, get("/"))).status == 503
                await hang_up(kept[0][1])
                await asyncio.sleep(0.05)
                assert (await ask(front, get("/"))).status == 200
                await hang_up(kept[1][1])

    asyncio.run(main())
    assert caplog.text.count("limits.connections is 2") == 1


def test_a_source_that_fails_is_a_500_and_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(IdentitySource):
        def find(self, fields: object, body: bytes) -> bytes | None:
            raise RuntimeError("broken")

    async def main() -> None:
        async with recorder() as host:
            lb = LoadBalancer([host.address])
            gateway = Gateway(lb, identity=Broken())
            async with served(gateway) as front:
                reader, writer = await opened(front)
                for _ in range(2):  # the connection goes on
                    writer.write(get("/"))
                    assert (await response(reader)).status == 500
                await hang_up(writer)
            assert not gateway.in_flight
            assert lb.load(host.address).failed == 0

    asyncio.run(main())
    assert "broken" in caplog.text


def test_a_refusal_names_the_host_and_whose_fault_it_is() -> None:
    async def main() -> None:
        address = refused_address()
        async with served(gateway_to(address)) as front:
            found = await ask(front, get("/", "Accept: text/html"))
        assert f"Host: {address}, fault of the host\n".encode() in found.body

    asyncio.run(main())


def test_a_slow_reader_gets_all_and_its_host_is_used_again() -> None:
    size = 20 << 20

    async def big(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(bytes(size))
            await writer.drain()

    async def main() -> None:
        async with scripted(big) as host, served(gateway_to(host)) as front:
            for _ in range(2):
                reader, writer = await opened(front)
                writer.write(get("/"))
                await reader.readuntil(b"\r\n\r\n")
                got = 0
                async with asyncio.timeout(30):
                    while got < size:
                        got += len(await reader.read(1 << 20))
                        await asyncio.sleep(0.001)
                await hang_up(writer)

    asyncio.run(main())


def test_a_client_that_sends_after_its_refusal_sees_the_refusal() -> None:
    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as front:
            for _ in range(20):
                reader, writer = await opened(front)
                writer.write(get("/", "Content-Length: x", method="POST"))
                writer.write(bytes(200_000))
                async with asyncio.timeout(LIMIT):
                    assert (await response(reader)).status == 400
                await hang_up(writer)

    asyncio.run(main())


def test_a_host_that_does_not_read_holds_up_the_client() -> None:
    sent = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # its own transport
        await asyncio.sleep(30)

    async def main() -> None:
        nonlocal sent
        times = Timeouts(idle=0.5, first_byte=5)
        async with scripted(mute) as host, served(gateway_to(host, timeouts=times)) as front:
            reader, writer = await opened(front)
            writer.write(get("/", f"Content-Length: {1 << 30}", method="POST"))

            async def pour() -> None:
                nonlocal sent
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
                    sent += 65536

            pouring = asyncio.create_task(pour())
            async with asyncio.timeout(LIMIT):
                assert (await response(reader)).status == 504
            pouring.cancel()
            await asyncio.gather(pouring, return_exceptions=True)
            await hang_up(writer)

    asyncio.run(main())
    assert sent < 64 << 20


def test_a_response_after_the_whole_upload_keeps_the_connection() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            await reader.readexactly(length_of(head))
            writer.write(OK)

    async def main() -> None:
        async with scripted(script) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            for _ in range(3):
                writer.write(get("/", "Content-Length: 300000", method="POST"))
                for _ in range(3):
                    writer.write(bytes(100_000))
                    await asyncio.sleep(0.01)
                found = await response(reader)
                assert (found.status, found.header(b"connection")) == (200, None)
            await hang_up(writer)

    asyncio.run(main())
