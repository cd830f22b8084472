"""One request in the three forms it comes in: an ASGI scope, a WSGI environ, a plain mapping."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

__all__ = ["FORMS", "asgi", "plain", "wsgi"]

Headers = tuple[tuple[str, str], ...]


def asgi(
    *headers: tuple[str, str],
    path: str = "/",
    query: str = "",
    client: str | None = "192.0.2.7",
    scheme: str = "http",
) -> dict[str, Any]:
    """As an ASGI server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "client": None if client is None else (client, 5000),
        "scheme": scheme,
    }


def wsgi(
    *headers: tuple[str, str],
    path: str = "/",
    query: str = "",
    client: str | None = "192.0.2.7",
    scheme: str = "http",
) -> dict[str, Any]:
    """As a WSGI server makes it: headers of one name joined, one byte a character."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REMOTE_ADDR": client or "",
        "wsgi.url_scheme": scheme,
    }
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        sent = value.encode().decode("latin-1")
        joined = ";" if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{joined}{sent}" if key in environ else sent
    return environ


def plain(
    *headers: tuple[str, str],
    path: str = "/",
    query: str = "",
    client: str | None = "192.0.2.7",
    scheme: str = "http",
) -> dict[str, Any]:
    """As somebody writes it by hand."""
    return {
        "headers": list(headers),
        "raw_path": path,
        "query_string": query,
        "client": client,
        "scheme": scheme,
    }


FORMS = (asgi, wsgi, plain)
