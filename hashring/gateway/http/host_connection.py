"""A connection to a host: it writes one request at a time and gives its response to a receiver."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import httptools

from hashring.gateway.headers import (
    RESPONSE_KINDS,
    ResponseHead,
    is_trailer,
    learn_response_kind,
)
from hashring.gateway.http.sockets import acked_bytes, set_no_delay
from hashring.gateway.upstream import (
    ConnectionLost,
    InvalidResponse,
    ResponseReceiver,
    StaleConnection,
    UpstreamError,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from hashring.config.settings import Timeouts

MAX_HEAD: Final = 64 * 1024
"""Bytes of a response's head: eight times what servers send by default, for long cookies."""

MAX_FIELDS: Final = 256
MAX_INTERIM: Final = 16
"""Interim responses (1xx) before a response: a host sends one or two."""

_TOO_LONG = f"a response head of more than {MAX_HEAD} bytes or {MAX_FIELDS} headers"
_CRLF = b"\r\n"
_NO_BODY = frozenset({204, 304})


class ByteReceiver(Protocol):
    """Takes the bytes of a connection after a switch of protocols, as a tunnel does."""

    def data_from_host(self, data: bytes) -> None:
        """Bytes came from the host."""

    def host_ended(self, *, clean: bool) -> None:
        """The host has closed its side, or the connection was lost."""

    def host_writable(self, *, writable: bool) -> None:
        """The host reads more slowly than bytes are written, or has read them."""

    def leave_host(self) -> None:
        """Send the host nothing more, so that it ends its side; what it still sends passes."""


class ConnectionOwner(Protocol):
    """Where the connection is kept while it is idle: ``ConnectionPool``."""

    loop: asyncio.AbstractEventLoop
    timeouts: Timeouts
    authority: bytes
    """The address of the host, as in the header Host."""

    def put(self, connection: HostConnection, /) -> None:
        """Keep an idle connection."""

    def remove_idle(self, connection: HostConnection, /) -> None:
        """Use the connection for no further request."""

    def forget(self, connection: HostConnection, /) -> None:
        """Drop a closed connection."""


