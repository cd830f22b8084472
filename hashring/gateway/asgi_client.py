"""Drives a request where another server runs ``Gateway`` as an ASGI application."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hashring.gateway.asgi import Message, Receive, Scope, Send
from hashring.gateway.asgi_head import request_head
from hashring.gateway.client_side import ClientRequest
from hashring.gateway.error_responses import RequestRefused
from hashring.gateway.headers import RequestHead, ResponseHead

if TYPE_CHECKING:
    from hashring.gateway.client_side import RequestMaker, Tunnelled
    from hashring.gateway.http.host_connection import ByteReceiver, HostConnection

_HIGH = 64 * 1024  # bytes of a response that wait for the server before the host is held up
_LATE = 0.2  # seconds before a request without a body listens for a hang-up


async def serve_scope(gateway: RequestMaker, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request or WebSocket. Cost: some 20 us beside the request itself."""
    if scope["type"] == "websocket":
        from hashring.gateway.asgi_websocket import serve_websocket

        await serve_websocket(gateway, scope, receive, send)
    else:
        await AsgiClient(gateway, scope, receive, send).run()


class AsgiClient:
    """The client of one request, as ``receive`` and ``send`` of an ASGI server.

    The task that the server made sends what the request writes; another one receives the body.
    """

    def __init__(self, gateway: RequestMaker, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway, self._scope, self._receive, self._send = gateway, scope, receive, send
        self.address = scope.get("client")
        self.peer: str = self.address[0] if self.address else ""
        self.scheme: str = scope.get("scheme", "http")
        self.due = 0.0
        self.loop = asyncio.get_running_loop()
        self._request: ClientRequest
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._taken = 0
        self._over = self._lost = self._is_full = self._is_head = False
        self._wake: asyncio.Future[None] | None = None
        self._resume = asyncio.Event()
        self._resume.set()
        self._listener: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve the request; returns when its response is sent or its client has gone."""
        try:
            head = request_head(self._scope)
        except RequestRefused:
            await self._send_plain(400)
            return
        self._is_head = head.method == b"HEAD"
        request = self._request = self._gateway.open_request(self, head)
        try:
            await self._begin(request, head)
            await self._send_all()
        finally:
            self._over = True
            request.lose_client()
            if self._listener is not None:
                self._listener.cancel()
            if self._later is not None:
                self._later.cancel()

    async def _begin(self, request: ClientRequest, head: RequestHead) -> None:
        # without a length and without chunks an HTTP/1 request has no body; others may have one
        one = head.version in ("1.1", "1.0")
        if head.length == 0 or (one and not head.chunked and head.length is None):
            request.end_body()
            self._later = self.loop.call_later(_LATE, self._listen)
        else:
            if not one:
                head.chunked = head.length is None
            if not head.expects_continue:
                await self._take(head)  # a short body comes with its head
            self._listener = self.loop.create_task(self._take_body(head))
        if not self._lost:
            request.begin()

    def _listen(self) -> None:
        self._listener = self.loop.create_task(self._take_body(None))

    async def _take_body(self, head: RequestHead | None) -> None:
        while not self._lost:
            await self._resume.wait()
            await self._take(head)

    async def _take(self, head: RequestHead | None) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._lose()
        elif head is not None and not self._lost:
            chunk = message.get("body", b"")
            self._taken += len(chunk)
            more = message.get("more_body", False)
            length = head.length
            if length is not None and (
                self._taken > length or (not more and self._taken != length)
            ):
                # bytes that would be read as the next request, or that are missing
                self._request.lose_client()
                self._lose()
                return
            if chunk:
                self._request.feed(chunk)
            if not more:
                self._request.end_body()

    def _lose(self) -> None:
        self._lost = True
        self._request.lose_client()
        self._wake_up()

    # -- the response -----------------------------------------------------------------------------

    async def _send_all(self) -> None:
        while not self._lost:
            start, self._start = self._start, None
            if start is not None:
                await self._send(start)
            chunks, over = self._chunks, self._over
            if chunks or over:
                self._chunks, self._size = [], 0
                body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                await self._send(
                    {"type": "http.response.body", "body": body, "more_body": not over}
                )
                if over:
                    return
                if self._is_full:
                    self._is_full = False
                    self._request.resume_response()
                continue
            if start is None:
                self._wake = self.loop.create_future()
                await self._wake

    async def _send_plain(self, status: int) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    def _wake_up(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    # -- the side of the client -------------------------------------------------------------------

    def write_continue(self) -> None:
        """Nothing: the server asks for the body when it is received."""

    def write_interim(self, head: ResponseHead) -> None:
        """Nothing: ASGI has no words for it."""

    def write_head(
        self, status: int, fields: list[bytes], length: bytes | None, *, has_body: bool, last: bool
    ) -> None:
        """Write the head of the response."""
        headers = [
            (name[:-2], value) for name, value in zip(fields[::3], fields[1::3], strict=True)
        ]
        if length is not None:
            headers.append((b"content-length", length))
        if last and self._scope.get("http_version") in ("1.0", "1.1"):
            headers.append((b"connection", b"close"))  # else the next request would be lost
        self._start = {"type": "http.response.start", "status": status, "headers": headers}

    def write_body(self, chunk: bytes) -> None:
        """Write some of the body."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > _HIGH and not self._is_full:
            self._is_full = True
            self._request.pause_response()

    def write_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Write the end of the response."""
        self._over = True
        self._wake_up()

    def flush(self) -> None:
        """Let the server's task send."""
        self._wake_up()

    def pause_body(self) -> None:
        """Receive no more."""
        self._resume.clear()

    def resume_body(self) -> None:
        """Receive more."""
        self._resume.set()

    def cut(self, *, now: bool) -> None:
        """Return early: the server then ends the connection."""
        self._lost = True
        self._wake_up()

    def unsent(self) -> int:
        """Bytes that wait for the server."""
        return self._size

    def open_tunnel(
        self, head: ResponseHead, fields: list[bytes], host: HostConnection, tunnel: Tunnelled
    ) -> ByteReceiver:
        """Not here: no request of ASGI offers an upgrade."""
        raise AssertionError("an upgrade of an HTTP request")
