"""The client of the hosts, asked without a gateway: which connections it uses, and which not."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from hashring.gateway import Gateway, Timeouts
from hashring.gateway.headers import ResponseHead
from hashring.gateway.http.client import HostClient
from hashring.gateway.http.host_connection import MAX_INTERIM
from hashring.gateway.upstream import (
    ConnectError,
    ConnectionLost,
    InvalidResponse,
    StaleConnection,
    UpstreamError,
    UpstreamTimeout,
)
from tests.gateway.hosts import head_of, length_of, refused_address, scripted
from tests.gateway.running import ask as ask_front
from tests.gateway.running import gateway_to, get, served

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
        self.closes = False

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
            if self.closes:
                return


class Receiver:
    """Collects one response."""

    def __init__(self) -> None:
        self.head: ResponseHead | None = None
        self.body = b""
        self.interim: list[int] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def receive_interim(self, head: ResponseHead) -> None:
        self.interim.append(head.status)

    def receive_head(self, head: ResponseHead) -> None:
        self.head = head

    def receive_body(self, chunk: bytes) -> None:
        self.body += chunk

    def receive_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.trailers = trailers
        self.done.set_result(self.body)

    def receive_error(self, error: UpstreamError) -> None:
        self.done.set_exception(error)

    def receive_switch(self, head: ResponseHead, rest: bytes) -> None:
        raise AssertionError("no switch was offered")

    def flush(self) -> None: ...

    def pause_upload(self) -> None: ...

    def resume_upload(self) -> None: ...


async def sent(
    client: HostClient, address: str, method: str = "GET", *, complete: bool = True
) -> Receiver:
    """A request that has been sent, and what receives its response."""
    pool = client.pool(address, asyncio.get_running_loop())
    connection = pool.take() or await pool.connect()
    length = "" if complete else "Content-Length: 5\r\n"
    receiver = Receiver()
    data = f"{method} / HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode()
    connection.send(receiver, data, complete=complete, head_only=method == "HEAD")
    return receiver


async def ask(
    client: HostClient, address: str, method: str = "GET", *, complete: bool = True
) -> bytes:
    return await (await sent(client, address, method, complete=complete)).done


def with_client(
    host: Recorded,
    run: Callable[[HostClient, str], Awaitable[None]],
    timeouts: Timeouts = Timeouts(),  # noqa: B008  # it is immutable
) -> None:
    async def main() -> None:
        async with scripted(host) as address:
            client = HostClient(timeouts)
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


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_a_stale_connection_is_replaced_once(method: str) -> None:
    host = Recorded(OK, None, OK)

    async def main() -> Gateway:
        async with scripted(host) as address:
            gateway = gateway_to(address)
            async with served(gateway) as front:
                await ask_front(front, get("/"))
                found = await ask_front(front, get("/", method=method))
                # what is not idempotent may have been carried out
                assert found.status == (502 if method == "POST" else 200)
            return gateway

    gateway = asyncio.run(main())
    assert host.connections == (1 if method == "POST" else 2)
    (load,) = [gateway.lb.load(member) for member in gateway.lb.snapshot.members]
    assert load.failed == 0
    assert gateway.stats["retries"] == 0


def test_a_connection_that_was_closed_while_idle_gets_no_post() -> None:
    host = Recorded(OK, OK)
    host.closes = True

    async def main() -> None:
        async with scripted(host) as address, served(gateway_to(address)) as front:
            for _ in range(2):
                assert (await ask_front(front, get("/", method="POST"))).status == 200

    asyncio.run(main())
    assert host.connections == 2


async def _send_on_a_closed_connection(*, read_first: bool) -> StaleConnection:
    """A second request that a host has read, or that meets a socket closed before it came."""
    loop = asyncio.get_running_loop()
    client = HostClient(Timeouts())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        first = asyncio.create_task(ask(client, address, "POST"))
        host, _ = await loop.sock_accept(listener)
        with host:
            host.setblocking(False)
            await loop.sock_recv(host, 1000)
            await loop.sock_sendall(host, OK)
            assert await first == b"ok"
            connection = client.pool(address, loop).take(certain=True)
            assert connection is not None
            if not read_first:
                host.close()
            receiver = Receiver()
            data = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"
            connection.send(receiver, data, complete=True, head_only=False)
            if read_first:
                assert await loop.sock_recv(host, 1000) == data
    with pytest.raises(StaleConnection) as caught:
        await receiver.done
    await client.aclose()
    return caught.value


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what was acknowledged")
@pytest.mark.parametrize("read_first", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_host_that_read_nothing_is_known(
    loop: Callable[[], asyncio.AbstractEventLoop], read_first: bool
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        error = runner.run(_send_on_a_closed_connection(read_first=read_first))
    assert error.unread is not read_first


def test_a_new_connection_that_ends_is_the_fault_of_the_host() -> None:
    async def run(client: HostClient, address: str) -> None:
        with pytest.raises(ConnectionLost) as caught:
            await ask(client, address)
        assert (caught.value.fault, caught.value.counts) == ("host", True)

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


def test_interim_responses_and_trailers_are_given() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"

    async def run(client: HostClient, address: str) -> None:
        receiver = await sent(client, address)
        assert await receiver.done == b"ok"
        assert receiver.interim == [103] * MAX_INTERIM
        assert receiver.head is not None
        assert b"link: " not in receiver.head.fields
        assert receiver.trailers == [(b"server-timing", b"x")]

    trailers = b"Server-Timing: x\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n"
    with_client(Recorded(INTERIM * MAX_INTERIM + chunked + trailers), run)


@pytest.mark.parametrize("lengths", [(b"2", b"2"), (b"2", b" 2\t", b"2")])
def test_equal_lengths_are_one_length(lengths: tuple[bytes, ...]) -> None:
    lines = b"".join(b"Content-Length:" + length + b"\r\n" for length in lengths)
    host = Recorded(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nok", OK)

    async def run(client: HostClient, address: str) -> None:
        assert await ask(client, address) == b"ok"
        assert await ask(client, address) == b"ok"

    with_client(host, run)
    assert host.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        INTERIM * (MAX_INTERIM + 1) + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
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
        receiver = await sent(client, address)
        with pytest.raises(UpstreamTimeout):
            await receiver.done
        assert receiver.body == b"o"

    with_client(Recorded(OK[:-1]), run, Timeouts(idle=0.1))


def test_a_response_before_the_request_ends_the_connection() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(OK)
        await reader.read()

    async def main() -> None:
        async with scripted(early) as address:
            client = HostClient(Timeouts())
            assert await ask(client, address, "POST", complete=False) == b"ok"
            assert await ask(client, address) == b"ok"  # on a connection without a half request
            await client.aclose()

    asyncio.run(main())


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
            client = HostClient(Timeouts())
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
