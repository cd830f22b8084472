"""The request target for the host: as it was sent, byte for byte, below the mount point."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from hashring.gateway.asgi import Scope
from hashring.gateway.error_responses import ERROR_RESPONSES, RequestRefused

TARGET = "hashring.target"
"""The scope's key with the target as it was sent, which our own server sets."""

_LEGAL = re.compile(rb"/[!\"$-~]*")  # printable ASCII, no fragment


def forwarded_target(scope: Scope) -> str:
    """The request target for the host. Raises ``RequestRefused`` for one that no request may have.

    >>> forwarded_target({"raw_path": b"/api/a%2Fb", "query_string": b"x=1", "root_path": "/api"})
    '/a%2Fb?x=1'
    """
    sent: bytes | None = scope.get(TARGET)
    if sent is None:
        path = scope.get("raw_path") or quote(scope.get("path") or "/").encode()
        query = scope.get("query_string", b"")
        sent = path + b"?" + query if query else path
    root = scope.get("root_path", "")
    if root and root != "/":
        sent = _below(sent, root.rstrip("/"))
    if not _LEGAL.fullmatch(sent):
        raise RequestRefused(ERROR_RESPONSES["bad_request"])
    return sent.decode("ascii")


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
