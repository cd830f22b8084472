"""Is each key's line the one it stands on?  Texts are written by a writer that counts lines."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.config.toml_lines import Path, error_line, key_lines

BARE = "abcdefgh-_0123456789"
AWKWARD = "#[]{}=,.\"' \té"
STRINGS = (
    '"#"',
    "'[a]'",
    '"a \\" = b"',
    '""',
    "''",
    '"""a\n[b]\n"quoted" \\""""',
    "'''\n# ''two''\n'''",
    '"""two more"""""',
    "'''two more'''''",
    '"""\\\n  \\\\"""',
)
SCALARS = (*STRINGS, "1", "-2.5e3", "0x_f".replace("_", ""), "true", "inf", "1979-05-27 07:32:00Z")


class Writer:
    """Writes TOML by ``draw`` and notes on which line each path begins."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Path, int] = {}
        self.used = 0

    def line(self) -> int:
        return self.text.count("\n") + 1

    def pick(self, *options: str) -> str:
        chosen: str = self.draw(st.sampled_from(options))
        return chosen

    def note(self, path: Path) -> None:
        self.lines.setdefault(path, self.line())

    def key(self) -> tuple[str, str]:
        """A key that is new everywhere, as it is and as it is spelled."""
        self.used += 1
        plain = f"k{self.used}"
        if self.draw(st.booleans()):
            return plain, plain
        plain += self.draw(st.text(AWKWARD, max_size=3))
        if "'" in plain or self.draw(st.booleans()):
            return plain, '"' + plain.replace('"', '\\"').replace("\t", "\\t") + '"'
        return plain, f"'{plain}'"

    def dotted(self, here: Path) -> tuple[Path, str, list[Path]]:
        """A path under ``here``, its spelling, and all the paths on the way."""
        spelled, passed = [], []
        for _ in range(self.draw(st.integers(1, 3))):
            plain, text = self.key()
            here = (*here, plain)
            passed.append(here)
            spelled.append(text)
        return here, self.pick(".", " . ").join(spelled), passed

    def pair(self, here: Path, depth: int) -> None:
        path, spelled, passed = self.dotted(here)
        for each in passed:
            self.note(each)
        self.text += spelled + self.pick("=", " = ", "\t=")
        self.value(path, depth)

    def value(self, path: Path, depth: int) -> None:
        kind = self.pick("scalar", "array", "inline") if depth else "scalar"
        if kind == "scalar":
            self.text += self.pick(*SCALARS)
        elif kind == "array":
            self.array(path, depth)
        else:
            self.text += "{ "
            for place in range(self.draw(st.integers(0, 3))):
                self.text += ", " if place else ""
                self.pair(path, depth - 1)
            self.text += " }"

    def array(self, path: Path, depth: int) -> None:
        self.text += "["
        for place in range(self.draw(st.integers(0, 3))):
            self.text += self.pick("", "\n  ", " # a ] comment\n", "\n\n")
            self.note((*path, place))
            self.value((*path, place), depth - 1)
            self.text += self.pick(",", ",\n", " , # b ,\n", "\n,")
        self.text += "]"

    def document(self) -> None:
        here: Path = ()
        arrays: dict[Path, tuple[str, int]] = {}
        for _ in range(self.draw(st.integers(0, 8))):
            kind = self.pick("pair", "pair", "table", "array", "again", "blank")
            if kind == "pair":
                self.text += self.pick("", "  ")
                self.pair(here, 3)
            elif kind == "table":
                here, spelled, passed = self.dotted(())
                for each in passed:
                    self.note(each)
                self.text += f"[{spelled}]"
            elif kind == "array" or (kind == "again" and arrays):
                here = self.array_of_tables(arrays, again=kind == "again")
            self.text += self.pick("\n", " # end\n", "\n\n", "\n# [x]\n")

    def array_of_tables(self, arrays: dict[Path, tuple[str, int]], *, again: bool) -> Path:
        if again:
            path = self.draw(st.sampled_from(sorted(arrays, key=repr)))
            spelled, count = arrays[path]
        else:
            path, spelled, passed = self.dotted(())
            count = 0
            for each in passed:
                self.note(each)
        arrays[path] = (spelled, count + 1)
        self.note((*path, count))
        self.text += f"[[{spelled}]]"
        return (*path, count)


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, content in inside:
        yield (*here, key)
        if isinstance(content, (dict, list)):
            yield from paths(content, (*here, key))


@given(st.data())
def test_every_path_is_on_the_line_where_it_was_written(data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.document()
    document = tomllib.loads(writer.text)
    found = key_lines(writer.text)
    assert found == writer.lines
    assert set(found) == set(paths(document))


@given(st.data())
def test_the_line_ends_of_another_system_change_nothing(data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.document()
    assert key_lines(writer.text.replace("\n", "\r\n")) == writer.lines


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb", 2), ("[a\n", 1), ("a = 1\na = 2", 2), ('\n\na = "x\n', 3), ("a = '''\n\n", 2)],
)
def test_a_syntax_error_has_a_line(text: str, line: int) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert error_line(caught.value, text) == line
