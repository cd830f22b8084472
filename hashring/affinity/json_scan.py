"""The members of a JSON object, read while the object comes and without parsing the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping

_STRING = re.compile(rb'(?:[^"\\]+|\\.)*+', re.DOTALL)  # possessive, so it takes linear time
_TOP = re.compile(rb'["{}\[\],:]')
_INSIDE = re.compile(rb'["{}\[\]]')
_LONGEST_NAME = 256

MARKS = 400_000
"""Strings, brackets and commas that are looked at: some 0.2 s in the worst case; a conversation of
8 MiB has a few thousand, while 8 MiB of brackets would take seconds."""


class JsonScan:
    """Keeps the raw values of some members of a top-level object.

    ``wanted`` maps each name to the bytes that are kept of its value. ``feed`` takes the body in
    any pieces; ``values`` has what was found, of a repeated name the last. ``failed`` is why the
    body is not looked into any further: ``undecodable`` or ``too_long``. Values are skipped, not
    checked. Cost: about 1 ms a MiB of long strings.

    >>> scan = JsonScan({"id": 100, "text": 4})
    >>> for piece in (b'{"skipped": [{"id": 1}], "i', b'd": "a,b", "text": "long', b' text"}'):
    ...     scan.feed(piece)
    >>> scan.values, scan.is_complete
    ({'id': b'"a,b"', 'text': b'"lon'}, True)
    """

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._wanted = {name.encode(): size for name, size in wanted.items()}
        self.values: dict[str, bytes] = {}
        self.failed: str | None = None
        self.is_complete = False
        self._depth = self._marks = 0
        self._in_string = self._escaped = self._reads_name = False
        self._expects_name = True
        self._name = b""
        self._kept: bytearray | None = None
        self._most = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        at, size = 0, len(chunk)
        while at < size and self.failed is None and not self.is_complete:
            at = self._scan_string(chunk, at) if self._in_string else self._scan(chunk, at)

    def _keep(self, piece: bytes) -> None:
        kept = self._kept
        if kept is not None and not kept:
            piece = piece.lstrip(b" \t\r\n")
        if kept is not None and len(kept) < self._most:
            kept += piece[: self._most - len(kept)]
        elif self._reads_name and len(self._name) <= _LONGEST_NAME:
            self._name += piece[: _LONGEST_NAME + 1]

    def _scan_string(self, chunk: bytes, at: int) -> int:
        """Go on in a string; the place after what was read."""
        start = at
        if self._escaped:
            self._escaped = False
            at += 1
        found = _STRING.match(chunk, at)
        end = len(chunk) if found is None else found.end()
        if end < len(chunk) and chunk[end] != 0x22:  # a backslash at the end of the piece
            self._escaped = True
            end += 1
        elif end < len(chunk):
            self._in_string = False
            if self._reads_name:
                self._keep(chunk[start:end])
                self._reads_name = False
                return end + 1
            end += 1
        self._keep(chunk[start:end])
        return end

    def _scan(self, chunk: bytes, at: int) -> int:
        """Go on outside of strings; the place after what was read."""
        self._marks += 1
        if self._marks > MARKS:
            self.failed = "too_long"
            return at
        found = (_TOP if self._depth == 1 else _INSIDE).search(chunk, at)
        if found is None:
            if not self._depth and chunk[at:].strip():
                self.failed = "undecodable"
            self._keep(chunk[at:])
            return len(chunk)
        mark, place = found[0], found.start()
        if not self._depth:
            if mark != b"{" or chunk[at:place].strip():
                self.failed = "undecodable"
            self._depth = 1
            return place + 1
        if self._depth == 1 and mark in b",:}]":
            self._keep(chunk[at:place])
            return self._end_member(mark, place)
        if mark == b'"':
            self._in_string = True
            if self._depth == 1 and self._expects_name:
                self._name, self._reads_name, self._expects_name = b"", True, False
                return place + 1
        else:
            self._depth += 1 if mark in b"{[" else -1
        self._keep(chunk[at : place + 1])
        return place + 1

    def _end_member(self, mark: bytes, place: int) -> int:
        if mark == b":":
            if self._name in self._wanted and self._kept is None:
                self._kept, self._most = bytearray(), self._wanted[self._name]
            return place + 1
        if mark == b"]":
            self.failed = "undecodable"
            return place
        if self._kept is not None:
            self.values[self._name.decode()] = bytes(self._kept).strip()
            self._kept = None
        self._expects_name = mark == b","
        self.is_complete = mark == b"}"
        return place + 1
