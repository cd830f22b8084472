"""Who came, how often?  Access logs in, the requests of each client out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from hashring.analysis._formats import FORMATS, Reader, json_fields, reader, show
from hashring.analysis._sources import (
    CUT_OFF,
    TOO_LONG,
    CutOffError,
    LogError,
    blocks,
    count_lines,
    open_log,
    peek,
)
from hashring.analysis.bad_lines import BadLines, Faults
from hashring.errors import ConfigError

_SAMPLE = 1000  # lines that decide the format: enough to see through a few broken ones
_ENOUGH = 0.9  # of them must read; a log of another format reads almost none


@dataclass(frozen=True)
class Clients:
    """The requests of each client, and how much of the logs was understood.

    ``counts`` maps the bytes of a client to its requests. ``used + unreadable == lines``; each
    used line is one request. ``first_unreadable`` is a line number, from 1, in the source
    ``first_unreadable_in``, and ``kinds`` does so for each kind of unreadable line. ``warnings``
    name the sources that ended early.

    >>> Clients({b"ann": 3, b"bob": 1}, "ids", lines=4, used=4).to_dict()["clients"]
    2
    """

    counts: Mapping[bytes, int]
    format: str
    lines: int
    used: int
    unreadable: int = 0
    first_unreadable: int | None = None
    first_unreadable_in: str | None = None
    sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    kinds: tuple[BadLines, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What was read, without the clients themselves."""
        return {
            "clients": len(self.counts),
            "requests": self.used,
            "format": self.format,
            "lines": self.lines,
            "used": self.used,
            "unreadable": self.unreadable,
            "first_unreadable": self.first_unreadable,
            "first_unreadable_in": self.first_unreadable_in,
            "kinds": [asdict(bad) for bad in self.kinds],
            "sources": list(self.sources),
            "warnings": list(self.warnings),
        }


def read_clients(
    sources: Iterable[str | os.PathLike[str]],
    *,
    format: str = "auto",
    key: str | None = None,
    stdin: BinaryIO | None = None,
    progress: Callable[[int], None] | None = None,
) -> Clients:
    """Count the requests of each client over all ``sources``; ``-`` is standard input.

    ``format`` is ``combined`` (the common format too; the client is the first field), ``jsonl``
    (the client is the field ``key``, dots go deeper), ``ids`` (a line is a client) or ``auto``,
    which looks at the first 1,000 lines. gzip is known by its first bytes. ``progress`` is given
    the number of bytes read. Cost: one pass, about 1 us a line; memory for the distinct clients.

    Raises ``LogError`` for a source that is missing, empty, binary or without a readable line,
    ``ConfigError`` for options that do not fit together.

    >>> import io
    >>> log = io.BytesIO(b"ann\\nbob\\nann\\n")
    >>> dict(read_clients(["-"], stdin=log).counts)
    {b'ann': 2, b'bob': 1}
    """
    names = [os.fspath(source) for source in sources]
    _check(names, format, key)
    counts = _Tally(format, key)
    for name in names:
        counts.read(name, blocks(open_log(name, stdin, progress)))
    return counts.clients(tuple(names))


def _check(names: list[str], format: str, key: str | None) -> None:
    if not names:
        raise ConfigError("there is no log to read: name a file, or - for standard input")
    if names.count("-") > 1:
        raise ConfigError("standard input (-) can be read only once")
    if format not in FORMATS:
        raise ConfigError(
            f"there is no log format {format!r}; the formats are {', '.join(FORMATS)}",
            option="format",
        )
    if format == "jsonl" and not key:
        raise ConfigError(
            "the format jsonl needs --key FIELD: which field is the client", option="key"
        )
    if key is not None and format not in ("auto", "jsonl"):
        raise ConfigError(f"--key is for the format jsonl, not for {format}", option="key")


