"""A connection of a client to our server: HTTP/1.1 by httptools, strict, with bounds in each state.

What may be read in two ways is refused before a request sees it, and the connection is closed:
400: no or two hosts, two lengths or one that is not a number, a length beside chunks, a target
that is not valid, an upgrade with a body. 408: no complete head in time. 431: a head over the
limits. 501: an encoding other than ``chunked``. 505: a version other than 1.0 and 1.1. The trailers
of requests are dropped, because merged into the headers they could become any of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import httptools

from hashring.gateway.client_side import ClientRequest
from hashring.gateway.headers import (
    REQUEST_KINDS,
    BadRequest,
    RequestHead,
    ResponseHead,
    learn_request_kind,
)
from hashring.gateway.http.host_connection import ByteReceiver, HostConnection
from hashring.gateway.http.sockets import set_keep_alive, set_no_delay
from hashring.gateway.http.status_lines import STATUS_LINES, refusal
from hashring.gateway.tunnel import Tunnel

if TYPE_CHECKING:
    from hashring.config.settings import Limits, Timeouts
    from hashring.gateway.client_side import Tunnelled

_HIGH = 64 * 1024  # bytes of responses that wait for the client before its host is held up
_SLICE = 16 * 1024
"""Bytes that are parsed at once between two requests: they hold at most 600 heads."""

_QUEUED = 16  # requests that wait for the response to an earlier one, before reading stops
_LINGER_SECONDS = 2.0
"""Seconds for which what a refused client still sends is read and dropped: the system would else
reset the connection, and the client might not see the response (RFC 9112, section 9.6)."""

_LINGER_BYTES = 1 << 20
_CRLF: Final = b"\r\n"
_TOO_EARLY = "bytes of another protocol before the upgrade was accepted"
_INVALID = "this is not valid HTTP/1.1"


class Acceptor(Protocol):
    """What has accepted the connection: ``HttpListener``."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    timeouts: Timeouts

    def open_request(self, client: ClientConnection, head: RequestHead, /) -> ClientRequest:
        """The request of ``head``."""

    def admit(self, connection: ClientConnection, /) -> bool:
        """Count a connection; False if there are too many."""

    def forget(self, connection: ClientConnection, /) -> None:
        """Drop a connection that is closed."""


class _ParserStop(Exception):  # noqa: N818  # it only ends the parser's work
    """What was read last is refused."""


