"""WebSockets where another server runs ``Gateway``: messages of ASGI, frames towards the host."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from hashring.errors import requires_extra
from hashring.gateway.asgi import Message, Receive, Scope, Send
from hashring.gateway.asgi_head import request_head
from hashring.gateway.error_responses import RequestRefused
from hashring.gateway.headers import RequestHead, ResponseHead

with requires_extra("asgi", "WebSockets under another server"):
    from wsproto.connection import Connection, ConnectionType
    from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from hashring.gateway.client_side import RequestMaker, Tunnelled
    from hashring.gateway.http.host_connection import ByteReceiver, HostConnection

_HIGH = 64 * 1024  # bytes of frames that wait before the host is held up
_SLICE = 4 * 1024
"""Bytes of frames between two turns of the loop: 2,048 empty frames take some 10 ms."""

_NORMAL, _NO_CODE, _GONE, _TOO_BIG, _BAD_GATEWAY = 1000, 1005, 1006, 1009, 1014
_MOST_CODE = 4999
_GOING_AWAY = 1001
_HANDSHAKE = b"sec-websocket-"
_SHOWN = 64 * 1024  # bytes of a refusal's body that are passed on


async def serve_websocket(
    gateway: RequestMaker, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one WebSocket."""
    await AsgiWebSocket(gateway, scope, receive, send).run()


def _handshake(scope: Scope) -> RequestHead:
    """The head of a handshake of our own: the client's keys and extensions are the server's."""
    names = [name for name, _ in scope["headers"]]
    kept = [pair for pair in scope["headers"] if not pair[0].startswith(_HANDSHAKE)]
    head = request_head({**scope, "method": "GET", "headers": kept})
    head.length, head.chunked = None, False
    head.add(b"sec-websocket-version", b"13")
    head.add(b"sec-websocket-key", b64encode(os.urandom(16)))
    if b"sec-websocket-protocol" in names:
        offered = ", ".join(scope.get("subprotocols", ())).encode("latin-1")
        head.add(b"sec-websocket-protocol", offered)
    head.upgrade = b"websocket"
    return head


