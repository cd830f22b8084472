"""Where does each value come from?  The file, then the environment, then the command line.

Later ones win. What is found is flat: ``gateway.listen`` -> its value and where it was said.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from hashring.config.kinds import suggestion
from hashring.config.lines import Path, error_line, key_lines
from hashring.config.mistakes import Mistake, MistakesError
from hashring.config.settings import TABLES, keys

__all__ = ["Found", "Values", "from_environment", "from_file", "from_options"]

PREFIX = "HASHRING_"
MOST_BYTES = 16 << 20
"""16 MiB: 100,000 hosts with ten fields each; a device or a log given by mistake has more."""

_LISTED = {"pool": ("hosts",)}  # keys that have their own rules
_OPEN = frozenset({"placement"})  # its further keys are the placement's options


@dataclass(frozen=True, slots=True)
class Found:
    """A value as it was said, and where: ``h.toml:3``, ``environment X``, ``command line --x``.

    ``lines`` are those of what is inside the value.
    """

    value: Any
    where: str
    line: int = 0
    lines: Mapping[Path, int] | None = None

    def inside(self, *path: str | int) -> tuple[str, int]:
        """Where a part of the value stands, and its line."""
        line = (self.lines or {}).get(path, self.line)
        file, sign, _ = self.where.rpartition(":")
        return (f"{file}:{line}", line) if self.line and sign else (self.where, 0)


class Values(dict[str, Found]):
    """``table.key`` -> what was found; ``mistakes`` are what was found at no such key."""

    def __init__(self) -> None:
        super().__init__()
        self.mistakes: list[Mistake] = []


def from_file(path: str) -> Values:
    """What a file says. Raises ``MistakesError`` for what is no TOML or cannot be read."""
    text = _text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = error_line(error, text)
        what = str(error).split(" (at ")[0]
        raise MistakesError(
            [Mistake(f"{path}:{line}", "", f"this is no TOML: {what}", line)]
        ) from None
    except RecursionError:
        raise MistakesError(
            [Mistake(path, "", "its arrays or tables are nested too deep")]
        ) from None
    reading = _File(path, key_lines(text))
    reading.tables(document)
    return reading.values


def _text(path: str) -> str:
    try:
        with File(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise MistakesError([Mistake(path, "", f"cannot be read: {why}")]) from None
    if len(data) > MOST_BYTES:
        raise MistakesError(
            [Mistake(path, "", f"has more than {MOST_BYTES >> 20} MiB: is it this?")]
        )
    try:
        return data.decode("utf-8-sig")  # some editors write a mark that tomllib would refuse
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MistakesError([Mistake(f"{path}:{line}", "", "this is no UTF-8", line)]) from None


class _File:
    def __init__(self, path: str, lines: Mapping[Path, int]) -> None:
        self.path, self.lines = path, lines
        self.values = Values()

    def tables(self, document: Mapping[str, Any]) -> None:
        known = sorted({name.partition(".")[0] for name in TABLES})
        for name, content in document.items():
            if name not in known:
                self._mistake((name,), f"there is no such table: {suggestion(name, known)}")
            elif not isinstance(content, dict):
                self._mistake((name,), f"is a table: write [{name}] on a line of its own")
            else:
                self._table((name,), content)

    def _table(self, path: tuple[str, ...], content: Mapping[str, Any]) -> None:
        name = ".".join(path)
        plain = [*keys(TABLES[name]), *_LISTED.get(name, ())]
        tables = [one.removeprefix(f"{name}.") for one in TABLES if one.startswith(f"{name}.")]
        for key, value in content.items():
            at = (*path, key)
            if key in tables and isinstance(value, dict):
                self._table(at, value)
            elif key in tables:
                self._mistake(at, f"is a table: write [{'.'.join(at)}] on a line of its own")
            elif key in plain or name in _OPEN:
                self.values[f"{name}.{key}"] = self._found(at, value)
            else:
                self._mistake(at, _unknown(name, key, [*plain, *tables]))

    def _found(self, at: tuple[str, ...], value: Any) -> Found:
        inner = {
            path[len(at) :]: line for path, line in self.lines.items() if path[: len(at)] == at
        }
        return Found(value, f"{self.path}:{inner[()]}", inner[()], inner)

    def _mistake(self, path: Path, what: str) -> None:
        line = self.lines[path]
        key = ".".join(map(str, path))
        self.values.mistakes.append(Mistake(f"{self.path}:{line}", key, what, line))


def _unknown(table: str, key: str, known: list[str]) -> str:
    if "secret" in key:
        near = "a secret is never written here: name its file by secret_file, or its variable"
        return f"there is no such key: {near} by secret_env"
    near = suggestion(key, known)
    elsewhere = [name for name, kind in TABLES.items() if key in keys(kind)]
    if not near.startswith("did you") and elsewhere:
        near = f"did you mean [{elsewhere[0]}]?"
    return f"there is no such key: {near}"


def from_environment(environ: Mapping[str, str]) -> Values:
    """What ``HASHRING_TABLE_KEY`` says, for each plain key.

    A value that reads as TOML is that, any other is a text. Other variables with the prefix are
    left alone: an orchestrator sets ``HASHRING_SERVICE_HOST`` for a service of that name.

    >>> from_environment({"HASHRING_LIMITS_RETRIES": "1"})["limits.retries"].value
    1
    """
    values = Values()
    for name, table in TABLES.items():
        for key, (_, default, _) in keys(table).items():
            variable = PREFIX + f"{name}_{key}".replace(".", "_").upper()
            if variable in environ:
                values[f"{name}.{key}"] = Found(
                    _spoken(environ[variable], default), f"environment {variable}"
                )
    if (hosts := environ.get(f"{PREFIX}POOL_HOSTS")) is not None:
        values["pool.hosts"] = Found(_parts(hosts), f"environment {PREFIX}POOL_HOSTS")
    return values


def _spoken(text: str, default: Any) -> Any:
    if isinstance(default, str):
        return {"true": True, "false": False}.get(text, text)
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return _parts(text) if isinstance(default, tuple) else text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def from_options(given: Mapping[str, Any], names: Mapping[str, str]) -> Values:
    """What the command line says: ``table.key`` -> value; ``names`` are the options' own.

    >>> from_options({"pool.capacity": 3}, {"pool.capacity": "--capacity"})["pool.capacity"].where
    'command line --capacity'
    """
    values = Values()
    for key, value in given.items():
        values[key] = Found(value, f"command line {names[key]}")
    return values
