"""The connections to one host, and the responses that are read from them."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import httptools

from hashring.config.settings import Timeouts
from hashring.gateway.upstream import (
    ConnectError,
    ConnectionLost,
    InvalidResponse,
    UpstreamError,
    UpstreamTimeout,
)
from hashring.net import is_ip, split_address

MAX_HEAD: Final = 64 * 1024
"""Bytes of a response's head: eight times what servers send by default, for long cookies."""

MAX_FIELDS: Final = 256
MAX_INTERIM: Final = 16
"""Interim responses (1xx) before a response: a host sends one or two."""

_BUFFER = 64 * 1024  # bytes of a body that wait to be read before the host is held up
_NO_BODY = frozenset({204, 304})
_OWN_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
)
_PORTS = {"http": 80, "https": 443}
_NEXT_ADDRESS = 0.25
"""Seconds before the next address of a name is tried beside the first (RFC 8305, section 5)."""

_NAME_KEPT = 5.0
"""Seconds for which the addresses of a name are kept."""


class StaleConnection(ConnectionLost):
    """The host closed a kept connection before a byte of the response came.

    It closed the connection while it was idle, so the host has not failed.
    """

    own = True


class HostResponse:
    """One response of a host: its head is complete, its body comes as it is read."""

    __slots__ = ("_chunks", "_connection", "_error", "_paused", "_reader", "_size", "complete",
                 "headers", "status")  # fmt: skip

    def __init__(
        self, connection: Connection, status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.status, self.headers = status, headers
        self.complete = False
        self._connection: Connection | None = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._error: UpstreamError | None = None
        self._reader: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether all of the body has been read."""
        return self.complete and not self._chunks

    async def read(self) -> bytes:
        """The next bytes of the body, as they come; none at its end. Raises ``UpstreamError``."""
        chunks = self._chunks
        while not chunks:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            connection = self._connection
            assert connection is not None  # it leaves with an error or at the end
            self._reader = connection.pool.loop.create_future()
            connection.expect(connection.pool.timeouts.idle)
            try:
                await self._reader
            finally:
                connection.expect_no_byte_of(self)
        data = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            if self._connection is not None:
                self._connection.resume_reading()
        return data

    def close(self) -> None:
        """Close the connection unless the whole response has come."""
        if self._connection is not None:
            self._connection.close()

    def feed(self, chunk: bytes) -> None:
        """Take bytes of the body; hold up the host if too many wait."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _BUFFER and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_reading()
        self._wake()

    def detach(self, error: UpstreamError | None = None) -> None:
        """Leave the connection: the response is complete, or ended with ``error``."""
        connection, self._connection = self._connection, None
        self._error = error
        if error is None:
            self.complete = True
            if self._paused and connection is not None:
                connection.resume_reading()
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)


