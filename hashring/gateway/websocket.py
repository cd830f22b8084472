"""One WebSocket: two directions, one lease, and the code that either side closes with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from hashring.balancer import Lease
from hashring.errors import NoHostsError
from hashring.gateway.access import AccessEntry
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.error_responses import ERROR_RESPONSES, ErrorResponse, RequestRefused
from hashring.gateway.forwarded_request import ForwardedRequest
from hashring.gateway.generation import Generation
from hashring.gateway.headers import response_headers
from hashring.gateway.retry import try_hosts
from hashring.gateway.upstream import (
    ConnectError,
    InvalidResponse,
    UpstreamError,
    UpstreamResponse,
    UpstreamSocket,
    WebSocketClosed,
)

_SWITCHED = 101
_NO_CODE, _GONE = 1005, 1006  # never sent: no code was given, or the connection just ended
_NORMAL, _BAD_GATEWAY, _MOST_CODE = 1000, 1014, 4999
_HANDSHAKE = frozenset({b"sec-websocket-accept", b"sec-websocket-extensions",
                        b"sec-websocket-protocol", b"content-length"})  # fmt: skip


class WebSocketTunnel:
    """One WebSocket from its handshake to its close."""

    __slots__ = ("_closed", "_entry", "_gateway", "_receive", "_scope", "_send")

    def __init__(
        self, gateway: Generation, scope: Scope, receive: Receive, send: Send, entry: AccessEntry
    ) -> None:
        self._gateway, self._scope, self._entry = gateway, scope, entry
        self._receive, self._send = receive, send
        self._closed = False

    async def run(self) -> None:
        """Open it at a host, and pass messages on until one side closes."""
        entry = self._entry
        entry.request_id = f"{random.getrandbits(128):032x}"
        await self._receive()  # websocket.connect, before which nothing may be sent
        try:
            caller = ForwardedRequest(self._gateway, self._scope, entry)
            caller.identify()
            await try_hosts(self._gateway, caller, partial(self._talk, caller), _may_repeat)
        except RequestRefused as refused:
            await self._refuse(refused.problem)
        except NoHostsError as error:
            await self._refuse(ERROR_RESPONSES["no_host"], str(error))

    async def _talk(self, caller: ForwardedRequest, lease: Lease) -> None:
        wanted = self._scope.get("subprotocols", ())
        found: Any = await self._gateway.upstream.connect(
            lease.host.address, caller.target, caller.headers, wanted
        )
        if hasattr(found, "status"):
            await self._pass_on(found)
            return
        socket: UpstreamSocket = found
        try:
            await self._accept(socket, caller, lease)
            lease.started()
            await self._both_ways(socket)
        finally:
            await socket.close(_GONE, "")

    async def _accept(self, socket: UpstreamSocket, caller: ForwardedRequest, lease: Lease) -> None:
        headers = self._kept(socket.headers)
        cookie = caller.set_cookie(lease.host, retry=self._entry.tries > 1)
        if cookie is not None:
            headers.append((b"set-cookie", cookie.encode("latin-1")))
        headers.append((b"x-request-id", self._entry.request_id.encode()))
        self._entry.status = _SWITCHED
        accept = {"type": "websocket.accept", "headers": headers}
        await self._send({**accept, "subprotocol": socket.subprotocol})

    async def _both_ways(self, socket: UpstreamSocket) -> None:
        """Until one direction ends; the other one has nothing to say then."""
        ways = [
            asyncio.create_task(self._from_client(socket)),
            asyncio.create_task(self._from_host(socket)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ended = await asyncio.gather(*ways, return_exceptions=True)
        for error in ended:
            # OSError: what servers raise for a client that has gone
            if isinstance(error, Exception) and not isinstance(error, (UpstreamError, OSError)):
                raise error

    async def _from_client(self, socket: UpstreamSocket) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code") or _NO_CODE
                self._ended(code, "client")
                await socket.close(code, message.get("reason") or "")
                return
            text, data = message.get("text"), message.get("bytes")
            content = text if text is not None else data or b""
            self._entry.taken += len(content)
            await socket.send(content)

    async def _from_host(self, socket: UpstreamSocket) -> None:
        while True:
            try:
                content = await socket.receive()
            except WebSocketClosed as closed:
                self._ended(closed.code, "host")
                code = _NORMAL if closed.code == _NO_CODE else closed.code
                if code == _GONE or code > _MOST_CODE:  # which a server does not send on
                    code = _BAD_GATEWAY
                await self._send({"type": "websocket.close", "code": code, "reason": closed.reason})
                await socket.close(closed.code, "")
                return
            self._entry.given += len(content)
            await self._send(
                {"type": "websocket.send", "text": content}
                if isinstance(content, str)
                else {"type": "websocket.send", "bytes": content}
            )

    def _ended(self, code: int, by: str) -> None:
        """Log who closed it: the first who did, for the other one only answers."""
        if not self._closed:
            self._closed = True
            self._entry.why = f"closed {code} by the {by}"

    # -- no WebSocket -----------------------------------------------------------------------------

    async def _pass_on(self, answer: UpstreamResponse) -> None:
        """Forward the refusal of the host."""
        if not 200 <= answer.status < 600:
            raise InvalidResponse(f"status {answer.status}")
        await self._deny(answer.status, self._kept(answer.headers), b"")

    def _kept(self, headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = response_headers(headers, token_name=self._gateway.token_name)
        return [pair for pair in kept if pair[0] not in _HANDSHAKE]

    async def _refuse(self, problem: ErrorResponse, why: str = "") -> None:
        self._entry.why = why or self._entry.why or problem.code
        body = f"{problem.message}\n{problem.hint}\nRequest ID: {self._entry.request_id}\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await self._deny(problem.status, headers, body.encode())

    async def _deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self._entry.status == _SWITCHED:
            await self._send({"type": "websocket.close", "code": _BAD_GATEWAY})
            return
        self._entry.status = status
        if "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close"})  # which servers answer by a 403
            return
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self._send(start)
        await self._send({"type": "websocket.http.response.body", "body": body})


def _may_repeat(error: UpstreamError) -> bool:
    # a handshake is a GET, but a host may already have acted on it
    return isinstance(error, ConnectError)
