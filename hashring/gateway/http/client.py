"""The client of the hosts: requests on connections of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from hashring.config.settings import Limits, Timeouts
from hashring.errors import requires_extra
from hashring.gateway.http.connections import (
    Connection,
    ConnectionPool,
    HostResponse,
    StaleConnection,
)
from hashring.gateway.upstream import (
    Headers,
    InvalidResponse,
    UpstreamResponse,
    UpstreamSocket,
)

if TYPE_CHECKING:
    from hashring.gateway.aiohttp_websocket import WebSocketClient

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2
_SHOULD_HAVE_LENGTH = frozenset({"POST", "PUT", "PATCH"})  # RFC 9110, section 8.6
_LONGEST_PAUSE = 1.0  # seconds between two checks of the connections


class HostClient:
    """A client of HTTP/1.1 with a pool of connections for each host.

    It can be made anywhere; connections begin with the first request. WebSockets are opened by
    aiohttp.
    """

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self._timeouts, self._limits = timeouts, limits
        self._pools: dict[str, ConnectionPool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._websockets: WebSocketClient | None = None
        limited = filter(None, (timeouts.first_byte, timeouts.idle, timeouts.keep_alive))
        self._pause = min(_LONGEST_PAUSE, max(0.01, min(limited) / 8))

    async def request(
        self,
        address: str,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> HostResponse:
        """Send one request; the response's head. Raises ``UpstreamError``.

        Where the host had closed an idle connection, an idempotent request is sent once more on a
        new connection to the same host.
        """
        pool = self._pool(address)
        stream = None if body is None or isinstance(body, bytes) else body
        data, chunked = encode_request(method, target, headers, body, pool.authority)
        connection = pool.take() or await pool.connect()
        head_only = method == "HEAD"
        try:
            return await self._send(connection, data, stream, chunked=chunked, head_only=head_only)
        except StaleConnection:
            if stream is not None or method not in _IDEMPOTENT:
                raise
        connection = await pool.connect()
        return await self._send(connection, data, None, chunked=False, head_only=head_only)

    async def _send(
        self,
        connection: Connection,
        data: bytes,
        stream: AsyncIterator[bytes] | None,
        *,
        chunked: bool,
        head_only: bool,
    ) -> HostResponse:
        if self._timer is None:
            self._timer = connection.pool.loop.call_later(self._pause, self._check)
        try:
            return await connection.send(data, stream, chunked=chunked, head_only=head_only)
        except asyncio.CancelledError:
            connection.close()
            raise

    async def connect(
        self, address: str, target: str, headers: Headers, subprotocols: Sequence[str]
    ) -> UpstreamSocket | UpstreamResponse:
        """Open a WebSocket; the host's response if it refuses. Raises ``UpstreamError``."""
        if self._websockets is None:
            with requires_extra("gateway", "WebSockets to hosts", option="upstream"):
                from hashring.gateway.aiohttp_websocket import WebSocketClient
            self._websockets = WebSocketClient(self._timeouts, self._limits)
        return await self._websockets.connect(address, target, headers, subprotocols)

    async def aclose(self) -> None:
        """Close all connections; a later request opens new ones."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()
        websockets, self._websockets = self._websockets, None
        if websockets is not None:
            await websockets.aclose()

    def _pool(self, address: str) -> ConnectionPool:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # an ended loop has no connections left
            self._loop, self._pools, self._timer = loop, {}, None
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = ConnectionPool(address, loop, self._timeouts)
        return pool

    def _check(self) -> None:
        """Look at the timeouts of all connections; one timer costs less than one for each."""
        assert self._loop is not None
        now = self._loop.time()
        left = [pool.check(now) for pool in self._pools.values()]
        self._timer = self._loop.call_later(self._pause, self._check) if any(left) else None


def encode_request(
    method: str,
    target: str,
    headers: Headers,
    body: bytes | AsyncIterator[bytes] | None,
    authority: str,
) -> tuple[bytes, bool]:
    """The bytes of a request with a body that is here, and whether one that follows is chunked.

    Raises ``InvalidResponse`` for control characters, which would begin another header.

    >>> encode_request("GET", "/", [], None, "web1:80")
    (b'GET / HTTP/1.1\\r\\nhost: web1:80\\r\\n\\r\\n', False)
    """
    names = {name for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"host: {authority}")
    lines += [f"{name}: {value}" for name, value in headers]
    chunked = False
    if "content-length" not in names:
        if body is None:
            if method in _SHOULD_HAVE_LENGTH:
                lines.append("content-length: 0")
        elif isinstance(body, bytes):
            lines.append(f"content-length: {len(body)}")
        else:
            chunked = True
            lines.append("transfer-encoding: chunked")
    lines.append("\r\n")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise InvalidResponse("a header of the request has control characters")
    data = text.encode()
    return (data + body if isinstance(body, bytes) else data), chunked
