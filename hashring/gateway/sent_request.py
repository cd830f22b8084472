"""A request as a host gets it: the framing of its body, and what the gateway adds to its head."""

from __future__ import annotations

from typing import Final

from hashring.gateway.client_side import ClientSide
from hashring.gateway.forwarded import encode_extended, encode_forwarded
from hashring.gateway.headers import RequestHead
from hashring.gateway.upstream import ConnectError, InvalidResponse, UpstreamError

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
"""The methods that may be sent twice (RFC 9110, section 9.2.2)."""

SHOULD_HAVE_LENGTH: Final = frozenset({b"POST", b"PUT", b"PATCH"})  # RFC 9110, section 8.6
_CRLF: Final = b"\r\n"


def use_hop(head: RequestHead) -> bool:
    """Whether Max-Forwards lets the request go on; it then does so with one less.

    >>> head = RequestHead()
    >>> head.max_forwards = b"1"
    >>> use_hop(head), b"".join(head.fields)
    (True, b'max-forwards: 0\\r\\n')
    """
    value = head.max_forwards
    if value is None or not value.isdigit() or len(value) > 9:
        return True
    if int(value) == 0:
        return False
    head.fields += (b"max-forwards: ", b"%d" % (int(value) - 1), _CRLF)
    return True


def frame(head: RequestHead, chunk: bytes) -> bytes:
    """Some of the body, as ``head`` announced it."""
    return chunk if head.length is not None else b"%x\r\n%b\r\n" % (len(chunk), chunk)


def framing(head: RequestHead, size: int, *, complete: bool) -> bytes:
    """The header that announces the body; its length, once all ``size`` bytes of it are here."""
    if head.length is None:
        if head.chunked and not complete:
            return b"transfer-encoding: chunked\r\n"
        head.length = size
    return b"content-length: %d\r\n" % head.length


def extended_fields(head: RequestHead, client: ClientSide, via: bytes) -> list[bytes]:
    """What the gateway adds to what came from another proxy, or with an upgrade."""
    if head.given:
        host = "" if head.host is None else head.host.decode("ascii")
        fields = [encode_extended(head.given, client.peer, host, client.scheme)]
    else:
        fields = [encode_forwarded(client.peer, head.host, client.scheme)]
    fields += (b"via: ", b", ".join([*(head.via or ()), via]), _CRLF)
    if head.upgrade is not None:
        fields += (b"connection: Upgrade\r\nupgrade: ", head.upgrade, _CRLF)
    return fields


def may_repeat(head: RequestHead, error: UpstreamError) -> bool:
    """Whether another host may get the request, of which no response has come."""
    if isinstance(error, ConnectError):
        return True
    # a handshake is a GET, but a host may already have acted on it
    safe = head.method in IDEMPOTENT and head.upgrade is None
    return safe and not isinstance(error, InvalidResponse)