class ClientConnection(asyncio.Protocol):
    """One connection of a client: its requests one after the other, each with its response."""

    def __init__(self, listener: Acceptor) -> None:
        self.listener = listener
        self.loop = listener.loop
        self._most_headers = listener.limits.headers
        self.address: Any = None
        self.peer = ""
        self.scheme = "http"
        self.due = 0.0  # as a member of the timer wheel
        self._limit = 0.0  # seconds for a head, an idle connection or a lingering close; 0: without
        self._since = 0.0  # the round of checks that saw the limit first; 0 before it
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._head = RequestHead()
        self._url = b""
        self._active: ClientRequest | None = None  # whose response is due
        self._active_head: RequestHead
        self._reading: ClientRequest | None = None  # whose body is read
        self._queue: deque[tuple[ClientRequest, RequestHead]] = deque()
        self._held = b""  # what is parsed when a queued request begins
        self._out: list[bytes] = []
        self._tunnel: Tunnel | None = None
        self._refusal: tuple[int, str] | None = None
        self._fruitless = 0  # bytes since anything came of them
        self._drained = 0  # bytes that were dropped in a lingering close
        self._in_head = True
        self._lost = self._paused = self._body_paused = self._full = self._parsing = (
            self._closing
        ) = False
        self._awaits_upgrade = self._is_running = self._is_waiting = False
        self._chunks = self._keep = self._has_begun = False

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """A client has come: its first head is due."""
        self._transport = transport
        set_no_delay(transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.address, self.peer = peer, peer[0]
        if transport.get_extra_info("ssl_object") is not None:
            self.scheme = "https"
        transport.set_write_buffer_limits(high=_HIGH)
        self._limit = self.listener.timeouts.head
        if not self.listener.admit(self):
            self._refuse(503, "this gateway has as many connections as it may have")

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        self._lost = True
        self.listener.forget(self)
        if self._tunnel is not None:
            self._tunnel.client_ended(clean=False)
            return
        active, self._active = self._active, None
        if active is not None:
            active.lose_client()
        while self._queue:
            self._queue.popleft()[0].lose_client()
        self._reading = None

    def eof_received(self) -> bool:
        """The client sends nothing more."""
        if self._tunnel is not None:
            self._tunnel.client_ended(clean=True)
            return True
        return False

    def pause_writing(self) -> None:
        """The client reads more slowly than it is sent to."""
        self._full = True
        if self._tunnel is not None:
            self._tunnel.client_writable(writable=False)
        elif self._active is not None:
            self._active.pause_response()

    def resume_writing(self) -> None:
        """The client has read what was sent."""
        self._full = False
        if self._tunnel is not None:
            self._tunnel.client_writable(writable=True)
        elif self._active is not None:
            self._active.resume_response()

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what goes on without end."""
        if self._tunnel is not None:
            self._tunnel.data_from_client(data)
        elif self._closing or self._refusal is not None:
            self._drained += len(data)
            if self._drained > _LINGER_BYTES:
                self._transport.abort()
        elif self._awaits_upgrade:
            self._refuse(400, _TOO_EARLY)
        elif self._held:
            self._held += data
        elif len(data) <= _SLICE:
            self._parsing = True
            rest = self._feed(data)
            self._parsing = False
            if rest:
                self._parse(rest)
            elif self._queue:
                self._begin_next()
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """Parse in slices, so that a segment of small requests makes no long queue."""
        self._parsing = True
        if self._awaits_upgrade:
            self._refuse(400, _TOO_EARLY)
        while data and self._refusal is None and not self._lost:
            if len(self._queue) >= _QUEUED:
                self._held = data
                self._update_reading()
                break
            size = _HIGH if self._reading is not None else _SLICE
            piece, data = (data, b"") if len(data) <= size else (data[:size], data[size:])
            rest = self._feed(piece)
            if rest:
                data = rest + data
            if data and self._awaits_upgrade:
                self._refuse(400, _TOO_EARLY)
            if self._refusal is None:
                self._begin_next()
        self._parsing = False
        self._begin_next()

    def _feed(self, data: bytes) -> bytes:
        """Give ``data`` to the parser; what is left after an upgrade that was ignored."""
        self._fruitless += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._parse_on(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidURLError as error:
            patched = self._encode_target(data)
            if patched:
                return patched
            self._refuse(*(self._refusal or (400, f"{_INVALID}: {error}")))
        except httptools.HttpParserError as error:
            self._refuse(*(self._refusal or (400, f"{_INVALID}: {error}")))
        else:
            fruitless = self._fruitless
            if fruitless and (
                fruitless > self.listener.limits.head
                or len(self._head.headers) > self._most_headers
            ):
                self._refuse(*self._endless())
            elif fruitless and self._reading is None:
                if self._is_waiting or not self._limit:
                    self._limit, self._since = self.listener.timeouts.head, 0.0
                self._is_waiting = False
        return b""

    def _parse_on(self, rest: bytes) -> bytes:
        """A parser for what follows a head that offered an upgrade, after which ours has stopped.

        A body whose head offered HTTP/2 is read by a parser that is given its framing only.
        """
        self._parser = httptools.HttpRequestParser(self)
        reading, self._reading = self._reading, None
        if reading is None:
            return rest
        head = self._head
        frame = (
            b"Transfer-Encoding: chunked"
            if head.chunked
            else b"Content-Length: %d" % (head.length or 0)
        )
        self._head, self._in_head = RequestHead(), False
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\n" + frame + b"\r\n\r\n")
        self._url, self._reading = b"", reading
        return rest

    def _encode_target(self, data: bytes) -> bytes:
        """``data`` with UTF-8 in its first target percent-encoded; empty if that is not the fault.

        Clients that do so are common, and an encoded target has one meaning.
        """
        line, end, rest = data.partition(b"\r\n")
        if self._fruitless != len(data) or not end or line.isascii() or self._url:
            return b""  # it began in an earlier piece, or after another request
        try:
            line.decode()
        except UnicodeDecodeError:
            return b""
        self._parser, self._head = httptools.HttpRequestParser(self), RequestHead()
        self._fruitless = 0
        line = b"".join([b"%c" % byte if byte < 128 else b"%%%02X" % byte for byte in line])
        return line + end + rest

    # -- httptools --------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """Some of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, which is dropped."""
        if self._in_head:
            # as RequestHead.add, whose call would be a sixth of what a header costs
            head = self._head
            kind, lower, prefix = REQUEST_KINDS.get(name) or learn_request_kind(name)
            head.headers.append((lower, value))
            if kind:
                head.add_special(kind, lower, value)
            else:
                head.fields += (prefix, value, _CRLF)

    def on_headers_complete(self) -> None:
        """The head is complete: check it, and queue its request."""
        if not self._in_head:
            return  # the framing that was given to a second parser
        self._in_head = False
        parser, head = self._parser, self._head
        head.method, head.target = parser.get_method(), self._url
        head.version = version = parser.get_http_version()
        self._url, self._limit, self._is_waiting = b"", 0.0, False
        if version not in ("1.1", "1.0"):
            self._stop(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if head.method == b"CONNECT":
            self._stop(501, "this is not a proxy that connects")
        if len(head.headers) > self._most_headers or (
            self._fruitless > 4096 and head.size > self.listener.limits.head
        ):
            self._stop(*self._endless())
        self._fruitless = 0
        try:
            head.check(offers_upgrade=parser.should_upgrade())
        except BadRequest as error:
            self._stop(error.status, error.why)
        if head.upgrade is not None:
            if self._active is not None or self._queue:
                self._stop(400, "an upgrade before the response to an earlier request")
            self._awaits_upgrade = True
        if version == "1.0":
            head.keep_alive = head.expects_continue = False
        else:
            head.keep_alive = parser.should_keep_alive()
        request = self.listener.open_request(self, head)
        self._queue.append((request, head))
        if head.chunked or head.length:
            self._reading = request
        else:
            request.end_body()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._fruitless = 0
        if self._reading is not None:
            self._reading.feed(body)

    def on_message_complete(self) -> None:
        """The body is complete. Ahead of a body that a second parser reads, it is not."""
        self._fruitless = 0
        reading = self._reading
        if reading is not None and self._parser.should_upgrade():
            return
        self._reading, self._in_head = None, True
        self._head = RequestHead()
        if reading is not None:
            reading.end_body()

    # -- one request after the other --------------------------------------------------------------

    def _begin_next(self) -> None:
        """Begin the next request, and those after it that end immediately."""
        if self._is_running:
            return  # a response ended inside this loop, which goes on
        self._is_running = True
        while self._active is None and self._queue and not self._lost and not self._closing:
            request, head = self._queue.popleft()
            self._active, self._active_head = request, head
            self._keep = head.keep_alive
            self._chunks = self._has_begun = False
            if self._full:
                request.pause_response()
            request.begin()
        self._is_running = False
        # the body of a request that has begun may be among what is held
        if self._held and len(self._queue) < _QUEUED and not self._parsing:
            self._parse_held()

    def _parse_held(self) -> None:
        held, self._held = self._held, b""
        self._parse(held)
        self._update_reading()

    def _end_active(self) -> None:
        """The response is complete: the next request, or the end of the connection."""
        request, self._active = self._active, None
        if self._lost:
            return
        if not self._keep or self._reading is request:
            self._close()
        elif self._queue:
            if not self._parsing:
                self._begin_next()
        elif self._held:
            if not self._parsing:
                self._parse_held()
        elif self._refusal is not None:
            self._say(*self._refusal)
        else:
            self._awaits_upgrade = False
            if self._body_paused:
                self.resume_body()
            if self._reading is None and not self._limit:
                self._is_waiting = True
                self._limit, self._since = self.listener.timeouts.client_idle, 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        return self._active is None and not self._queue and self._tunnel is None

    def close_idle(self) -> None:
        """Close the connection unless a request is in progress."""
        if self.is_idle and not self._lost:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection immediately."""
        if not self._lost:
            self._transport.abort()

    def end(self) -> None:
        """Close the connection, whatever is in progress: a tunnel by its regular end."""
        if self._tunnel is not None and not self._lost:
            self._transport.close()
        else:
            self.abort()

    def _close(self) -> None:
        """Send the rest and close; read what still comes, so that the client sees the response."""
        if self._closing or self._lost:
            return
        self._closing = True
        self._limit, self._since = _LINGER_SECONDS, 0.0
        unread = self._reading is not None or self._refusal is not None or self._held
        if unread and self.scheme == "http" and self._transport.can_write_eof():
            self._transport.write_eof()
            self._held = b""
            self._body_paused = False
            self._update_reading()
        else:
            self._transport.close()

    # -- the side of the client -------------------------------------------------------------------

    def write_continue(self) -> None:
        """Ask for the body."""
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write_interim(self, head: ResponseHead) -> None:
        """Send an interim response; a client of HTTP/1.0 would take it for the response."""
        if self._active_head.version == "1.1":
            self._out += (STATUS_LINES[head.status], *head.fields, _CRLF)

    def write_head(
        self, status: int, fields: list[bytes], length: bytes | None, *, has_body: bool, last: bool
    ) -> None:
        """Write the head of the response."""
        out = self._out
        self._has_begun = True
        out.append(STATUS_LINES[status])
        out += fields
        if length is not None:
            out += (b"content-length: ", length, _CRLF)
        elif has_body:
            if self._active_head.version == "1.1":
                self._chunks = True
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                self._keep = False  # the end of the connection is the end of the body
        if last:
            self._keep = False
        out.append(_CRLF if self._keep else b"connection: close\r\n\r\n")

    def write_body(self, chunk: bytes) -> None:
        """Write some of the body."""
        self._out += (b"%x\r\n" % len(chunk), chunk, _CRLF) if self._chunks else (chunk,)

    def write_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Write the end of the response."""
        if self._chunks:
            lines = [b"%b: %b\r\n" % pair for pair in trailers]
            self._out.append(b"0\r\n" + b"".join(lines) + _CRLF)
        self.flush()
        self._end_active()

    def flush(self) -> None:
        """Send what was written."""
        out = self._out
        if out:
            self._out = []
            if not self._lost:
                self._transport.write(b"".join(out))

    def pause_body(self) -> None:
        """Read no more."""
        if not self._body_paused:
            self._body_paused = True
            self._update_reading()

    def resume_body(self) -> None:
        """Read on."""
        if self._body_paused:
            self._body_paused = False
            self._update_reading()

    def _update_reading(self) -> None:
        paused = self._body_paused or bool(self._held)
        if paused != self._paused and not self._lost and not self._transport.is_closing():
            self._paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def cut(self, *, now: bool) -> None:
        """End the connection, so that the client notices that the response is incomplete."""
        self._active = None
        if now:
            self.abort()
        else:
            self.flush()
            self._transport.close()

    def unsent(self) -> int:
        """Bytes that wait for the client to read."""
        return 0 if self._lost else int(self._transport.get_write_buffer_size())

    # -- another protocol -------------------------------------------------------------------------

    def open_tunnel(
        self, head: ResponseHead, fields: list[bytes], host: HostConnection, tunnel: Tunnelled
    ) -> ByteReceiver:
        """Send 101; from now on bytes pass as they are."""
        self._active = None
        self._transport.write(b"".join((STATUS_LINES[101], *fields, _CRLF)))
        self._tunnel = passed = Tunnel(self, host, tunnel)
        self._limit = 0.0
        set_keep_alive(self._transport)
        self.resume_body()
        return passed

    def write_bytes(self, data: bytes) -> None:
        """Send bytes of a tunnel."""
        if not self._lost:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Close this side of a tunnel."""
        if not self._lost and self._transport.can_write_eof():
            self._transport.write_eof()

    pause_reading, resume_reading = pause_body, resume_body  # of a tunnel

    def close(self) -> None:
        """Close a tunnel once all is sent."""
        if not self._lost:
            self._transport.close()

    # -- refusing ---------------------------------------------------------------------------------

    def _stop(self, status: int, why: str) -> None:
        self._refusal = status, why
        raise _ParserStop

    def _endless(self) -> tuple[int, str]:
        limits = self.listener.limits
        return 431, f"the head is over {limits.head} bytes or {limits.headers} fields"

    def _refuse(self, status: int, why: str) -> None:
        """Read no more; say why after the responses to what came before, if that is possible."""
        self._refusal = status, why
        self._limit = 0.0
        active, reading = self._active, self._reading
        self._reading = None
        if self._awaits_upgrade or (active is not None and active is reading):
            # the request in progress cannot be completed
            while self._queue:
                self._queue.popleft()[0].lose_client()
            self._active, begun = None, active is not None and self._has_begun
            if active is not None:
                active.lose_client()
            if begun:
                self.abort()
                return
        elif reading is not None and self._queue:  # the last one, whose body is not complete
            self._queue.pop()[0].lose_client()
        if self._active is None and not self._queue:
            self._say(status, why)

    def _say(self, status: int, why: str) -> None:
        if self._lost or self._transport.is_closing():
            return
        self._transport.write(refusal(status, why))
        self._close()

    # -- its time ---------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Close the connection if its head, its next request or its end is overdue."""
        if not self._limit or self._lost:
            return
        if not self._since:
            self._since = now
            return
        if now - self._since < self._limit:
            return
        if self._closing:
            self.abort()
        elif self._active is not None or self._queue:
            self._since = now  # a part of the next head is here, while a response is on its way
        elif self._fruitless:
            self._refuse(408, f"no complete head in {self.listener.timeouts.head:g} s")
        else:
            self._transport.close()
