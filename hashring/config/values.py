"""Values of settings: from the file, the environment and the command line; later ones win.

The result is flat: ``gateway.listen`` -> the value and its place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from hashring.config.problems import Problem, ProblemsError
from hashring.config.settings import TABLES
from hashring.config.toml_lines import Path, error_line, key_lines
from hashring.text import suggestion
from hashring.validators import options_of

PREFIX = "HASHRING_"
_SIMILAR = 0.92  # of a misspelled variable: HASHRING_SERVICE_HOST of an orchestrator is not one
_MAX_BYTES = 16 << 20
"""16 MiB: 100,000 hosts with ten fields each; a device or a log given by mistake has more."""

_LISTED = {"pool": ("hosts",)}  # keys that have their own rules
_LISTS = {"learn": "sessions.learn"}  # arrays of tables that may stand by themselves
_OPEN = frozenset({"placement"})  # its further keys are the placement's options


@dataclass(frozen=True, slots=True)
class Found:
    """A value as given, and where: ``h.toml:3``, ``environment X``, ``command line --x``.

    ``lines`` has the line of each element inside the value.
    """

    value: Any
    where: str
    line: int = 0
    lines: Mapping[Path, int] | None = None

    def inside(self, *path: str | int) -> tuple[str, int]:
        """The place of an element of the value, and its line."""
        line = (self.lines or {}).get(path, self.line)
        file, sign, _ = self.where.rpartition(":")
        return (f"{file}:{line}", line) if self.line and sign else (self.where, 0)


class Values(dict[str, Found]):
    """``table.key`` -> what was found; ``problems`` are unknown keys and tables."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []


def from_file(path: str) -> Values:
    """The values of a file. Raises ``ProblemsError`` for a file that cannot be read as TOML."""
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = error_line(error, text)
        what = str(error).split(" (at ")[0]
        raise ProblemsError(
            [Problem(f"{path}:{line}", "", f"not valid TOML: {what}", line)]
        ) from None
    except RecursionError:
        raise ProblemsError([Problem(path, "", "arrays or tables are nested too deeply")]) from None
    reading = _File(path, key_lines(text))
    reading.tables(document)
    return reading.values


def _text(path: str) -> str:
    try:
        with File(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ProblemsError([Problem(path, "", f"cannot be read: {why}")]) from None
    if len(data) > _MAX_BYTES:
        raise ProblemsError(
            [Problem(path, "", f"is larger than {_MAX_BYTES >> 20} MiB: is it the right file?")]
        )
    try:
        return data.decode("utf-8-sig")  # some editors write a mark that tomllib would refuse
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProblemsError([Problem(f"{path}:{line}", "", "not valid UTF-8", line)]) from None


class _File:
    def __init__(self, path: str, lines: Mapping[Path, int]) -> None:
        self.path, self.lines = path, lines
        self.values = Values()

    def tables(self, document: Mapping[str, Any]) -> None:
        known = sorted({name.partition(".")[0] for name in TABLES})
        for name, content in document.items():
            if name in _LISTS and isinstance(content, list):
                self.values[_LISTS[name]] = self._find((name,), content)
            elif name not in known:
                self._problem((name,), f"there is no such table: {suggestion(name, known)}")
            elif not isinstance(content, dict):
                self._problem((name,), f"is a table: write [{name}] on a line of its own")
            else:
                self._table((name,), content)

    def _table(self, path: tuple[str, ...], content: Mapping[str, Any]) -> None:
        name = ".".join(path)
        plain = [*_keys(TABLES[name]), *_LISTED.get(name, ())]
        tables = [one.removeprefix(f"{name}.") for one in TABLES if one.startswith(f"{name}.")]
        for key, value in content.items():
            at = (*path, key)
            if key in tables and isinstance(value, dict):
                self._table(at, value)
            elif key in tables:
                self._problem(at, f"is a table: write [{'.'.join(at)}] on a line of its own")
            elif key in plain or name in _OPEN:
                self.values[f"{name}.{key}"] = self._find(at, value)
            else:
                self._problem(at, _unknown_key_text(name, key, [*plain, *tables]))

    def _find(self, at: tuple[str, ...], value: Any) -> Found:
        inner = {
            path[len(at) :]: line for path, line in self.lines.items() if path[: len(at)] == at
        }
        return Found(value, f"{self.path}:{inner[()]}", inner[()], inner)

    def _problem(self, path: Path, what: str) -> None:
        line = self.lines[path]
        key = ".".join(map(str, path))
        self.values.problems.append(Problem(f"{self.path}:{line}", key, what, line))


def _keys(table: type) -> list[str]:
    return [each.name for each in options_of(table)]


def _unknown_key_text(table: str, key: str, known: list[str]) -> str:
    if "secret" in key:
        return "there is no such key: secrets are not written here, give secret_file or secret_env"
    near = suggestion(key, known)
    elsewhere = [name for name, kind in TABLES.items() if key in _keys(kind)]
    if elsewhere:  # the very key, in another table
        near = f"did you mean [{elsewhere[0]}]?"
    return f"there is no such key: {near}"


def from_environment(environ: Mapping[str, str]) -> Values:
    """The values of ``HASHRING_TABLE_KEY`` for each key.

    A value that can be read as TOML is read so, any other is a text. Other variables with the
    prefix are ignored, because an orchestrator sets ``HASHRING_SERVICE_HOST`` for a service of
    that name, unless one is a misspelled key.

    >>> from_environment({"HASHRING_LIMITS_RETRIES": "1"})["limits.retries"].value
    1
    """
    values = Values()
    known = [f"{PREFIX}POOL_HOSTS"]
    for name, table in TABLES.items():
        for each in options_of(table):
            variable = PREFIX + f"{name}_{each.name}".replace(".", "_").upper()
            if variable in environ:
                default = each.check.off if each.default is None else each.default
                values[f"{name}.{each.name}"] = Found(
                    _from_text(environ[variable], default), f"environment {variable}"
                )
            known.append(variable)
    if (hosts := environ.get(known[0])) is not None:
        values["pool.hosts"] = Found(_parts(hosts), f"environment {known[0]}")
    values.problems += _find_misspelled(environ, known)
    return values


def _find_misspelled(environ: Mapping[str, str], known: list[str]) -> Iterator[Problem]:
    from difflib import get_close_matches

    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            near = get_close_matches(variable, known, 1, _SIMILAR)
            if near:
                yield Problem(
                    f"environment {variable}", "", f"there is no such key: did you mean {near[0]}?"
                )


def _from_text(text: str, default: Any) -> Any:
    if isinstance(default, str):
        return {"true": True, "false": False}.get(text, text)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return _parts(text) if isinstance(default, tuple) else text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def from_options(given: Mapping[str, Any], names: Mapping[str, str]) -> Values:
    """The values of the command line: ``table.key`` -> value; ``names`` are its option names.

    >>> from_options({"pool.capacity": 3}, {"pool.capacity": "--capacity"})["pool.capacity"].where
    'command line --capacity'
    """
    values = Values()
    for key, value in given.items():
        values[key] = Found(value, f"command line {names[key]}")
    return values
