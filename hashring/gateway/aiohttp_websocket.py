"""WebSockets to hosts by aiohttp, without its redirects, cookies, retries and headers."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from hashring.config.settings import Limits, Timeouts
from hashring.errors import ConfigError
from hashring.gateway.http.connections import MAX_FIELDS
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

_OWN_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
)
_NO_CODE, _GONE = 1005, 1006
_MAX_HEADER = 32 * 1024  # bytes of one header of a response
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SKIPPED = CIMultiDict[None]({hdrs.CONTENT_TYPE: None})


class _Request(aiohttp.ClientRequest):
    """A request with the headers that it is given, and none of aiohttp's own."""

    def update_headers(self, headers: Any) -> None:
        """Take ``headers`` as they are; the host's own address where they name no ``Host``."""
        if hdrs.HOST not in headers:
            own = CIMultiDict[str]({hdrs.HOST: self.url.host_port_subcomponent or ""})
            own.extend(headers)
            headers = own
        self.headers = headers

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """Add none, and no type of a body later."""
        self._skip_auto_headers = _SKIPPED


async def _refuse_redirect(
    request: aiohttp.ClientRequest, ask: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """End a handshake at the host's first answer: aiohttp would go where a redirect leads.

    Raises what ``ws_connect`` does for any other answer that opens no WebSocket.
    """
    response = await ask(request)
    if response.status in _REDIRECTS:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, (), status=response.status, headers=response.headers
        )
    return response


class WebSocketClient:
    """Opens WebSockets by aiohttp. Make it anywhere; its session begins with the first one.

    Raises ``ConfigError`` for an aiohttp whose own retries cannot be ended.
    """

    def __init__(self, timeouts: Timeouts, limits: Limits) -> None:
        self._timeouts = timeouts
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        timeouts = self._timeouts
        session: aiohttp.ClientSession = aiohttp.ClientSession(
            # its limit of 100 connections would let requests wait in silence
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=timeouts.keep_alive),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=timeouts.connect, sock_read=timeouts.first_byte
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            request_class=_Request,
            middlewares=(_refuse_redirect,),
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            max_headers=MAX_FIELDS,
        )
        if not hasattr(session, "_retry_connection"):
            raise ConfigError(
                f"aiohttp {aiohttp.__version__} has no switch for its own retries: install 3.14",
                option="upstream",
            )
        # a WebSocket's second try by itself would be outside the budget, and on the same host
        session._retry_connection = False
        self._session = session
        return session

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
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 101:
                raise InvalidResponse(error.message) from error
            return _Refusal(error.status, error.headers)
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise self._translated(error) from error
        return _Socket(socket, self._translated)

    async def aclose(self) -> None:
        """Close all connections; a later request opens a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _translated(self, error: BaseException) -> UpstreamError:
        """What ``error`` means. Order matters: aiohttp's classes are each other's children."""
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            number = getattr(error, "errno", None)
            return ConnectError(why, own=number in _OWN_FAULTS)
        if isinstance(error, TimeoutError):
            return UpstreamTimeout(why)
        if isinstance(error, (OSError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
            return ConnectionLost(why)
        return InvalidResponse(why)


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

    def __init__(self, socket: Any, translate: Any) -> None:
        self._socket = socket
        self._types = aiohttp.WSMsgType
        self._translated = translate
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
        except (OSError, aiohttp.ClientError) as error:
            raise self._translated(error) from error

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
    scheme, authority = _origin(address)
    return URL.build(scheme=scheme, authority=authority, path=target, encoded=True)
