"""The client of the hosts, asked without a gateway: which connections it uses, and which not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hashring.gateway import Limits, Timeouts
from hashring.gateway.http.client import HostClient
from hashring.gateway.http.connections import MAX_INTERIM, StaleConnection
from hashring.gateway.upstream import (
    ConnectError,
    ConnectionLost,
    InvalidResponse,
    UpstreamError,
    UpstreamTimeout,
)
from tests.gateway.hosts import head_of, length_of, refused_address, scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LATER = OK.replace(b"ok", b"no")
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


class Recorded:
    """A host that gives the next of ``answers`` to each request, and counts its connections.

    An answer of None closes the connection after the request was read.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            head = await head_of(reader)
            await reader.readexactly(length_of(head))
            self.heads.append(head)
            answer = self.answers.pop(0)
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()


async def ask(
    client: HostClient,
    address: str,
    method: str = "GET",
    body: bytes | AsyncIterator[bytes] | None = None,
) -> bytes:
    response = await client.request(address, method, "/", [("host", "a")], body)
    found = b""
    while not response.ended:
        found += await response.read()
    response.close()
    return found


def with_client(
    host: Recorded,
    run: Callable[[HostClient, str], Awaitable[None]],
    timeouts: Timeouts = Timeouts(),  # noqa: B008  # it is immutable
) -> None:
    async def main() -> None:
        async with scripted(host) as address:
            client = HostClient(timeouts, Limits())
            try:
                await run(client, address)
            finally:
                await client.aclose()

    asyncio.run(main())


def test_a_connection_is_used_again() -> None:
    host = Recorded(OK, OK, OK)

    async def run(client: HostClient, address: str) -> None:
        for _ in range(3):
            assert await ask(client, address) == b"ok"

    with_client(host, run)
    assert host.connections == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_stale_connection_is_replaced_once(method: str) -> None:
    host = Recorded(OK, None, OK)

    async def run(client: HostClient, address: str) -> None:
        await ask(client, address)
        assert await ask(client, address, method) == b"ok"

    with_client(host, run)
    assert host.connections == 2
    assert len(host.heads) == 3


def test_a_post_on_a_stale_connection_is_not_repeated() -> None:
    host = Recorded(OK, None)

    async def run(client: HostClient, address: str) -> None:
        await ask(client, address)
        with pytest.raises(StaleConnection) as caught:
            await ask(client, address, "POST", b"x")
        assert caught.value.own  # it does not count against the host

    with_client(host, run)
    assert len(host.heads) == 2


def test_a_new_connection_that_ends_is_the_fault_of_the_host() -> None:
    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(ConnectionLost) as caught:
            await ask(client, address)
        assert not caught.value.own

    with_client(Recorded(None), run)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", OK + b"X"),
        ("GET", OK + b"HTTP/1.1 20"),
        ("GET", OK + LATER),
        ("HEAD", OK),
        ("GET", b"HTTP/1.1 204 No\r\n\r\nextra"),
        ("GET", OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)),
    ],
)
def test_a_connection_with_excess_bytes_is_not_used_again(method: str, answer: bytes) -> None:
    host = Recorded(answer, OK)

    async def run(client: HostClient, address: str) -> None:
        await ask(client, address, method)
        assert await ask(client, address) == b"ok"

    with_client(host, run)
    assert host.connections == 2


def test_a_connection_is_used_again_after_a_head_request() -> None:
    host = Recorded(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", OK)

    async def run(client: HostClient, address: str) -> None:
        assert await ask(client, address, "HEAD") == b""
        assert await ask(client, address) == b"ok"

    with_client(host, run)
    assert host.connections == 1


def test_chunks_count_where_a_length_stands_beside_them() -> None:
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    host = Recorded(both + b"2\r\nok\r\n0\r\n\r\n", OK)

    async def run(client: HostClient, address: str) -> None:
        assert await ask(client, address) == b"ok"
        assert await ask(client, address) == b"ok"

    with_client(host, run)
    assert host.connections == 2  # RFC 9112, section 6.3: such a connection is closed


def test_interim_responses_are_skipped() -> None:
    async def run(client: HostClient, address: str) -> None:
        response = await client.request(address, "GET", "/", [], None)
        assert (response.status, await response.read()) == (200, b"ok")
        assert b"Link" not in dict(response.headers)

    with_client(Recorded(INTERIM * MAX_INTERIM + OK), run)


@pytest.mark.parametrize(
    "answer",
    [
        INTERIM * (MAX_INTERIM + 1) + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
def test_a_response_beyond_a_limit_is_refused(answer: bytes) -> None:
    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(InvalidResponse):
            await ask(client, address)

    with_client(Recorded(answer), run)


def test_a_silent_host_is_overdue() -> None:
    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(UpstreamTimeout):
            await ask(client, address)

    with_client(Recorded(b""), run, Timeouts(first_byte=0.1))


def test_a_body_that_stops_is_overdue() -> None:
    async def run(client: HostClient, address: str) -> None:
        response = await client.request(address, "GET", "/", [], None)
        assert await response.read() == b"o"
        with pytest.raises(UpstreamTimeout):
            await response.read()

    with_client(Recorded(OK[:-1]), run, Timeouts(idle=0.1))


def test_a_response_before_the_request_ends_the_connection() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await reader.read()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def main() -> None:
        async with scripted(early) as address:
            client = HostClient(Timeouts(), Limits())
            assert await ask(client, address, "POST", endless()) == b"ok"
            assert await ask(client, address) == b"ok"  # on a connection without a half request
            await client.aclose()

    asyncio.run(main())


def test_a_request_whose_body_fails_is_an_upstream_error() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("the client has gone")

    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(UpstreamError, match="the client has gone"):
            await ask(client, address, "POST", broken())

    with_client(Recorded(b""), run)


@pytest.mark.parametrize("form", ["localhost:{}", "http://127.0.0.1:{}", "http://localhost:{}/"])
def test_an_address_by_name_and_scheme(form: str) -> None:
    async def run(client: HostClient, address: str) -> None:
        assert await ask(client, form.format(address.rpartition(":")[2])) == b"ok"

    with_client(Recorded(OK), run)


def test_a_host_without_tls_is_a_connect_error() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async def main() -> None:
        async with scripted(plain) as address:
            client = HostClient(Timeouts(), Limits())
            with pytest.raises(ConnectError, match="no TLS connection"):
                await ask(client, f"https://{address}")
            await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("address", ["", "http://", "a:b", "ftp://a", "a:99999"])
def test_an_invalid_address_is_an_upstream_error(address: str) -> None:
    async def run(client: HostClient, _: str) -> None:
        with pytest.raises(UpstreamError):
            await ask(client, address)

    with_client(Recorded(), run)


def test_a_refused_connection_is_a_connect_error() -> None:
    async def run(client: HostClient, _: str) -> None:
        with pytest.raises(ConnectError):
            await ask(client, refused_address())

    with_client(Recorded(), run)


def test_headers_with_control_characters_are_not_sent() -> None:
    host = Recorded()

    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(InvalidResponse, match="control characters"):
            await client.request(address, "GET", "/", [("x", "a\r\nhost: b")], None)

    with_client(host, run)
    assert host.heads == []
