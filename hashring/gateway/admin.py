"""The admin listener: the dashboard at ``/``, health, state, metrics, and the API under ``/v1``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from hmac import compare_digest
from typing import Any, TypeAlias

from hashring.errors import ConfigError
from hashring.gateway.api import Api, ApiError, state
from hashring.gateway.app import Gateway
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.dashboard import Page, dashboard_page
from hashring.gateway.operator_marks import OperatorMarks
from hashring.net import is_loopback

Content: TypeAlias = dict[str, Any] | bytes | AsyncGenerator[bytes]

_LARGEST_BODY = 64 * 1024  # bytes of an action

_HOST = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^:\[\]]+)(?::[0-9]*)?")


def _is_local(host: str) -> bool:
    """Whether a ``Host`` is a loopback address: a web page may reach it by another name.

    >>> [_is_local(host) for host in ("127.0.0.2:90", "[::1]", "localhost", "127.0.0.1.evil.org")]
    [True, True, True, False]
    """
    found = _HOST.fullmatch(host)
    return found is not None and is_loopback(found[1])


class Admin:
    """An ASGI application for operators.

    Without a ``token`` it serves this machine only: a ``Host`` that is not a loopback address is
    refused, because a web page could reach it by another name. With one, a request needs it as
    ``Authorization: Bearer TOKEN``, except for the ``public`` pages (``healthz``, ``readyz``,
    ``metrics``). ``marks`` keeps what operators do for a later process.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        token: bytes | None = None,
        public: Collection[str] = (),
        marks: OperatorMarks | None = None,
    ) -> None:
        self._gateway = gateway
        self._api = Api(gateway, marks)
        self._token, self._public = token, frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, content = await self._answer(scope, receive)
        if isinstance(content, AsyncGenerator):
            await _send_stream(content, receive, send)
            return
        kind, body = b"application/json", b""
        if isinstance(content, Page):
            body, kind = content, content.KIND
        elif isinstance(content, bytes):
            body, kind = content, b"text/plain; version=0.0.4; charset=utf-8"
        else:
            body = json.dumps(content, indent=2).encode() + b"\n"
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if isinstance(content, Page):
            headers.append((b"content-security-policy", content.POLICY))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, Content]:
        headers = dict(reversed(scope["headers"]))  # of two equal ones the first
        host = headers.get(b"host", b"").decode("latin-1")
        method, path = scope["method"], scope["path"]
        query = scope.get("query_string", b"")
        try:
            self._check_access(method, path, headers, host)
            if path.startswith("/v1/") and method == "POST":
                _check_post(headers, host)
                raw = (scope.get("raw_path") or path.encode()).decode("latin-1")
                body = await _body(receive)
                return 200, await self._api.post(raw.removeprefix("/v1/"), query, body)
            if path.startswith("/v1/sessions/") and method == "DELETE":
                _check_origin(headers, host)
                raw = (scope.get("raw_path") or path.encode()).decode("latin-1")
                return 200, await self._api.delete_session(raw.removeprefix("/v1/sessions/"), query)
            if method not in ("GET", "HEAD"):
                raise ApiError(405, "only GET is allowed here")
            if path == "/v1/stream" and method == "GET":
                return 200, await _begin(self._api.stream(query))
            if path.startswith("/v1/"):
                return 200, await self._api.get(path.removeprefix("/v1/"), query)
            return self._page(path)
        except ApiError as error:
            return error.status, {"error": str(error)}

    def _check_access(self, method: str, path: str, headers: dict[bytes, bytes], host: str) -> None:
        if self._token is None:
            if not _is_local(host):
                raise ApiError(403, "use the address 127.0.0.1 or localhost, not another name")
            return
        # the dashboard's page holds no data: it asks for the token and sends it with each request
        public = method in ("GET", "HEAD") and path.removeprefix("/") in {"", *self._public}
        if not public and not _has_token(headers, self._token):
            raise ApiError(401, "this needs the header Authorization: Bearer TOKEN")

    def _page(self, path: str) -> tuple[int, Content]:
        if path == "/":
            return 200, dashboard_page()
        if path == "/healthz":
            return 200, {"ok": True}
        if path == "/readyz":
            return (200 if self._gateway.ready else 503), {"ready": self._gateway.ready}
        if path == "/metrics":
            return self._metrics()
        if path == "/state":
            return 200, state(self._gateway)
        raise ApiError(404, "the pages are /, /healthz, /readyz, /metrics, /state and /v1/...")

    def _metrics(self) -> tuple[int, Content]:
        try:
            from hashring.gateway.metrics import exposition
        except ConfigError as error:  # the extra is missing
            return 501, {"error": str(error)}
        return 200, exposition(self._gateway)


async def _begin(stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The stream once its first part is there, so that what it refuses is an answer of its own."""
    first = await anext(stream)

    async def whole() -> AsyncGenerator[bytes]:
        async with aclosing(stream):
            yield first
            async for part in stream:
                yield part

    return whole()


async def _send_stream(parts: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
    """Send ``parts`` until they end or the client hangs up."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def pass_on() -> None:
        async with aclosing(parts):
            async for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})

    passing = asyncio.ensure_future(pass_on())
    gone = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait((passing, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (passing, gone):
            task.cancel()
        await asyncio.gather(passing, gone, return_exceptions=True)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _has_token(headers: dict[bytes, bytes], token: bytes) -> bool:
    kind, _, given = headers.get(b"authorization", b"").partition(b" ")
    # compared in constant time, so that the time shows nothing of the token
    return compare_digest(given.strip(), token) and kind.lower() == b"bearer"


def _check_post(headers: dict[bytes, bytes], host: str) -> None:
    """A web page of another origin can send neither this content type nor this Origin."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise ApiError(415, "an action needs content-type: application/json")
    _check_origin(headers, host)


def _check_origin(headers: dict[bytes, bytes], host: str) -> None:
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and origin.rpartition("://")[2] != host:
        raise ApiError(403, "an action is not accepted from a page of another origin")


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > _LARGEST_BODY:
            raise ApiError(413, f"the body has more than {_LARGEST_BODY} bytes")
        if not message.get("more_body"):
            return body
