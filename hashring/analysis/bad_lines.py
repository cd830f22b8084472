"""Why was a line of a log not counted?  A kind for each unreadable line, and its first number."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from hashring.analysis._formats import json_value, reader
from hashring.analysis._sources import CUT_OFF, TOO_LONG, count_lines

_TOO_LONG, _CUT_OFF = TOO_LONG.rstrip(b"\n"), CUT_OFF.rstrip(b"\n")
_COMBINED = reader("combined")


@dataclass(frozen=True, slots=True)
class BadLines:
    """The unreadable lines of one kind: how many, and the first, which is a line of ``source``.

    The kinds: ``empty``, ``too long`` (over 1 MiB), ``cut off`` (by the end of damaged gzip),
    ``zero bytes``, ``not UTF-8``, ``another format``, ``malformed``, ``directive`` (a line with #
    in a W3C log), ``without a client`` (an anonymous request in the gateway's own log), and in JSON
    lines ``without the key`` and ``unusable key``.
    """

    kind: str
    lines: int
    first: int
    source: str


class Faults:
    """The kinds met so far, in the order of their first lines."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._first: dict[str, tuple[int, str]] = {}

    def look(
        self,
        block: bytes,
        read: Callable[[bytes], object],
        before: int,
        source: str,
        format: str,
        key: str | None = None,
        header: bytes | None = None,
    ) -> None:
        """Note the lines of ``block`` that ``read`` does not read; ``before`` lines precede it.

        A line ``header`` is not one of them.

        Cost: some us a line, so it is for blocks that have such a line.
        """
        lines = block.split(b"\n")
        for number, line in enumerate(lines[: count_lines(block)], before + 1):
            if line != header and not read(line):
                kind = fault(line, format, key)
                self._lines[kind] = self._lines.get(kind, 0) + 1
                self._first.setdefault(kind, (number, source))

    def add(self, other: Faults) -> None:
        """Note what ``other`` did, of sources that follow these."""
        for kind, lines in other._lines.items():
            self._lines[kind] = self._lines.get(kind, 0) + lines
            self._first.setdefault(kind, other._first[kind])

    def count(self, kind: str) -> int:
        """How many lines of one kind were noted."""
        return self._lines.get(kind, 0)

    def kinds(self) -> tuple[BadLines, ...]:
        """What was noted, frozen."""
        return tuple(BadLines(kind, self._lines[kind], *at) for kind, at in self._first.items())


def fault(line: bytes, format: str, key: str | None = None) -> str:
    r"""The kind of one line that does not read as ``format``; only a line's own bytes count.

    >>> fault(b"", "combined"), fault(b'{"k": 1}', "combined"), fault(b"{}", "jsonl", "k")
    ('empty', 'another format', 'without the key')
    """
    if line == _TOO_LONG:
        return "too long"
    if line == _CUT_OFF:
        return "cut off"
    if not line.strip():
        return "empty"
    if b"\0" in line:
        return "zero bytes"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    if line.startswith(b"#") and format == "w3c":
        return "directive"
    if _is_anonymous(text, format):
        return "without a client"
    return _in_json(text, key or "") if format == "jsonl" else _in_text(text)


def _is_anonymous(text: str, format: str) -> bool:
    """Whether a line of the gateway's log is of a request without a client ID."""
    if format == "gateway-json":
        record = _parse_json(text)
        return isinstance(record, dict) and "host" in record and record.get("client") is None
    return format.endswith("gateway") and " client=- " in text


def _in_text(text: str) -> str:
    return "another format" if isinstance(_parse_json(text), (dict, list)) else "malformed"


def _in_json(text: str, key: str) -> str:
    if _COMBINED(text.encode()):
        return "another format"
    record = _parse_json(text)
    if not isinstance(record, dict):
        return "malformed"
    return "without the key" if json_value(record, key) is None else "unusable key"


def _parse_json(text: str) -> object:
    if not text.startswith(("{", "[")):
        return None
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed
