"""Which keys are asked, and how?"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable, Iterator
from uuid import UUID, uuid5

from tests.integrations._processes import LOOPBACK

__all__ = ["ADDRESSES", "KEYS", "http_bodies", "memcached_answers"]

_SPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's name space for URLs
_TIMEOUT = 20.0  # seconds for one answer from loopback

KEYS: tuple[str, ...] = (
    *(f"session-{number}" for number in range(250)),
    *(str(uuid5(_SPACE, str(number))) for number in range(200)),
    *(f"café-{number}-ключ" for number in range(120)),  # bytes above 127
    *("x" * length for length in range(1, 81)),  # every length of tail
)
"""650 keys, none with a comma or space, which a proxy would split at."""

ADDRESSES: tuple[str, ...] = (
    *(f"10.{number % 7}.{number * 37 % 256}.{number % 250 + 1}" for number in range(400)),
    *(f"2001:db8:{number:x}::{number * 7919 % 65536:x}" for number in range(1, 201)),
)
"""600 client addresses, IPv4 and IPv6."""


def http_bodies(
    port: int, path: str, keys: Iterable[str], *, header: str = "x-key"
) -> Iterator[tuple[str, str]]:
    """Each key with the body that comes back for it, sent as a header, over one connection."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_TIMEOUT)
    for key in keys:
        connection.putrequest("GET", path)
        connection.putheader(header, key.encode())
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, (path, key, response.status, body)
        yield key, body
    connection.close()


def memcached_answers(port: int, keys: Iterable[str]) -> dict[str, str | None]:
    """The value of each key over one connection; None where the server reports an error."""
    answers: dict[str, str | None] = {}
    with socket.create_connection((LOOPBACK, port), timeout=_TIMEOUT) as connection:
        lines = connection.makefile("rb")
        for key in keys:
            connection.sendall(b"get %b\r\n" % key.encode())
            first = lines.readline()
            if first.startswith(b"VALUE "):
                answers[key] = lines.readline().strip().decode()
                assert lines.readline() == b"END\r\n", key
            else:
                assert b"ERROR" in first, (key, first)
                answers[key] = None
    return answers
