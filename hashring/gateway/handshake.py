"""The handshake of WebSockets (RFC 6455, section 4)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from hashring.gateway.headers import RequestHead, ResponseHead

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_value(key: bytes) -> bytes:
    """The ``Sec-WebSocket-Accept`` that answers ``key``.

    >>> accept_value(b"dGhlIHNhbXBsZSBub25jZQ==")
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def accepts_key(request: RequestHead, response: ResponseHead) -> bool:
    """Whether the response was made for this request, and not by a host that echoes anything."""
    key = request.header(b"sec-websocket-key").strip(b" \t")
    values = [
        value
        for name, value in zip(response.fields[::3], response.fields[1::3], strict=True)
        if name == b"sec-websocket-accept: "
    ]
    return [value.strip(b" \t") for value in values] == [accept_value(key)]


def find_wrong_switch(request: RequestHead, response: ResponseHead) -> str:
    """Why a response 101 does not answer the offer of ``request``; empty where it does."""
    offered = request.upgrade
    if offered is None or response.upgrade.strip(b" \t").lower() != offered.lower():
        return "an upgrade that was not requested"
    if offered.lower() == b"websocket" and not accepts_key(request, response):
        return "a WebSocket without the right Sec-WebSocket-Accept"
    return ""
