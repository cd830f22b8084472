"""What of aiohttp does a request need?  A connection of its pool, and its parser: no more.

Its session would also follow redirects, keep cookies, try again, ask for proxies, netrc and
middlewares, and go over the headers three times in Python: 25 us a request, all for nothing here.
What is used instead stands below ``ClientSession._request`` and takes the same order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import (
    ClientConnectionError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    WSServerHandshakeError,
    hdrs,
)
from multidict import CIMultiDict
from yarl import URL

from hashring.gateway.upstream import Headers

MOST_HEADER = 32 * 1024
"""Bytes of one header of an answer: four times what servers take by default, for long cookies."""

MOST_HEADERS = 256

_BUFFER = 64 * 1024  # bytes that wait to be read before the host is held up: aiohttp's default
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SKIPPED = CIMultiDict[None]({hdrs.CONTENT_TYPE: None})


class Request(ClientRequest):
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


async def no_redirect(request: ClientRequest, ask: ClientHandlerType) -> ClientResponse:
    """End a handshake at the host's first answer: aiohttp would go where a redirect leads.

    Raises what ``ws_connect`` does for any other answer that opens no WebSocket.
    """
    response = await ask(request)
    if response.status in _REDIRECTS:
        response.close()
        raise WSServerHandshakeError(
            response.request_info, (), status=response.status, headers=response.headers
        )
    return response


async def ask(
    session: ClientSession,
    method: str,
    url: URL,
    headers: Headers,
    body: bytes | AsyncIterator[bytes] | None,
    limit: ClientTimeout,
) -> ClientResponse:
    """Send one request on a connection of ``session``; the answer, whose head is here.

    ``limit`` has the times for a connection and for the first byte. Raises aiohttp's errors and
    ``OSError``.
    """
    loop = asyncio.get_running_loop()
    request = Request(
        method, url, headers=CIMultiDict(headers), data=body, loop=loop, session=session
    )
    connector = session.connector
    if connector is None:
        raise ClientConnectionError("the session is closed")
    try:
        connection = await connector.connect(request, [], limit)
    except TimeoutError as error:
        raise ConnectionTimeoutError(f"no connection to {url} in time") from error
    protocol = connection.protocol
    assert protocol is not None  # it is new, or comes from the pool
    protocol.set_response_params(
        timer=request._timer,
        skip_payload=method == "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=limit.sock_read,
        read_bufsize=_BUFFER,
        max_line_size=MOST_HEADER,
        max_field_size=MOST_HEADER,
        max_headers=MOST_HEADERS,
    )
    try:
        response = await request.send(connection)
        try:
            await response.start(connection)
        except BaseException:
            response.close()
            raise
    except BaseException:
        connection.close()
        raise
    return response
