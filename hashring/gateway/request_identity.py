"""What sources of identity read of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hashring.affinity.identity import MOST_BYTES
from hashring.gateway.client_side import ClientSide
from hashring.gateway.headers import RequestHead


def scope_of(head: RequestHead, client: ClientSide) -> Mapping[str, Any]:
    """The request with the keys of an ASGI scope."""
    path, _, query = head.target.partition(b"?")
    return {
        "type": "http",
        "asgi": None,  # header names are lower-case bytes
        "method": head.method.decode("latin-1"),
        "headers": head.headers,
        "client": client.address,
        "raw_path": path,
        "query_string": query,
        "scheme": client.scheme,
    }


def plain_id(head: RequestHead, header: bytes) -> str | None:
    """The client ID, where it stands in one header as it is; None: ask the source.

    As ``header`` of ``hashring.affinity`` would read it.
    """
    found: bytes | None = None
    for name, value in head.headers:
        if name == header:
            if found is not None:
                return None
            found = value.strip(b" \t")
    if not found or len(found) > MOST_BYTES or not found.isascii():
        return None
    return found.decode("ascii")
