"""The head of a request, from a scope of ASGI."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from hashring.gateway.asgi import Scope
from hashring.gateway.error_responses import ERROR_RESPONSES, RequestRefused
from hashring.gateway.headers import RequestHead

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


def request_head(scope: Scope) -> RequestHead:
    """The head of the request of ``scope``. Raises ``RequestRefused`` for what cannot pass."""
    head = RequestHead()
    head.method = scope.get("method", "GET").encode("latin-1")
    head.version = scope.get("http_version", "1.1")
    head.target = forwarded_target(scope)
    for name, value in scope["headers"]:
        if _BAD_VALUE.search(value) or not name or _BAD_NAME.search(name):
            raise RequestRefused(ERROR_RESPONSES["bad_request"])
        head.add(name, value)
    head.read_checked()
    return head


def forwarded_target(scope: Scope) -> bytes:
    """The request target for the host, as it was sent, below the mount point.

    >>> forwarded_target({"raw_path": b"/api/a%2Fb", "query_string": b"x=1", "root_path": "/api"})
    b'/a%2Fb?x=1'
    """
    path: bytes = scope.get("raw_path") or quote(scope.get("path") or "/").encode()
    query: bytes = scope.get("query_string", b"")
    sent = path + b"?" + query if query else path
    root: str = scope.get("root_path", "")
    return _below(sent, root.rstrip("/")) if root and root != "/" else sent


def _below(sent: bytes, root: str) -> bytes:
    """``sent`` without the mount point, however that is encoded.

    >>> _below(b"/my%20app?x", "/my app"), _below(b"/application", "/app")
    (b'/?x', b'/application')
    """
    path, sign, query = sent.partition(b"?")
    parts = path.split(b"/")
    depth = root.count("/") + 1
    if unquote((b"/".join(parts[:depth])).decode("latin-1")) != root:
        return sent  # a server that leaves the mount point out of the path
    return b"/" + b"/".join(parts[depth:]) + sign + query