class Connection(asyncio.Protocol):
    """One connection to a host, for one request at a time.

    It returns to its pool only after a complete response to a complete request, without a byte
    beyond the response.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.closed = False
        self.due = 0.0
        """When the awaited byte is overdue, or an idle connection is closed; 0 is never."""
        self._transport: Any = None
        self._parser = self._new_parser()
        self._waiter: asyncio.Future[HostResponse] | None = None  # of the response's head
        self._response: HostResponse | None = None
        self._upload: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._used = self._got_bytes = False
        self._head_only = self._in_head = self._finished = self._excess = False
        self._until_close = False
        self._keep = True
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._field_bytes = self._interim = 0

    # -- a request --------------------------------------------------------------------------------

    def send(
        self, data: bytes, body: AsyncIterator[bytes] | None, *, chunked: bool, head_only: bool
    ) -> asyncio.Future[HostResponse]:
        """Send a request; the future is its response, or raises ``UpstreamError``."""
        self._head_only = head_only
        self._got_bytes = self._finished = self._excess = self._until_close = False
        self._in_head = self._keep = True
        self._fields = []
        self._head_bytes = self._field_bytes = self._interim = 0
        loop = self.pool.loop
        waiter = self._waiter = loop.create_future()
        self._transport.write(data)
        if body is None:
            self.expect(self.pool.timeouts.first_byte)
        else:  # the request's own timeouts apply until all of it is sent
            self.due = 0.0
            self._upload = loop.create_task(self._send_body(body, chunked=chunked))
        return waiter

    async def _send_body(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        write = self._transport.write
        try:
            async for chunk in body:
                if not chunk:  # an empty chunk would end the body
                    continue
                if self._writable is not None:
                    await self._writable
                if self.closed:
                    return
                write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if chunked and not self.closed:
                write(b"0\r\n\r\n")
            if self._waiter is not None:
                self.expect(self.pool.timeouts.first_byte)
        except Exception as error:  # the client's fault, which the body knows
            self._fail(ConnectionLost(f"the request ended early: {type(error).__name__}: {error}"))

    def expect(self, seconds: float | None) -> None:
        """The next byte is overdue after ``seconds``; None is no limit."""
        self.due = 0.0 if seconds is None else self.pool.loop.time() + seconds

    def expect_no_byte_of(self, response: HostResponse) -> None:
        """Stop the timeout while ``response`` is not being read."""
        if self._response is response:
            self.due = 0.0

    def pause_reading(self) -> None:
        """Hold up the host."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.closed:
            self._transport.resume_reading()

    def check(self, now: float) -> None:
        """Close the connection if it is overdue or has been idle for too long."""
        if self.due and self.due <= now:
            if self._waiter is None and self._response is None:
                self.close()
            else:
                self._fail(UpstreamTimeout("no byte of the response came in time"))

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it."""
        return not (self.closed or self._transport.is_closing())

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = transport

    def pause_writing(self) -> None:
        """The host reads more slowly than the client sends."""
        self._writable = self.pool.loop.create_future()

    def resume_writing(self) -> None:
        """The host has read what was written."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Parse bytes of a response."""
        if self._waiter is None and self._response is None:  # not a response to any request
            self.close()
            return
        self._got_bytes = True
        if self._in_head:
            self._head_bytes += len(data)
        error: UpstreamError | None = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            error = InvalidResponse("an upgrade that was not requested")
        except httptools.HttpParserCallbackError as raised:
            if not isinstance(raised.__context__, UpstreamError):
                raise
            error = raised.__context__
        except httptools.HttpParserError as raised:
            error = InvalidResponse(f"not valid HTTP: {raised}")
        if self._finished:
            self._done(keep=error is None and not self._excess)
        elif error is not None:
            self._fail(error)
        elif self._in_head and self._head_bytes > MAX_HEAD:
            self._fail(InvalidResponse(f"a response head of more than {MAX_HEAD} bytes"))

    def eof_received(self) -> bool:
        """The host sends nothing more."""
        self.pool.remove_idle(self)  # no request may be sent on it from now on
        if self._response is not None and self._until_close:
            self._done(keep=False)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed."""
        if not self.closed:
            stale = self._used and not self._got_bytes
            reason = "" if error is None else f": {error}"
            self._fail(
                (StaleConnection if stale else ConnectionLost)(
                    f"the host closed the connection{reason}"
                )
            )

    # -- httptools --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message begins; after the response it is excess."""
        if self._finished:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field; trailers are dropped because ASGI servers do not pass them on."""
        if self._in_head and not self._finished:
            self._fields.append((name, value))
            self._field_bytes += len(name) + len(value)
            if len(self._fields) > MAX_FIELDS or self._field_bytes > MAX_HEAD:
                raise InvalidResponse(
                    f"a response head of more than {MAX_HEAD} bytes or {MAX_FIELDS} headers"
                )

    def on_headers_complete(self) -> None:
        """Give the head to the waiting request."""
        if self._finished:
            return
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            if status == 101:
                raise InvalidResponse("an upgrade that was not requested")
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise InvalidResponse(f"more than {MAX_INTERIM} interim responses")
            return
        if parser.get_http_version() not in ("1.1", "1.0"):
            raise InvalidResponse(f"HTTP/{parser.get_http_version()}")
        self._in_head = False
        self.due = 0.0
        if not self._head_only and status not in _NO_BODY:
            self._check_framing()
        response = self._response = HostResponse(self, status, self._fields)
        waiter, self._waiter = self._waiter, None
        if self._head_only:  # the parser would wait for the body that the length announces
            response.complete = self._finished = True
        if waiter is None or waiter.done():  # the request has been cancelled
            raise ConnectionLost("the request was cancelled")
        waiter.set_result(response)

    def _check_framing(self) -> None:
        """Raise ``InvalidResponse`` for a body whose end could be read in two ways."""
        lengths = codings = 0
        for name, value in self._fields:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                lengths += 1
            elif size == 17 and name.lower() == b"transfer-encoding":
                codings += 1
                if value.strip().lower() != b"chunked":
                    raise InvalidResponse(f"the transfer coding {value[:100]!r}")
        if codings > 1:
            raise InvalidResponse("two transfer codings")
        self._until_close = not lengths and not codings
        self._keep = lengths + codings == 1

    def on_body(self, body: bytes) -> None:
        """Give bytes of the body to the response; those after a HEAD are excess."""
        if self._finished or self._response is None:
            self._excess = True
        else:
            self._response.feed(body)

    def on_message_complete(self) -> None:
        """The response is complete, or was an interim one."""
        if self._response is None:
            self._fields = []
        else:
            self._finished = True
            if not self._head_only:  # the parser knows it only now
                self._keep = self._keep and self._parser.should_keep_alive()

    # -- its end ----------------------------------------------------------------------------------

    def _done(self, *, keep: bool) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.detach()
        if self._head_only:
            keep = keep and _keeps_alive(self._parser.get_http_version(), self._fields)
            self._parser = self._new_parser()
        else:
            keep = keep and self._keep
        upload, self._upload = self._upload, None
        if upload is not None and not upload.done():
            upload.cancel()
            keep = False  # the rest of the body would be read as the next request
        if keep and self.usable:
            self._used = True
            self.expect(self.pool.timeouts.keep_alive)
            self.pool.put(self)
        else:
            self.close()

    def _fail(self, error: UpstreamError) -> None:
        response, self._response = self._response, None
        waiter, self._waiter = self._waiter, None
        self.close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if response is not None:
            response.detach(error)

    def close(self) -> None:
        """Close it without waiting."""
        if self.closed:
            return
        self.closed = True
        self.pool.forget(self)
        if self._upload is not None and self._upload is not asyncio.current_task():
            self._upload.cancel()
        self.resume_writing()
        waiter, self._waiter = self._waiter, None
        response, self._response = self._response, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionLost("the connection was closed"))
        if response is not None and not response.complete:
            response.detach(ConnectionLost("the connection was closed"))
        if self._transport is not None:
            self._transport.abort()

    def _new_parser(self) -> Any:
        make: Callable[[Any], Any] = httptools.HttpResponseParser
        parser = make(self)
        # chunks win over a length beside them (RFC 9112, section 6.3); the length is not passed on
        parser.set_dangerous_leniencies(lenient_chunked_length=True)
        return parser


def _keeps_alive(version: str, fields: list[tuple[bytes, bytes]]) -> bool:
    """Whether a host keeps the connection after a response without a body."""
    options = b",".join(value.lower() for name, value in fields if name.lower() == b"connection")
    return version == "1.1" and b"close" not in options


class ConnectionPool:
    """The connections to one address; the one used last is used next.

    Raises ``InvalidResponse`` for an invalid address.
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        scheme, sign, authority = address.partition("://")
        if not sign:
            scheme, authority = "http", address
        authority = authority.rstrip("/")
        try:
            self._name, port = split_address(authority)
            self._port = port or _PORTS[scheme]
        except (ValueError, KeyError):
            raise InvalidResponse(f"the address {address!r} is not valid") from None
        self.address, self.authority = address, authority
        self.loop, self.timeouts = loop, timeouts
        self._tls = ssl.create_default_context() if scheme == "https" else None
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._resolved: list[str] = []
        self._resolved_until = 0.0

    def take(self) -> Connection | None:
        """An idle connection, which the host has not closed as far as is known."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable and connection.due > self.loop.time():
                return connection
            connection.close()
        return None

    def put(self, connection: Connection) -> None:
        """Keep an idle connection."""
        self._idle.append(connection)

    def remove_idle(self, connection: Connection) -> None:
        """Use the connection for no further request."""
        if connection in self._idle:
            self._idle.remove(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a closed connection."""
        self._all.discard(connection)
        self.remove_idle(connection)

    def check(self, now: float) -> bool:
        """Close overdue connections; whether any are left."""
        for connection in tuple(self._all):
            connection.check(now)
        return bool(self._all)

    def close(self) -> None:
        """Close all connections."""
        for connection in tuple(self._all):
            connection.close()

    # -- connecting -------------------------------------------------------------------------------

    async def connect(self) -> Connection:
        """A new connection. Raises ``ConnectError``."""
        seconds = self.timeouts.connect
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect_first(await self._addresses())
        except TimeoutError as error:
            raise ConnectError(f"no connection to {self.address} in {seconds:g} s") from error
        except ssl.SSLError as error:
            raise ConnectError(
                f"no TLS connection to {self.address}: {error.reason or error}"
            ) from error
        except OSError as error:
            raise ConnectError(
                f"no connection to {self.address}: {error.strerror or error}",
                own=error.errno in _OWN_FAULTS,
            ) from error
        self._all.add(connection)
        return connection

    async def _addresses(self) -> list[str]:
        """The addresses of the host's name, IPv6 and IPv4 in turns."""
        if is_ip(self._name):
            return [self._name]
        now = self.loop.time()
        if now >= self._resolved_until:
            found = await self.loop.getaddrinfo(self._name, self._port, type=1)
            by_family: dict[int, list[str]] = {}
            for family, _, _, _, address in found:
                by_family.setdefault(family, []).append(str(address[0]))
            turns = [
                (position, number, address)
                for number, addresses in enumerate(by_family.values())
                for position, address in enumerate(addresses)
            ]
            self._resolved = [address for _, _, address in sorted(turns)]
            self._resolved_until = now + _NAME_KEPT
        return self._resolved

    async def _connect_first(self, addresses: list[str]) -> Connection:
        """Connect to the first address that accepts; the others follow after a delay each."""
        if len(addresses) == 1:
            return await self._connect_to(addresses[0])
        attempts: list[asyncio.Task[Connection]] = []
        error: BaseException | None = None
        try:
            waiting: set[asyncio.Task[Connection]] = set()
            left = iter(addresses)
            while True:
                following = next(left, None)
                if following is not None:
                    waiting.add(self.loop.create_task(self._connect_to(following)))
                    attempts += waiting - set(attempts)
                elif not waiting:
                    raise error or OSError(f"{self._name} has no address")
                done, waiting = await asyncio.wait(
                    waiting,
                    timeout=_NEXT_ADDRESS if following is not None else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for attempt in done:
                    error = error or attempt.exception()
                    if attempt.exception() is None:
                        attempts.remove(attempt)
                        return attempt.result()
        finally:
            for attempt in attempts:
                if not attempt.cancel() and not attempt.cancelled() and not attempt.exception():
                    attempt.result().close()

    async def _connect_to(self, address: str) -> Connection:
        _, connection = await self.loop.create_connection(
            partial(Connection, self),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._name if self._tls is not None else None,
        )
        return connection
