"""Who came, how often?  Access logs in, the requests of each client out."""

from __future__ import annotations

import ipaddress
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, BinaryIO, TypeVar

from hashring.analysis._formats import (
    FORMATS,
    LineReader,
    check_client,
    closest_format,
    column_names,
    json_fields,
    json_format,
    line_reader,
    reader,
    separator_of,
    text_format,
)
from hashring.analysis._parquet import count_clients, is_parquet
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
from hashring.analysis.layouts import JSON_PRESETS, PREFIXES
from hashring.errors import ConfigError
from hashring.text import printable, suggestion

SAMPLE = 1000  # lines that decide the format: enough to see through a few broken ones
_MANY = 100  # lines from which "as many clients as lines" is more than chance
_PROXIES = 4  # private addresses: so few are more likely proxies than users
_SOME = 10  # lines from which one client in all of them is more than chance
_ENOUGH = 0.9  # of them must read; a log of another format reads almost none

_Found = TypeVar("_Found")
_KEYED = ("jsonl", "csv", "tsv", "parquet")
_HASHED = re.compile(rb"[0-9a-f]{8}")


@dataclass(frozen=True)
class Clients:
    """The requests of each client, and how much of the logs was understood.

    ``counts`` maps the bytes of a client to its requests. ``used + unreadable == lines``; each
    used line is one request. ``first_unreadable`` is a line number, from 1, in the source
    ``first_unreadable_in``, and ``kinds`` does so for each kind of unreadable line. ``warnings``
    name the sources that ended early, and clients that look wrong. ``served`` are the requests that
    each host served, where the log has it (the gateway's own).

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
    served: Mapping[str, int] = field(default_factory=dict)

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
            **({"served": dict(self.served)} if self.served else {}),
        }


def read_clients(
    sources: Iterable[str | os.PathLike[str]],
    *,
    format: str = "auto",
    key: str | None = None,
    pattern: str | None = None,
    client: str = "ip",
    stdin: BinaryIO | None = None,
    progress: Callable[[int], None] | None = None,
) -> Clients:
    """Count the requests of each client over all ``sources``; ``-`` is standard input.

    ``format`` is a layout of ``hashring.analysis.layouts.PRESETS``, ``jsonl`` (the client is the
    field ``key``, dots go deeper, numbers into lists), ``csv`` or ``tsv`` (``key`` is a column),
    ``parquet``, ``ids`` (a line is a client) or ``auto``, which looks at the first 1,000 lines.
    ``pattern`` is a regular expression with the group ``client`` instead. ``client`` selects the
    client in a combined log: ``ip``, ``ip+agent``, ``xff`` (the first address of an
    X-Forwarded-For field that ends the line) or ``cookie:NAME`` (of a Cookie field that does).
    Compression is recognised by the first bytes. ``progress`` is given the number of bytes read.
    Cost: one pass, about 1 us a line; memory for the distinct clients.

    Raises ``LogError`` for a source that is missing, empty, binary or without a readable line,
    ``ConfigError`` for options that do not fit together.

    >>> import io
    >>> log = io.BytesIO(b"ann\\nbob\\nann\\n")
    >>> dict(read_clients(["-"], stdin=log).counts)
    {b'ann': 2, b'bob': 1}
    """
    names = [os.fspath(source) for source in sources]
    options = check_log_options(names, LogOptions(format, key, None, pattern, client))
    return merge_sources(
        options, names, (count_source(options, name, stdin, progress) for name in names)
    )


def count_source(
    options: LogOptions,
    name: str,
    stdin: BinaryIO | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tally, Counter[bytes]]:
    """One source: what was read of it, and the requests of each client."""
    tally = Tally(options)
    counts: Counter[bytes] = Counter()
    if options.format == "parquet":
        found, tally.lines, tally.used = count_clients([name], options.key)
        return tally, Counter(found)
    for block, read in tally.blocks(name, blocks(open_log(name, stdin, progress)), _nothing):
        counts.update(tally.count(block, read, read.clients))
    return tally, counts


def merge_sources(
    options: LogOptions, names: list[str], parts: Iterable[tuple[Tally, Counter[bytes]]]
) -> Clients:
    """The result of ``parts``, which ``count_source`` made of the sources ``names``."""
    total = Tally(options)
    counts: Counter[bytes] = Counter()
    for tally, found in parts:
        total.add(tally)
        counts.update(found)
    return total.summary(tuple(names), counts)


@dataclass(frozen=True)
class LogOptions:
    """How the lines of a log are read: as ``read_clients`` has them, and the field of the time."""

    format: str = "auto"
    key: str | None = None
    time: str | None = None
    pattern: str | None = None
    client: str = "ip"

    def _check_columns(self, columns: list[str], name: str) -> None:
        for flag, column in (("key", self.key), ("time", self.time)):
            if column is not None and column not in columns:
                known = ", ".join(printable(each, 20) for each in columns[:8])
                raise LogError(
                    f"{printable(name)} has no column {printable(column)!r}: give one of line 1 as "
                    f"--{flag} COLUMN ({known})",
                    source=name,
                )

    def reader(self, sample: bytes, name: str) -> LineReader:
        """The reader for a source that begins with ``sample``. Raises ``LogError``."""
        name_of_format = self.format
        text = sample.replace(TOO_LONG, b"").replace(CUT_OFF, b"").strip()
        if self.pattern is None and text:
            if name_of_format == "auto":
                name_of_format = _detect(sample, self.key, name)
            elif name_of_format in PREFIXES or name_of_format == "docker-json":
                name_of_format = _detect_inside(name_of_format, sample, name)
            else:
                _refuse_other(name_of_format, sample, self.key, name)
            if name_of_format in ("csv", "tsv"):
                self._check_columns(column_names(sample, name_of_format), name)
        return line_reader(
            name_of_format,
            self.key,
            self.time,
            sample=sample,
            pattern=self.pattern,
            client=self.client,
        )


def too_long_text(name: str, lines: int) -> str:
    """What is wrong with a source whose every line is over the bound of a line."""
    which = "its only line is" if lines == 1 else f"each of its {lines:,} lines is"
    return (
        f"{printable(name)}: {which} longer than 1 MiB, the bound of a line: give a log in which "
        "each request is a line of its own"
    )


def check_log_options(names: list[str], options: LogOptions) -> LogOptions:
    """``options``, of Parquet where all sources are. Raises ``ConfigError`` for a contradiction."""
    given, key, pattern = options.format, options.key, options.pattern
    if not names:
        raise ConfigError("there is no log to read: name a file, or - for standard input")
    if names.count("-") > 1:
        raise ConfigError("standard input (-) can be read only once")
    if given not in FORMATS:
        raise ConfigError(
            f"there is no log format {given!r}: {suggestion(given, FORMATS)}", option="format"
        )
    if given in _KEYED and not key:
        raise ConfigError(
            f"the format {given} needs --key FIELD: which field is the client", option="key"
        )
    if key is not None and given not in ("auto", *_KEYED, *JSON_PRESETS):
        raise ConfigError(f"--key is for {', '.join(_KEYED)}, not for {given}", option="key")
    if pattern is not None:
        if key is not None or given != "auto":
            raise ConfigError("give --pattern, or --format and --key", option="pattern")
        line_reader("pattern", pattern=pattern)
    if check_client(options.client) != "ip" and (key is not None or pattern is not None):
        raise ConfigError("give --client, or --key or --pattern", option="client")
    if given == "auto" and all(map(is_parquet, names)):
        return replace(options, format="parquet")
    return options


class Tally:
    """What was read so far of some logs: lines, unreadable ones, served hosts and warnings."""

    def __init__(self, options: LogOptions) -> None:
        self.options = options
        self.format = options.format
        self.lines = self.used = 0
        self._bad_lines = Faults()
        self._served: Counter[str] = Counter()
        self._warnings: list[str] = []
        self._source, self._position = "", 0  # the source, and its lines so far

    def blocks(
        self,
        name: str,
        lines: Iterator[bytes],
        nothing: Callable[[str, int, str, str], str],
    ) -> Iterator[tuple[bytes, LineReader]]:
        """Each block of the source ``name`` with its reader; ``count`` must be called with each.

        Raises ``LogError`` for a source of another kind, and with the text of ``nothing`` (of the
        source, its lines, the format, and why it broke off) for one without a line that counts.
        """
        sample, lines = peek(lines, SAMPLE)
        read = self.options.reader(sample, name)
        if sample.strip():
            self.format = read.name
        _refuse_binary(sample, read.clients, name)
        self._source, self._position = name, 0
        lines_before, used_before, broken = self.lines, self.used, ""
        too_long = self._bad_lines.count("too long")
        try:
            for block in lines:
                yield block, read
        except CutOffError as error:
            broken = str(error)
            self._warnings.append(f"{printable(name)}: {broken}")
        if self.used == used_before:
            count = self.lines - lines_before
            if count and self._bad_lines.count("too long") - too_long == count:
                raise LogError(too_long_text(name, count), source=name)
            raise LogError(nothing(name, count, self.format, broken), source=name)

    def count(
        self, block: bytes, read: LineReader, by: Callable[[bytes], list[_Found]]
    ) -> list[_Found]:
        """What ``by`` finds in ``block``, counted."""
        found = by(block)
        lines = read.count_lines(block)
        if len(found) != lines:
            self._bad_lines.look(
                block, by, self._position, self._source, read.name, self.options.key, read.header
            )
        self._position += count_lines(block)
        self._served.update(host.decode("utf-8", "replace") for host in read.hosts(block))
        self.lines += lines
        self.used += len(found)
        return found

    def add(self, other: Tally) -> None:
        """Count what ``other`` read, of sources that follow these."""
        self.format = other.format
        self.lines += other.lines
        self.used += other.used
        self._bad_lines.add(other._bad_lines)
        self._served.update(other._served)
        self._warnings += other._warnings

    def summary(self, sources: tuple[str, ...], counts: Mapping[bytes, int]) -> Clients:
        """The result, frozen."""
        kinds = self._bad_lines.kinds()
        line, source = (kinds[0].first, kinds[0].source) if kinds else (None, None)
        warnings = [*self._warnings, *doubts(counts, self.used, self.format, self.options)]
        if self._served:
            hosts = ", ".join(
                f"{printable(host)} {n:,}" for host, n in sorted(self._served.items())
            )
            warnings.append(f"the log shows which host served each request: {hosts}")
        return Clients(
            counts=dict(counts),
            format=self.format,
            lines=self.lines,
            used=self.used,
            unreadable=self.lines - self.used,
            first_unreadable=line,
            first_unreadable_in=source,
            sources=sources,
            warnings=tuple(warnings),
            kinds=kinds,
            served=dict(self._served),
        )


def doubts(
    counts: Mapping[bytes, int], used: int, format: str, options: LogOptions
) -> Iterator[str]:
    """What looks wrong about the clients of a log, with what to do."""
    if not counts:
        return
    if format.endswith(("gateway", "gateway-json")):
        if all(_HASHED.fullmatch(client) for client in counts):
            yield (
                "the clients of this log are keyed hashes: their hosts by a placement differ from "
                "those that served them"
            )
    elif len(counts) == 1 and used >= _SOME:
        yield (
            f"one client, {printable(next(iter(counts)))}, in all {used:,} lines: behind a proxy, "
            "give --client xff or cookie:NAME"
        )
    elif len(counts) == used and used >= _MANY:
        yield (
            f"as many clients as lines ({used:,}): the client may be a request ID or a time; give "
            "--key, --pattern or --client"
        )
    elif (
        options.client == "ip"
        and options.key is None
        and used >= _MANY
        and len(counts) <= _PROXIES
        and all(_is_private(client) for client in counts)
    ):
        yield (
            f"all {len(counts)} clients are private addresses, perhaps of proxies: give "
            "--client xff or cookie:NAME"
        )


def _is_private(client: bytes) -> bool:
    try:
        return ipaddress.ip_address(client.decode("ascii", "replace")).is_private
    except ValueError:
        return False


def _detect(sample: bytes, key: str | None, name: str) -> str:
    lines = count_lines(sample)
    enough = _ENOUGH * lines
    objects, fields = json_fields(sample)
    if key is None or (key == "log" and objects >= enough):
        found = text_format(sample, lines, enough) or json_format(sample, enough)
        if found is not None:
            return found
    if key is not None:
        if len(reader("jsonl", key)(sample)) >= enough:
            return "jsonl"
        separated = separator_of(sample)
        if separated is not None and key in column_names(sample, separated):
            return separated
    if b"\0" in sample:
        raise LogError(_binary(name), source=name)
    if objects >= enough:
        known = ", ".join(printable(field, 20) for field in fields[:8]) or "no field"
        raise LogError(
            f"{printable(name)} holds JSON lines: give the field of the client as --key FIELD"
            + (f"; {printable(key)!r} is in too few of them" if key else "")
            + f" (line 1 has {known})",
            source=name,
        )
    separated = separator_of(sample)
    if separated is not None:
        columns = ", ".join(printable(column, 20) for column in column_names(sample, separated)[:8])
        raise LogError(
            f"{printable(name)} is {separated.upper()}: give the column of the client as --key "
            f"COLUMN (line 1 has {columns})",
            source=name,
        )
    if key is None and _only_ids(sample) and len(reader("ids")(sample)) >= enough:
        return "ids"
    raise LogError(_unknown_format_text(sample, name), source=name)


def _unknown_format_text(sample: bytes, name: str) -> str:
    line = sample.split(b"\n", 1)[0]
    first = "longer than 1 MiB" if line + b"\n" == TOO_LONG else f"'{printable(line)}'"
    near = closest_format(sample)
    hint = f"; some lines read as {near}" if near else ""
    return (
        f"cannot tell the format of {printable(name)}, whose line 1 is {first}{hint}: give it with "
        "--format, or --pattern REGEX with the group (?P<client>...)"
    )


def _detect_inside(prefix: str, sample: bytes, name: str) -> str:
    lines = count_lines(sample)
    found = text_format(sample, lines, _ENOUGH * lines) or json_format(sample, _ENOUGH * lines)
    if found is None or not found.startswith(f"{prefix}+"):
        raise LogError(
            f"{printable(name)}: no known layout follows the prefix of {prefix}; "
            + _unknown_format_text(sample, name),
            source=name,
        )
    return found


def _refuse_other(format: str, sample: bytes, key: str | None, name: str) -> None:
    """Refuse whole lines of another layout, which are not IDs."""
    lines = count_lines(sample)
    if key == "log" and format == "jsonl":
        found = json_format(sample, _ENOUGH * lines)
        if found is not None and found.startswith("docker-json"):
            raise LogError(
                f"{printable(name)}: the field log has whole lines: use --format docker-json",
                source=name,
            )
    if format != "ids":
        return
    found = text_format(sample, lines, _ENOUGH * lines)
    if found is not None:
        raise LogError(
            f"{printable(name)} has lines of the format {found}, not IDs: use --format "
            f"{found.partition('+')[0]}",
            source=name,
        )


def _only_ids(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError:
        return False
    return b" " not in sample


def _refuse_binary(sample: bytes, read: Callable[[bytes], list[bytes]], name: str) -> None:
    # zeros alone prove nothing: a log that was truncated under its writer begins with them
    if b"\0" in sample and 2 * len(read(sample)) < count_lines(sample):
        raise LogError(_binary(name), source=name)


def _binary(name: str) -> str:
    return (
        f"{printable(name)} is binary (it holds zero bytes): give a text log, plain or compressed"
    )


def _nothing(name: str, lines: int, format: str, broken: str) -> str:
    why = f" ({broken.partition(';')[0]})" if broken else ""
    if not lines:
        return f"{printable(name)} is empty{why}: there is no client to count"
    if format == "auto":
        return (
            f"cannot tell the format of {printable(name)}, which begins with lines that are empty "
            f"or longer than 1 MiB, the bound of a line{why}: give it with --format"
        )
    some = "its only line" if lines == 1 else f"none of its {lines:,} lines"
    verb = "does not read" if lines == 1 else "reads"
    return f"{printable(name)}: {some} {verb} as {format}{why}: give another format with --format"
