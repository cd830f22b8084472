"""The admin listener: ``/healthz``, ``/readyz``, ``/state`` and the API under ``/v1``."""

from __future__ import annotations

import json
import re
from typing import Any

from hashring.errors import ConfigError
from hashring.gateway.api import Api, ApiError, state
from hashring.gateway.app import Gateway
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.net import is_loopback

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
    """An ASGI application for clients on this machine."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._api = Api(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, content = await self._answer(scope, receive)
        kind = b"application/json"
        if isinstance(content, bytes):
            body, kind = content, b"text/plain; version=0.0.4; charset=utf-8"
        else:
            body = json.dumps(content, indent=2).encode() + b"\n"
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | bytes]:
        headers = dict(reversed(scope["headers"]))  # of two equal ones the first
        host = headers.get(b"host", b"").decode("latin-1")
        if not _is_local(host):
            return 403, {"error": "use the address 127.0.0.1 or localhost, not another name"}
        method, path = scope["method"], scope["path"]
        try:
            if path.startswith("/v1/") and method == "POST":
                _check_post(headers, host)
                raw = (scope.get("raw_path") or path.encode()).decode("latin-1")
                body = await _body(receive)
                query = scope.get("query_string", b"")
                return 200, await self._api.post(raw.removeprefix("/v1/"), query, body)
            if method not in ("GET", "HEAD"):
                return 405, {"error": "only GET is allowed here"}
            if path.startswith("/v1/"):
                query = scope.get("query_string", b"")
                return 200, await self._api.get(path.removeprefix("/v1/"), query)
        except ApiError as error:
            return error.status, {"error": str(error)}
        if path == "/healthz":
            return 200, {"ok": True}
        if path == "/readyz":
            return (200 if self._gateway.ready else 503), {"ready": self._gateway.ready}
        if path == "/metrics":
            return self._metrics()
        if path == "/state":
            return 200, state(self._gateway)
        return 404, {"error": "the pages are /healthz, /readyz, /metrics, /state and /v1/..."}

    def _metrics(self) -> tuple[int, dict[str, Any] | bytes]:
        try:
            from hashring.gateway.metrics import exposition
        except ConfigError as error:  # the extra is missing
            return 501, {"error": str(error)}
        return 200, exposition(self._gateway)


def _check_post(headers: dict[bytes, bytes], host: str) -> None:
    """A web page of another origin can send neither this content type nor this Origin."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise ApiError(415, "an action needs content-type: application/json")
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
