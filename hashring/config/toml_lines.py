"""The line of each key of a TOML file; ``tomllib`` reports lines of syntax errors only.

The scanner reads a text that ``tomllib`` has accepted, so it checks nothing: it only finds where
keys, strings and brackets begin and end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}'  # a multi-line one may end in two more quotes
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_OTHER = re.compile(r"[^,\]}\s#]+(?: [0-9][^,\]}\s#]*)?")  # a date may have a space before its time
_AT = re.compile(r"\(at line (\d+), column \d+\)")


def key_lines(text: str) -> Mapping[Path, int]:
    """Path -> line, from 1, of each key, table and element of a valid TOML text. Cost: O(n).

    A path is of keys and places in arrays; a table that only its children name has the line of
    the first of them.

    >>> lines = key_lines('a.b = 1\\n[[c]]\\n"d.e" = [\\n  {f = 2},\\n]\\n')
    >>> lines["a", "b"], lines["c", 0], lines["c", 0, "d.e", 0, "f"]
    (1, 2, 4)
    """
    return MappingProxyType(_Scanner(text).scan())


def error_line(error: tomllib.TOMLDecodeError, text: str) -> int:
    """The line of a syntax error; the last one for what is missing at the end.

    >>> try:
    ...     tomllib.loads("a = 1\\nb = ")
    ... except tomllib.TOMLDecodeError as error:
    ...     error_line(error, "a = 1\\nb = ")
    2
    """
    found = _AT.search(str(error))
    return int(found[1]) if found else max(1, len(text.splitlines()))


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line, self._counted = 1, 0  # the line of the place up to which lines are counted
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}  # of the arrays of tables

    def scan(self) -> dict[Path, int]:
        here: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                here = self._header()
            else:
                self._pair(here)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        line = self._line_now()
        self._at += 2 if many else 1
        keys = self._join_dots()
        self._at += 2 if many else 1
        path: Path = ()
        for key in keys[:-1]:
            path = self._newest((*path, key))
            self._note(path, line)
        path = (*path, keys[-1])
        self._note(path, line)
        if many:
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = self._newest(path)
            self._note(path, line)
        return path

    def _newest(self, path: Path) -> Path:
        """The last table of an array of tables, else the path itself."""
        length = self._lengths.get(path)
        return path if length is None else (*path, length - 1)

    def _pair(self, here: Path) -> None:
        line = self._line_now()
        for key in self._join_dots():
            here = (*here, key)
            self._note(here, line)
        self._at += 1  # the sign
        self._skip(_SPACE)
        self._value(here)

    def _join_dots(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            keys.append(self._key())
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _key(self) -> str:
        if self._text[self._at] not in "\"'":
            return self._take(_BARE)
        quoted = self._take(_STRING)
        plain: str = tomllib.loads(f"key = {quoted}")["key"]
        return plain

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if first in "\"'" else _OTHER)

    def _array(self, path: Path) -> None:
        place = 0
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "]":
            self._note((*path, place), self._line_now())
            self._value((*path, place))
            place += 1
            self._skip(_BLANK)
            self._comma()
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip(_BLANK)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)

    def _note(self, path: Path, line: int) -> None:
        self._lines.setdefault(path, line)

    def _line_now(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:  # only for what tomllib would have refused
            raise ValueError(f"no {pattern.pattern!r} at {self._at}")
        self._at = found.end()
        return found[0]
