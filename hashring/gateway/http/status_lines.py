"""The first lines of responses, and the whole response to what is not a valid request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final


def _status_line(status: int) -> bytes:
    try:
        return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
    except ValueError:
        return b"HTTP/1.1 %d \r\n" % status


STATUS_LINES: Final = [_status_line(status) for status in range(600)]


def refusal(status: int, why: str) -> bytes:
    """A response in plain text that ends its connection.

    >>> refusal(408, "no complete head in 10 s").splitlines()[0]
    b'HTTP/1.1 408 Request Timeout'
    """
    body = f"{status} {why}\n".encode()
    extra = b"sec-websocket-version: 13\r\n" if status == 426 else b""
    extra = b"retry-after: 1\r\n" if status == 503 else extra
    return (
        STATUS_LINES[status]
        + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        + extra
        + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