class _Tally:
    """What was counted so far; the only thing here that changes."""

    def __init__(self, format: str, key: str | None) -> None:
        self.format = format
        self.key = key
        self.counts: Counter[bytes] = Counter()
        self.lines = self.used = 0
        self.bad_lines = Faults()
        self.warnings: list[str] = []

    def read(self, name: str, lines: Iterator[bytes]) -> None:
        """Count one source."""
        sample, lines = peek(lines, _SAMPLE)
        if self.format == "auto" and sample.replace(TOO_LONG, b"").replace(CUT_OFF, b"").strip():
            self.format = _detect(sample, self.key, name)
        read = reader(self.format, self.key)
        _refuse_binary(sample, read, name)
        lines_before, used_before = self.lines, self.used
        broken = ""
        try:
            for block in lines:
                self._count(block, read, lines_before, name)
        except CutOffError as error:
            broken = str(error)
            self.warnings.append(f"{show(name)}: {broken}")
        if self.used == used_before:
            raise LogError(
                _nothing(name, self.lines - lines_before, self.format, broken), source=name
            )

    def _count(self, block: bytes, read: Reader, offset: int, name: str) -> None:
        clients = read(block)
        lines = count_lines(block)
        if len(clients) != lines:
            self.bad_lines.look(block, read, self.lines - offset, name, self.format, self.key)
        self.counts.update(clients)
        self.lines += lines
        self.used += len(clients)

    def clients(self, sources: tuple[str, ...]) -> Clients:
        """The result, frozen."""
        kinds = self.bad_lines.kinds()
        line, source = (kinds[0].first, kinds[0].source) if kinds else (None, None)
        return Clients(
            counts=dict(self.counts),
            format=self.format,
            lines=self.lines,
            used=self.used,
            unreadable=self.lines - self.used,
            first_unreadable=line,
            first_unreadable_in=source,
            sources=sources,
            warnings=tuple(self.warnings),
            kinds=kinds,
        )


def _detect(sample: bytes, key: str | None, name: str) -> str:
    lines = count_lines(sample)
    enough = _ENOUGH * lines
    if key is None and len(reader("combined")(sample)) >= enough:
        return "combined"
    if key is not None and len(reader("jsonl", key)(sample)) >= enough:
        return "jsonl"
    if b"\0" in sample:
        raise LogError(_binary(name), source=name)
    objects, fields = json_fields(sample)
    if objects >= enough:
        known = ", ".join(show(field, 20) for field in fields[:8]) or "no field"
        raise LogError(
            f"{show(name)} holds JSON lines: say with --key FIELD which field is the client"
            + (f"; {show(key)!r} is in too few of them" if key else "")
            + f" (line 1 has {known})",
            source=name,
        )
    if key is None and _only_ids(sample) and len(reader("ids")(sample)) >= enough:
        return "ids"
    line = sample.split(b"\n", 1)[0]
    first = "longer than 1 MiB" if line + b"\n" == TOO_LONG else f"'{show(line)}'"
    raise LogError(
        f"cannot tell the format of {show(name)}, whose line 1 is {first}: say it with "
        f"--format {', '.join(FORMATS[1:-1])} or {FORMATS[-1]}",
        source=name,
    )


def _only_ids(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError:
        return False
    return b" " not in sample


def _refuse_binary(sample: bytes, read: Reader, name: str) -> None:
    # zeros alone prove nothing: a log that was truncated under its writer begins with them
    if b"\0" in sample and 2 * len(read(sample)) < count_lines(sample):
        raise LogError(_binary(name), source=name)


def _binary(name: str) -> str:
    return f"{show(name)} is binary (it holds zero bytes): give a text log, plain or gzip"


def _nothing(name: str, lines: int, format: str, broken: str) -> str:
    why = f" ({broken.partition(';')[0]})" if broken else ""
    if not lines:
        return f"{show(name)} is empty{why}: there is no client to count"
    if format == "auto":
        return (
            f"cannot tell the format of {show(name)}, which begins with lines that are empty or "
            f"longer than 1 MiB{why}: say it with --format"
        )
    some = "its only line" if lines == 1 else f"none of its {lines:,} lines"
    verb = "does not read" if lines == 1 else "reads"
    return f"{show(name)}: {some} {verb} as {format}{why}: say another format with --format"
