"""The client of the hosts by aiohttp, without its redirects, cookies, retries and decoding."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hashring.config.settings import Limits, Timeouts
from hashring.errors import ConfigError, requires_extra
from hashring.gateway.upstream import (
    ConnectError,
    ConnectionLost,
    Headers,
    InvalidResponse,
    UpstreamError,
    UpstreamResponse,
    UpstreamSocket,
    UpstreamTimeout,
    WebSocketClosed,
)

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

_OWN_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
)
_NO_CODE, _GONE = 1005, 1006


class AiohttpUpstream:
    """Sends requests by aiohttp. Make it anywhere; its session begins with the first request.

    Raises ``ConfigError`` when aiohttp is missing, or is one whose own retries cannot be ended.
    """

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self._lib = _library()
        self._timeouts = timeouts
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None
        self._idle = timeouts.idle if timeouts.idle != timeouts.first_byte else None
        self._endless = timeouts.idle is None and timeouts.first_byte is not None

    def _opened(self) -> aiohttp.ClientSession:
        from hashring.gateway import aiohttp_request as ours

        lib, timeouts = self._lib, self._timeouts
        self._ask = ours.ask
        self._limit = lib.ClientTimeout(
            total=None, connect=timeouts.connect, sock_read=timeouts.first_byte
        )
        session: aiohttp.ClientSession = lib.ClientSession(
            # its limit of 100 connections would let requests wait in silence
            connector=lib.TCPConnector(limit=0, keepalive_timeout=timeouts.keep_alive),
            timeout=self._limit,
            cookie_jar=lib.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            request_class=ours.Request,
            middlewares=(ours.no_redirect,),  # only what opens WebSockets goes by them
            max_line_size=ours.MOST_HEADER,
            max_field_size=ours.MOST_HEADER,
            max_headers=ours.MOST_HEADERS,
        )
        if not hasattr(session, "_retry_connection"):
            raise ConfigError(
                f"aiohttp {lib.__version__} has no switch for its own retries: install another, "
                "3.14 is known to work",
                option="upstream",
            )
        # a WebSocket's second try by itself would be outside the budget, and on the same host
        session._retry_connection = False
        self._session = session
        return session

    async def request(
        self,
        address: str,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> UpstreamResponse:
        """Send one request; its answer's head. Raises ``UpstreamError``."""
        session = self._session or self._opened()
        try:
            response = await self._ask(
                session, method, _url(address, target), headers, body, self._limit
            )
        except (OSError, ValueError, self._lib.ClientError) as error:
            raise self._translated(error) from error
        answer = _Answer(response, self._translated)
        if (self._idle is not None or self._endless) and not answer.ended:
            _read_within(response, self._idle)
        return answer

    async def connect(
        self, address: str, target: str, headers: Headers, subprotocols: Sequence[str]
    ) -> UpstreamSocket | UpstreamResponse:
        """Open a WebSocket; the host's answer if it refuses. Raises ``UpstreamError``."""
        session = self._session or self._opened()
        try:
            socket = await session.ws_connect(
                _url(address, target),
                headers=list(headers),
                protocols=tuple(subprotocols),
                max_msg_size=self._limits.message,
                autoclose=False,
            )
        except self._lib.WSServerHandshakeError as error:
            if error.status == 101:
                raise InvalidResponse(error.message) from error
            return _Refusal(error.status, error.headers)
        except (OSError, ValueError, self._lib.ClientError) as error:
            raise self._translated(error) from error
        return _Socket(socket, self._lib, self._translated)

    async def aclose(self) -> None:
        """Close all connections; a later request opens a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _translated(self, error: BaseException) -> UpstreamError:
        """What ``error`` means. Order matters: aiohttp's classes are each other's children."""
        lib = self._lib
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, (lib.ClientConnectorError, lib.ConnectionTimeoutError)):
            number = getattr(error, "errno", None)
            return ConnectError(why, own=number in _OWN_FAULTS)
        if isinstance(error, TimeoutError):
            return UpstreamTimeout(why)
        if isinstance(error, (OSError, lib.ClientConnectionError, lib.ClientPayloadError)):
            return ConnectionLost(why)
        return InvalidResponse(why)


class _Answer:
    """An answer of aiohttp."""

    __slots__ = ("_content", "_response", "_translated", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, told: Any) -> None:
        self._response = response
        self._content = response.content
        self._translated = told
        self.status = response.status
        self.headers = response.raw_headers

    @property
    def ended(self) -> bool:
        return self._content.at_eof()

    async def read(self) -> bytes:
        try:
            return await self._content.readany()
        except Exception as error:  # its parsers raise many classes
            raise self._translated(error) from error

    def close(self) -> None:
        if self._response.connection is not None:  # else it is in the pool, since the end
            self._response.close()


class _Refusal:
    """The response of a host that refuses a WebSocket, without its body."""

    def __init__(self, status: int, headers: Any) -> None:
        self.status = status
        self.headers = [
            (name.encode("latin-1"), value.encode(errors="surrogateescape"))
            for name, value in (headers or {}).items()
        ]

    @property
    def ended(self) -> bool:
        return True

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        return


class _Socket:
    """A WebSocket of aiohttp."""

    def __init__(self, socket: Any, lib: Any, told: Any) -> None:
        self._socket = socket
        self._types = lib.WSMsgType
        self._translated = told
        self.subprotocol: str | None = socket.protocol
        self.headers: Sequence[tuple[bytes, bytes]] = socket._response.raw_headers

    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        if message.type in (self._types.TEXT, self._types.BINARY):
            data: str | bytes = message.data
            return data
        if message.type is self._types.CLOSE:
            raise WebSocketClosed(message.data or _NO_CODE, message.extra or "")
        raise WebSocketClosed(_GONE, "")

    async def send(self, message: str | bytes) -> None:
        try:
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)
        except (OSError, self._socket_error) as error:
            raise self._translated(error) from error

    @property
    def _socket_error(self) -> type[Exception]:
        from aiohttp import ClientError

        return ClientError

    async def close(self, code: int, reason: str) -> None:
        if code == _GONE:
            self._socket._response.close()
            return
        if code == _NO_CODE and not self._socket.closed:
            # close() always writes a code, and 1005 must not be written
            await self._socket.send_frame(b"", self._types.CLOSE)
            self._socket._response.close()
            return
        await self._socket.close(code=code, message=reason.encode())


def _read_within(response: aiohttp.ClientResponse, seconds: float | None) -> None:
    """From now on each read may take so long; until now it was the time to the first byte."""
    connection = response.connection
    protocol = None if connection is None else connection.protocol
    if protocol is not None:
        protocol.read_timeout = seconds
        protocol.start_timeout()


@lru_cache(4096)
def _origin(address: str) -> tuple[str, str]:
    """The scheme and authority of a host's address.

    >>> _origin("10.0.0.1:80"), _origin("https://web1:443/")
    (('http', '10.0.0.1:80'), ('https', 'web1:443'))
    """
    scheme, sign, rest = address.partition("://")
    return (scheme, rest.rstrip("/")) if sign else ("http", address)


def _url(address: str, target: str) -> URL:
    """A URL whose path is the whole target, so that it is not parsed, decoded or normalized."""
    from yarl import URL

    scheme, authority = _origin(address)
    return URL.build(scheme=scheme, authority=authority, path=target, encoded=True)


def _library() -> ModuleType:
    with requires_extra("gateway", "requests to hosts", option="upstream"):
        import aiohttp
    return aiohttp
