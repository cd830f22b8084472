"""Which client does a named part of the request name: a cookie, header, query or path part?"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from hashring.affinity._cookies import check_name, cookie_values
from hashring.affinity.identity._request import Fields
from hashring.affinity.identity._source import IdentitySource, Unusable
from hashring.errors import ConfigError
from hashring.keys import text_bytes
from hashring.validators import is_int

_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class _Cookie(IdentitySource):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = check_name(name)

    def find(self, fields: Fields, body: bytes) -> bytes | None:
        # HTTP/2 may send several Cookie headers; latin-1 keeps each byte as it is
        sent = b";".join(fields.header("cookie")).decode("latin-1")
        values = cookie_values(sent, self._name)
        return values[0].encode("latin-1") if values else None

    @property
    def places(self) -> tuple[str, ...]:
        return (f"cookie:{self._name}",)

    def __repr__(self) -> str:
        return f"cookie({self._name!r})"


class _Header(IdentitySource):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = check_name(name)
        self._lower = name.lower()

    def find(self, fields: Fields, body: bytes) -> bytes | None:
        values = fields.header(self._lower)
        if len(values) == 1:  # as it nearly always is
            return values[0].strip(b" \t")
        return _one([value.strip(b" \t") for value in values])

    @property
    def plain_header(self) -> str | None:
        return self._lower

    @property
    def places(self) -> tuple[str, ...]:
        return (f"header:{self._name}",)

    def __repr__(self) -> str:
        return f"header({self._name!r})"


class _Query(IdentitySource):
    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not name:
            raise ConfigError(f"a query parameter has a name, got {name!r}", option="name")
        self._name = name
        self._bytes = text_bytes(name)

    def find(self, fields: Fields, body: bytes) -> bytes | None:
        values = []
        for pair in fields.query().split(b"&"):
            name, _, value = pair.partition(b"=")
            if name == self._bytes or (_encode(name) and _lenient(name) == self._bytes):
                values.append(value)
        return _one([_decode(value.replace(b"+", b" ")) for value in values])

    @property
    def places(self) -> tuple[str, ...]:
        return (f"query:{self._name}",)

    def __repr__(self) -> str:
        return f"query({self._name!r})"


class _PathPart(IdentitySource):
    def __init__(self, number: int) -> None:
        super().__init__()
        if not is_int(number):
            raise ConfigError(f"a path part has a number, from 0, got {number!r}", option="number")
        self._number = number

    def find(self, fields: Fields, body: bytes) -> bytes | None:
        path, encoded = fields.path()
        parts = path.removeprefix(b"/").split(b"/")
        try:
            part = parts[self._number]
        except IndexError:
            return None
        return _decode(part) if encoded else part

    @property
    def places(self) -> tuple[str, ...]:
        return (f"path:{self._number}",)

    def __repr__(self) -> str:
        return f"path_part({self._number})"


def _one(values: list[bytes]) -> bytes | None:
    """The one value of all fields; two different ones are ambiguous, so a client cannot choose."""
    if len(values) > 1 and len(set(values)) > 1:
        raise Unusable("ambiguous")
    return values[0] if values else None


def _encode(text: bytes) -> bool:
    return b"%" in text or b"+" in text


def _lenient(name: bytes) -> bytes:
    return unquote_to_bytes(name.replace(b"+", b" "))


def _decode(text: bytes) -> bytes:
    if b"%" not in text:
        return text
    if _BROKEN.search(text):
        raise Unusable("undecodable")
    return unquote_to_bytes(text)


def cookie(name: str) -> IdentitySource:
    """The value of a cookie; of several with one name the first, which has the longest path.

    Quotes around it are removed; nothing is percent-decoded.

    >>> cookie("sid")({"headers": {"Cookie": 'a=1; sid="ann"'}})
    'ann'
    """
    return _Cookie(name)


def header(name: str) -> IdentitySource:
    """The value of a header, in any case of letters; two that differ are anonymous.

    A WSGI server has already joined several by commas.

    >>> header("X-User")({"headers": {"x-user": "ann"}})
    'ann'
    """
    return _Header(name)


def query(name: str) -> IdentitySource:
    """A parameter of the query string, percent-decoded; two that differ are anonymous.

    >>> query("user")({"query_string": b"a=1&user=ann%20b"})
    'ann b'
    """
    return _Query(name)


def path_part(number: int) -> IdentitySource:
    """A part of the path between slashes, from 0; negative numbers count from the end.

    Where the server gives the path as it was sent (``raw_path``), an encoded slash is inside a
    part; elsewhere it has become a slash.

    >>> path_part(1)({"path": "/rooms/42/join"})
    '42'
    """
    return _PathPart(number)