class HostConnection(asyncio.Protocol):
    """One connection to a host, for one request at a time.

    It returns to its pool only after a complete response to a complete request, without a byte
    beyond the response.
    """

    def __init__(self, pool: ConnectionOwner) -> None:
        self.pool = pool
        self.closed = False
        self._limit: float | None = None
        """Seconds for which the next byte is awaited, or for which an idle connection is kept."""

        self._since = 0.0  # the round of checks that saw the limit first; 0 before it
        self._transport: Any = None
        self._parser = self._new_parser()
        self._receiver: ResponseReceiver | None = None
        self._tunnel: ByteReceiver | None = None
        self._head = ResponseHead()
        self._raw = b""  # the head so far, as long as it is not complete
        self._trailers: list[tuple[bytes, bytes]] = []
        self._used = self._got_bytes = self._has_response = self._request_complete = False
        self._head_only = self._in_head = self._finished = self._excess = False
        self._until_close = self._switching = self._paused = False
        self._acked: int | None = None  # bytes that the host's system had before the request
        self._is_unread = False
        self._is_plain = False  # whether the head begins with HTTP/1.1, as most do
        self._head_bytes = self._interim = self._trailer_bytes = self._trailer_count = 0

    # -- a request --------------------------------------------------------------------------------

    def send(
        self, receiver: ResponseReceiver, data: bytes, *, complete: bool, head_only: bool
    ) -> None:
        """Write a request whose response ``receiver`` takes; ``complete``: with all of its body."""
        self._receiver = receiver
        self._head_only = head_only
        self._got_bytes = self._finished = self._has_response = False
        self._in_head, self._request_complete = True, complete
        self._head_bytes = self._interim = 0
        self._transport.write(data)
        if complete:
            self._limit, self._since = self.pool.timeouts.first_byte, 0.0
        else:  # the request's own timeouts apply until all of it is sent
            self._limit = None

    def write(self, data: bytes) -> None:
        """Write more of the request's body, or bytes of a tunnel."""
        if not self.closed:
            self._transport.write(data)

    def complete_request(self) -> None:
        """All of the request's body has been written."""
        self._request_complete = True
        if not self._has_response:
            self.expect(self.pool.timeouts.first_byte)

    def expect(self, seconds: float | None) -> None:
        """The next byte is overdue after ``seconds``, to the pause between two checks.

        None is no limit. The clock is read by ``check``: three readings for each request would
        cost as much as a look-up.
        """
        self._limit, self._since = seconds, 0.0

    def pause_reading(self) -> None:
        """Hold up the host."""
        if not self.closed and not self._transport.is_closing():
            self._limit = None
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.closed and not self._transport.is_closing():
            if self._has_response and self._tunnel is None:
                self.expect(self.pool.timeouts.idle)
            self._paused = False
            self._transport.resume_reading()

    def tunnel(self, tunnel: ByteReceiver) -> None:
        """From now on the bytes go to ``tunnel``."""
        self._tunnel, self._receiver = tunnel, None
        self._limit = None

    def write_eof(self) -> None:
        """Close this side once all is written."""
        if not self.closed and self._transport.can_write_eof():
            self._transport.write_eof()

    def check(self, now: float) -> None:
        """Close the connection if it is overdue or has been idle for too long."""
        if self._limit is None:
            return
        if not self._since:
            self._since = now
        elif now - self._since >= self._limit:
            if self._receiver is None:
                self.close()
            else:
                self.fail(UpstreamTimeout("no byte of the response came in time"))

    def is_usable(self, *, certain: bool = False) -> bool:
        """Whether the host has not closed it, as far as is known.

        ``certain`` also asks the system, which costs two calls: for requests that must not be sent
        twice. What the host's system has acknowledged is noted: if it is no more when the
        connection ends, nothing of the next request has arrived.
        """
        if self.closed or self._transport.is_closing():
            return False
        if certain:
            sock = self._transport.get_extra_info("socket")
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
            self._acked = acked_bytes(sock)
            return not poll.poll(0)  # an idle connection has nothing to read but its end
        return True

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """The connection is open."""
        self._transport = transport
        set_no_delay(transport)

    def pause_writing(self) -> None:
        """The host reads more slowly than the client sends."""
        if self._tunnel is not None:
            self._tunnel.host_writable(writable=False)
        elif self._receiver is not None:
            self._receiver.pause_upload()

    def resume_writing(self) -> None:
        """The host has read what was written."""
        if self._tunnel is not None:
            self._tunnel.host_writable(writable=True)
        elif self._receiver is not None:
            self._receiver.resume_upload()

    def data_received(self, data: bytes) -> None:
        """Parse bytes of a response."""
        if self._tunnel is not None:
            self._tunnel.data_from_host(data)
            return
        receiver = self._receiver
        if receiver is None:  # not a response to any request
            self.close()
            return
        if not self._got_bytes:
            self._got_bytes = True
            self._is_plain = data.startswith(b"HTTP/1.1 ")
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._since = 0.0
        error = self._feed(data, receiver)
        if self._tunnel is not None or self._receiver is not receiver:
            return  # a switch of protocols, or a head that was read once more
        if self._finished:
            self._done(keep=error is None and not self._excess)
            return
        if error is not None:
            self.fail(error)
        elif self._in_head:
            if self._head_bytes > MAX_HEAD:
                self.fail(InvalidResponse(_TOO_LONG))
            self._raw += data
        receiver.flush()

    def _feed(self, data: bytes, receiver: ResponseReceiver) -> UpstreamError | None:
        """Give ``data`` to the parser; what is wrong with it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as raised:
            if self._switching:
                receiver.receive_switch(self._head, data[raised.args[0] :])
                return None
            return InvalidResponse("an upgrade that was not requested")
        except httptools.HttpParserCallbackError as raised:
            if not isinstance(raised.__context__, UpstreamError):
                raise
            return raised.__context__
        except httptools.HttpParserError as raised:
            if self._in_head and not self._switching and self._repair(data):
                return None
            return InvalidResponse(f"not valid HTTP: {raised}")
        return None

    def _repair(self, data: bytes) -> bool:
        """Read a head with equal lengths once more, with one (RFC 9112, section 6.3)."""
        head, end, body = (self._raw + data).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
        if not end or len({line[15:].strip(b" \t") for line in lengths}) != 1 or len(lengths) < 2:
            return False
        for line in lengths[1:]:
            lines.remove(line)
        self._parser, self._head, self._raw = self._new_parser(), ResponseHead(), b""
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        return True

    def eof_received(self) -> bool:
        """The host sends nothing more."""
        if self._tunnel is not None:
            self._tunnel.host_ended(clean=True)
            return True  # the other direction may go on
        self.pool.remove_idle(self)  # no request may be sent on it from now on
        self._note_unread()
        if self._has_response and self._until_close:
            receiver = self._receiver
            self._done(keep=False)
            if receiver is not None:
                receiver.flush()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is closed."""
        if self._tunnel is not None:
            self.closed = True
            self.pool.forget(self)
            self._tunnel.host_ended(clean=False)
        elif not self.closed:
            why = "the host closed the connection" + ("" if error is None else f": {error}")
            if self._used and not self._got_bytes:
                self.fail(StaleConnection(why, unread=self._is_unread))
            else:
                self.fail(ConnectionLost(why))

    def _note_unread(self) -> None:
        """Note whether the host closed its side before any of the request arrived."""
        if self._acked is not None and self._receiver is not None and not self._got_bytes:
            now = acked_bytes(self._transport.get_extra_info("socket"))
            self._is_unread = now == self._acked

    # -- httptools --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A message begins; after the response it is excess."""
        if self._finished:
            self._excess = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer after the body."""
        if self._in_head:
            # as ResponseHead.add, whose call would be a sixth of what a header costs
            head = self._head
            kind, _, prefix = RESPONSE_KINDS.get(name) or learn_response_kind(name)
            if kind:
                head.special.append((kind, prefix, value))
            else:
                head.fields += (prefix, value, _CRLF)
        elif not self._finished:
            self._trailer_count += 1
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_count > MAX_FIELDS or self._trailer_bytes > MAX_HEAD:
                raise InvalidResponse(_TOO_LONG)
            if is_trailer(name):
                self._trailers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Give the head to the request."""
        if self._finished:
            return
        parser, head = self._parser, self._head
        receiver = self._receiver
        assert receiver is not None  # bytes without a request never reach the parser
        status = head.status = parser.get_status_code()
        if head.count > MAX_FIELDS:
            raise InvalidResponse(_TOO_LONG)
        head.read_framing()
        if status < 200:
            self._take_interim(receiver, head)
            return
        if status > 599:
            raise InvalidResponse(f"the status {status}")
        if not self._is_plain and parser.get_http_version() not in ("1.1", "1.0"):
            raise InvalidResponse(f"HTTP/{parser.get_http_version()}")
        if self._head_bytes > MAX_HEAD and head.size > MAX_HEAD:
            raise InvalidResponse(_TOO_LONG)
        self._in_head, self._raw = False, b""
        self._find_end(head)
        self._has_response = True
        self._limit, self._since = self.pool.timeouts.idle, 0.0
        receiver.receive_head(head)
        if self._head_only:  # the parser would wait for the body that the length announces
            self._finished = True

    def _find_end(self, head: ResponseHead) -> None:
        """How the body ends (RFC 9112, section 6.3)."""
        if self._head_only or head.status in _NO_BODY:
            if head.status in _NO_BODY:
                head.length = None  # a 304 may have one, which is of another response
        elif head.problem is not None:
            raise InvalidResponse(head.problem)
        elif head.coded:
            # chunks win over a length beside them, and such a connection is not used again
            if head.length is not None:
                head.closes, head.length = True, None
        else:
            self._until_close = head.length is None

    def _take_interim(self, receiver: ResponseReceiver, head: ResponseHead) -> None:
        if head.status < 100:
            raise InvalidResponse(f"the status {head.status}")
        if head.status == 101:
            if not head.upgrade:
                raise InvalidResponse("a switch to no protocol")
            self._switching = True
            return
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise InvalidResponse(f"more than {MAX_INTERIM} interim responses")
        receiver.receive_interim(head)

    def on_body(self, body: bytes) -> None:
        """Give bytes of the body to the request; those after a HEAD are excess."""
        if self._finished or self._receiver is None:
            self._excess = True
        else:
            self._receiver.receive_body(body)

    def on_message_complete(self) -> None:
        """The response is complete, or was an interim one."""
        if self._switching:
            return
        if self._in_head:
            self._head, self._is_plain = ResponseHead(), False
        elif not self._finished:
            self._finished = True
            if not self._parser.should_keep_alive():
                self._head.closes = True

    # -- its end ----------------------------------------------------------------------------------

    def _done(self, *, keep: bool) -> None:
        receiver, self._receiver = self._receiver, None
        head, trailers = self._head, self._trailers
        self._head, self._has_response = ResponseHead(), False
        if self._trailer_count:
            self._trailers, self._trailer_count, self._trailer_bytes = [], 0, 0
        if self._head_only:
            head.closes = head.closes or self._parser.get_http_version() == "1.0"
            self._parser = self._new_parser()
        if (
            keep
            and not head.closes
            and not self._until_close
            and self._request_complete  # else the rest would be read as the next request
            and not self._transport.is_closing()
        ):
            self._used = True
            if self._paused:  # for a client that had not read the end
                self.resume_reading()
            self._limit, self._since = self.pool.timeouts.keep_alive, 0.0
            self.pool.put(self)
        else:
            self.close()
        if receiver is not None:
            receiver.receive_end(trailers)

    def fail(self, error: UpstreamError) -> None:
        """Close it, and end its request with ``error``."""
        receiver, self._receiver = self._receiver, None
        self.close()
        if receiver is not None:
            receiver.receive_error(error)

    def close(self, *, gently: bool = False) -> None:
        """Close it; without ``gently``, do not wait until what was written is sent."""
        self._receiver = None
        if self.closed:
            return
        self.closed = True
        self._limit = None
        self.pool.forget(self)
        if self._transport is not None:
            if gently:
                self._transport.close()
            else:
                self._transport.abort()

    def _new_parser(self) -> Any:
        make: Callable[[Any], Any] = httptools.HttpResponseParser
        parser = make(self)
        # chunks win over a length beside them (RFC 9112, section 6.3); the length is not passed on
        parser.set_dangerous_leniencies(lenient_chunked_length=True)
        return parser
