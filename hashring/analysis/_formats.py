"""What is a line of a log?  One reader per format: lines in, the readable clients out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from hashring.errors import InvalidKeyError
from hashring.keys import key_bytes

FORMATS = ("auto", "combined", "jsonl", "ids")

Reader: TypeAlias = Callable[[bytes], list[bytes]]
"""The client of each readable line of a block, in order. An empty line is never readable."""

# Both patterns stand at a line's start, stay inside the line and are possessive throughout: one
# match is one line, and a hostile line costs no more than its length. No control byte may stand in
# a client: the zeros that a log truncated under its writer begins with are not part of an address.
_COMBINED = re.compile(
    rb"^([^\x00-\x20\x7f]++) \S++ [^\[\n]*+\[[^\]\n]++\] "  # client, ident, user, [time]
    rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+" \d{3} (?:\d++|-)(?!\S)'  # "request" status size
    rb"[^\n]*+\n?",  # the referer and agent of the combined format, or nothing
    re.MULTILINE,
)
_IDS = re.compile(rb"^([^\x00-\x20\x7f][^\x00-\x1f\x7f]*+)\r?$", re.MULTILINE)


def reader(name: str, key: str | None = None) -> Reader:
    r"""The reader of the format ``name``; ``key`` is the field that ``jsonl`` takes.

    >>> reader("combined")(b'192.0.2.1 - - [06/Jan/2025:00:00:01 +0000] "GET /" 200 5\nx\n')
    [b'192.0.2.1']
    >>> reader("jsonl", "user.id")(b'{"user": {"id": 7}}\n{"user": {}}\n')
    [b'7']
    """
    if name == "combined":
        return _COMBINED.findall
    if name == "ids":
        return _IDS.findall
    path = key or ""  # an "auto" that saw only empty lines reads nothing
    return lambda block: [
        client for line in block.split(b"\n") if (client := _client(line, path)) is not None
    ]


def _client(line: bytes, path: str) -> bytes | None:
    record = _object(line)
    value = None if record is None else json_value(record, path)
    try:
        # an empty client ID is anonymous, as in LoadBalancer.pick
        return key_bytes(value) or None if isinstance(value, (str, int)) else None
    except InvalidKeyError:
        return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        return None
    return record if isinstance(record, dict) else None


def json_value(record: dict[str, Any], path: str) -> Any:
    """The value of the field ``path``, whose dots go deeper; None where there is none.

    >>> json_value({"user": {"id": 7}}, "user.id")
    7
    """
    if path in record:  # flat names with dots are common: {"client.ip": "192.0.2.1"}
        return record[path]
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def json_fields(sample: bytes) -> tuple[int, list[str]]:
    r"""How many lines of ``sample`` are JSON objects, and the fields of the first of them.

    >>> json_fields(b'{"a": 1, "b": 2}\nx\n')
    (1, ['a', 'b'])
    """
    found = [record for line in sample.split(b"\n") if (record := _object(line)) is not None]
    return len(found), list(found[0]) if found else []


def show(text: bytes | str, limit: int = 60) -> str:
    r"""``text`` for people: no control character passes, and at most ``limit`` characters.

    >>> show(b"a\xff\x1b[31m")
    'a\\xff\\x1b[31m'
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."