class AsgiWebSocket:
    """The client of one WebSocket, as ``receive`` and ``send`` of an ASGI server.

    A message is held until it is complete, with at most ``limits.message`` bytes; frames wait in at
    most 64 KiB, then the host is held up.
    """

    def __init__(self, gateway: RequestMaker, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway, self._scope, self._receive, self._send = gateway, scope, receive, send
        self.loop = asyncio.get_running_loop()
        self.address = scope.get("client")
        self.peer: str = self.address[0] if self.address else ""
        self.scheme = "https" if scope.get("scheme") == "wss" else "http"
        self._frames = Connection(ConnectionType.CLIENT)
        self._host: HostConnection | None = None
        self._tunnel: Tunnelled | None = None
        self._raw = bytearray()
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = self._refused = self._is_leaving = False
        self._status = 502
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = b""
        self._message: list[Any] = []
        self._size = 0

    async def run(self) -> None:
        """Open it at a host, and pass messages on until one side closes."""
        await self._receive()  # websocket.connect, before which nothing may be sent
        try:
            head = _handshake(self._scope)
        except RequestRefused:
            await self._deny(400)
            return
        request = self._gateway.open_request(self, head)
        request.end_body()
        try:
            request.begin()
            while self._host is None and not self._refused:
                await self._turn()
            if self._host is None:
                await self._deny(self._status)
            else:
                await self._accept()
                await self._both_ways(self._host)
        finally:
            request.lose_client()

    async def _turn(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _accept(self) -> None:
        headers = [pair for pair in self._headers if not pair[0].startswith(_HANDSHAKE)]
        chosen = dict(self._headers).get(b"sec-websocket-protocol")
        await self._send(
            {
                "type": "websocket.accept",
                "subprotocol": None if chosen is None else chosen.decode("latin-1"),
                "headers": [p for p in headers if p[0] not in (b"connection", b"upgrade")],
            }
        )

    async def _deny(self, status: int) -> None:
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close"})  # which servers answer by a 403
            return
        headers = [pair for pair in self._headers if pair[0] != b"content-length"]
        headers.append((b"content-length", str(len(self._body)).encode()))
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self._send(start)
        await self._send({"type": "websocket.http.response.body", "body": self._body})

    async def _both_ways(self, host: HostConnection) -> None:
        """Until one direction ends; the other one has nothing to say then."""
        ways = [
            asyncio.create_task(self._pass_from_client(host)),
            asyncio.create_task(self._pass_from_host(host)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ended = await asyncio.gather(*ways, return_exceptions=True)
            host.close(gently=True)
            self._end("closed")
        for error in ended:
            # OSError: what servers raise for a client that has gone
            if isinstance(error, Exception) and not isinstance(error, OSError):
                raise error

    def _end(self, why: str) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.tunnel_ended(why)

    def _count(self, taken: int, given: int) -> None:
        if self._tunnel is not None:
            self._tunnel.count_bytes(taken, given)

    async def _pass_from_client(self, host: HostConnection) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or _NO_CODE
                if code != _GONE:
                    host.write(self._close_frame(code, message.get("reason") or ""))
                self._end(f"closed {code} by the client")
                return
            if self._is_leaving:  # no frame may follow a Close frame
                continue
            text, data = message.get("text"), message.get("bytes")
            content: Any = text if text is not None else data or b""
            frame = TextMessage(content) if isinstance(content, str) else BytesMessage(content)
            self._count(len(content), 0)
            host.write(self._frames.send(frame))
            await self._writable.wait()

    def _close_frame(self, code: int, reason: str) -> bytes:
        try:
            given = CloseConnection(code if code != _NO_CODE else _NORMAL, reason)
            return bytes(self._frames.send(given))
        except LocalProtocolError:  # closed already
            return b""

    async def _pass_from_host(self, host: HostConnection) -> None:
        while True:
            while not self._raw:
                if self._ended:
                    self._end("closed by the host")
                    await self._send({"type": "websocket.close", "code": _BAD_GATEWAY})
                    return
                await self._turn()
            piece = bytes(self._raw[:_SLICE])
            del self._raw[:_SLICE]
            if len(self._raw) <= _HIGH:
                host.resume_reading()
            try:
                self._frames.receive_data(piece)
                for event in self._frames.events():
                    if await self._take(event, host):
                        return
            except RemoteProtocolError as error:
                self._end(f"the host sent no frames: {error}")
                await self._send({"type": "websocket.close", "code": _BAD_GATEWAY})
                return
            await asyncio.sleep(0)

    async def _take(self, event: Any, host: HostConnection) -> bool:
        """Pass one event on; whether the WebSocket is over."""
        if isinstance(event, Ping):
            host.write(self._frames.send(event.response()))
        elif isinstance(event, CloseConnection):
            code = int(event.code)
            self._end(f"closed {code} by the host")
            host.write(self._close_frame(code if code != _GONE else _NO_CODE, ""))
            code = _NORMAL if code == _NO_CODE else code
            if code == _GONE or code > _MOST_CODE:  # which a server does not send on
                code = _BAD_GATEWAY
            reason = event.reason or ""
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            return True
        elif isinstance(event, (TextMessage, BytesMessage)):
            return await self._collect(event, host)
        return False

    async def _collect(self, event: Any, host: HostConnection) -> bool:
        self._size += len(event.data)
        if self._size > self._gateway.limits.message:
            self._end("a message over limits.message")
            host.write(self._close_frame(_TOO_BIG, ""))
            await self._send({"type": "websocket.close", "code": _TOO_BIG})
            return True
        self._message.append(event.data)
        if event.message_finished:
            parts, self._message, self._size = self._message, [], 0
            content = type(parts[0])().join(parts)
            self._count(0, len(content))
            sent: Message = {"type": "websocket.send"}
            sent["text" if isinstance(content, str) else "bytes"] = (
                content if isinstance(content, str) else bytes(content)
            )
            await self._send(sent)
        return False

    # -- the bytes of the host --------------------------------------------------------------------

    def data_from_host(self, data: bytes) -> None:
        """Bytes came from the host."""
        self._raw += data
        if len(self._raw) > _HIGH and self._host is not None:
            self._host.pause_reading()
        self._changed.set()

    def host_ended(self, *, clean: bool) -> None:
        """The host has closed its side, or the connection was lost."""
        self._ended = True
        self._changed.set()

    def host_writable(self, *, writable: bool) -> None:
        """The host reads more slowly than the client sends, or has read all."""
        if writable:
            self._writable.set()
        else:
            self._writable.clear()

    def leave_host(self) -> None:
        """Ask the host to close; its answer closes the WebSocket of the client."""
        if self._host is not None and not self._is_leaving:
            self._is_leaving = True
            self._host.write(self._close_frame(_GOING_AWAY, ""))

    # -- the side of the client -------------------------------------------------------------------

    def write_continue(self) -> None:
        """Nothing: a handshake has no body."""

    def write_interim(self, head: ResponseHead) -> None:
        """Nothing: ASGI cannot express it."""

    def write_head(
        self, status: int, fields: list[bytes], length: bytes | None, *, has_body: bool, last: bool
    ) -> None:
        """The host, or the gateway, refuses."""
        self._status = status
        pairs = zip(fields[::3], fields[1::3], strict=True)
        self._headers = [(name[:-2], value) for name, value in pairs]

    def write_body(self, chunk: bytes) -> None:
        """Keep the beginning of a refusal's body."""
        self._body = (self._body + chunk)[:_SHOWN]

    def write_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """The refusal is complete."""
        self._refused = True
        self._changed.set()

    def flush(self) -> None:
        """Nothing: a refusal is sent when it is complete."""

    def pause_body(self) -> None:
        """Nothing: a handshake has no body."""

    def resume_body(self) -> None:
        """Nothing: a handshake has no body."""

    def cut(self, *, now: bool) -> None:
        """End it."""
        self._refused = self._ended = True
        self._changed.set()

    def unsent(self) -> int:
        """Bytes that wait for the server."""
        return len(self._raw)

    def open_tunnel(
        self, head: ResponseHead, fields: list[bytes], host: HostConnection, tunnel: Tunnelled
    ) -> ByteReceiver:
        """The host has switched: frames come from now on."""
        self.write_head(101, fields, None, has_body=False, last=False)
        self._host, self._tunnel = host, tunnel
        self._changed.set()
        return self
