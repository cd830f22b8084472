"""One reader for each format of logs: lines in, the readable clients (and times) out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from hashring.analysis._sources import count_lines
from hashring.analysis.layouts import (
    GATEWAY_HOSTS,
    IDS,
    JSON_PRESETS,
    LAYOUTS,
    PREFIXES,
    PRESETS,
    SAME,
    seconds_of,
    strip_prefix,
    w3c_layout,
)
from hashring.errors import ConfigError, InvalidKeyError
from hashring.keys import key_bytes
from hashring.text import suggestion

FORMATS = ("auto", "jsonl", "ids", *PRESETS)
CLIENTS = ("ip", "ip+agent", "xff", "cookie:NAME")
"""What may be the client of a line in the combined format."""

Row: TypeAlias = tuple[float | None, bytes]
Reader: TypeAlias = Callable[[bytes], list[bytes]]
"""The client of each readable line of a block, in order. An empty line is never readable."""

_DASH = re.compile(rb"^- ", re.MULTILINE)
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_LAST_QUOTED = re.compile(rb'"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"\s*+$')
_LONGEST_PATTERN = 10_000  # characters of --pattern


class LineReader:
    """Reads blocks of whole lines of one format.

    ``clients(block)`` has the client of each readable line, ``rows(block)`` also its time, and
    leaves out lines without one. ``hosts(block)`` has the host of each line that names the one that
    served it. ``header`` is the line with the names of the columns, which is not a request; None
    without one. ``name`` is the format as it is reported.
    """

    header: bytes | None = None

    def __init__(
        self,
        name: str,
        clients: Reader,
        rows: Callable[[bytes], Iterator[Row]] | None = None,
        hosts: Reader | None = None,
    ) -> None:
        self.name = name
        self.clients = clients
        self.hosts: Reader = hosts or (lambda _: [])
        self._rows = rows

    @property
    def has_times(self) -> bool:
        """Whether its lines can have times."""
        return self._rows is not None

    def count_lines(self, block: bytes) -> int:
        """How many lines of ``block`` are not the header, which joined files repeat."""
        lines = count_lines(block)
        if self.header is None or self.header not in block:
            return lines
        return lines - sum(line == self.header for line in block.split(b"\n"))

    def rows(self, block: bytes) -> list[tuple[float, bytes]]:
        """The (seconds, client) of each line that has both."""
        if self._rows is None:
            return []
        return [(at, client) for at, client in self._rows(block) if at is not None]


def reader(name: str, key: str | None = None) -> Reader:
    r"""The reader of the format ``name``; ``key`` is the field that ``jsonl`` takes.

    >>> reader("combined")(b'192.0.2.1 - - [06/Jan/2025:00:00:01 +0000] "GET /" 200 5\nx\n')
    [b'192.0.2.1']
    >>> reader("jsonl", "user.id")(b'{"user": {"id": 7}}\n{"user": {}}\n')
    [b'7']
    """
    return line_reader(name, key).clients


def line_reader(
    name: str,
    key: str | None = None,
    time: str | None = None,
    *,
    sample: bytes = b"",
    pattern: str | None = None,
    client: str = "ip",
) -> LineReader:
    """The reader of a format, of ``PREFIX+FORMAT``, or of a ``pattern`` of one's own.

    ``sample`` has the first lines, which the formats with a header need. Raises ``ConfigError``.
    """
    if pattern is not None:
        return _by_own_pattern(_compile_pattern(pattern))
    prefix, plus, inner = name.partition("+")
    if plus and (prefix in PREFIXES or prefix == "docker-json"):
        strip = _stripper(prefix)
        read = line_reader(inner, key, time, sample=strip(sample), client=client)
        rows = read._rows
        return LineReader(
            name,
            lambda block: read.clients(strip(block)),
            None if rows is None else lambda block: rows(strip(block)),
            lambda block: read.hosts(strip(block)),
        )
    name = SAME.get(name, name)
    if name == "ids":
        return LineReader("ids", IDS.findall)
    if name in LAYOUTS:
        read = _by_pattern(name, LAYOUTS[name].pattern)
        if name == "gateway":
            read.hosts = GATEWAY_HOSTS.findall
        return read if client == "ip" else _by_client(read, LAYOUTS[name].pattern, client)
    if name == "w3c":
        fields = w3c_layout(sample)
        return LineReader("w3c", lambda _: []) if fields is None else _by_pattern("w3c", fields)
    if name in _SEPARATORS:
        return _columns(name, key or "", time, sample)
    clients, times = JSON_PRESETS.get(name, ((), ()))
    made = _json_reader(name, (key,) if key else clients, (time,) if time else times)
    if name == "gateway-json":
        made.hosts = _json_hosts
    return made


def _by_pattern(name: str, pattern: re.Pattern[bytes]) -> LineReader:
    # with one group, findall returns the clients themselves
    alone = re.sub(rb"\(\?P<(?!client>)\w+>", b"(?:", pattern.pattern)
    clients: Reader = re.compile(alone, re.MULTILINE).findall
    if "time" not in pattern.groupindex:
        return LineReader(name, clients)

    def rows(block: bytes) -> Iterator[Row]:
        for found in pattern.finditer(block):
            yield seconds_of(found["time"] or b""), found["client"]

    return LineReader(name, clients, rows)


def _by_client(read: LineReader, pattern: re.Pattern[bytes], client: str) -> LineReader:
    """A combined line's client by other fields: the agent, X-Forwarded-For, a cookie."""

    def rows(block: bytes) -> Iterator[Row]:
        for found in pattern.finditer(block):
            value = _client_of(found, client)
            if value:
                yield seconds_of(found["time"]), value

    return LineReader(read.name, lambda block: [value for _, value in rows(block)], rows)


def _client_of(found: re.Match[bytes], client: str) -> bytes | None:
    line = found[0].rstrip(b"\r\n")
    last = _LAST_QUOTED.search(line[-8192:])
    if last is None:
        return None
    if client == "ip+agent":
        return found["client"] + b" " + last[1]
    if client == "xff":
        first = last[1].partition(b",")[0].strip()
        return first if first and first != b"-" and b" " not in first else None
    name = client.partition(":")[2].encode()
    for part in last[1].split(b";"):
        cookie, sign, value = part.strip().partition(b"=")
        if sign and cookie == name:
            return value or None
    return None


def check_client(client: str) -> str:
    """``client`` if it is one of ``CLIENTS``. Raises ``ConfigError``."""
    if client in CLIENTS[:3] or (client.startswith("cookie:") and len(client) > 7):
        return client
    raise ConfigError(f"--client {client}: {suggestion(client, CLIENTS)}", option="client")


def _compile_pattern(pattern: str) -> re.Pattern[bytes]:
    if len(pattern) > _LONGEST_PATTERN:
        raise ConfigError(f"a pattern has at most {_LONGEST_PATTERN:,} characters",
                          option="pattern")  # fmt: skip
    try:
        found = re.compile(pattern.encode())
    except (re.error, RecursionError, OverflowError, UnicodeEncodeError) as error:
        raise ConfigError(f"the pattern is not a regular expression: {error}",
                          option="pattern") from None  # fmt: skip
    if "client" not in found.groupindex:
        raise ConfigError(
            "the pattern needs the group (?P<client>...), and (?P<time>...) for times",
            option="pattern",
        )
    return found


def _by_own_pattern(pattern: re.Pattern[bytes]) -> LineReader:
    """Line by line, so that no match of an unknown pattern spans two."""

    def rows(block: bytes) -> Iterator[Row]:
        for line in block.split(b"\n"):
            found = pattern.search(line.rstrip(b"\r")) if line else None
            if found is not None and found["client"]:
                at = seconds_of(found["time"] or b"") if has_times else None
                yield at, found["client"]

    has_times = "time" in pattern.groupindex
    return LineReader(
        "pattern", lambda block: [client for _, client in rows(block)], rows if has_times else None
    )


# -- JSON -----------------------------------------------------------------------------------------


def _json_reader(name: str, clients: tuple[str, ...], times: tuple[str, ...]) -> LineReader:
    def rows(block: bytes) -> Iterator[Row]:
        for line in block.split(b"\n"):
            record = _object(line)
            if record is None:
                continue
            client = _client(_first(record, clients))
            if client is not None:
                yield moment(_first(record, times)), client

    return LineReader(name, lambda block: [client for _, client in rows(block)], rows)


def _json_hosts(block: bytes) -> list[bytes]:
    records = (_object(line) for line in block.split(b"\n") if line)
    hosts = (record.get("host") for record in records if record is not None)
    return [host.encode("utf-8", "replace") for host in hosts if isinstance(host, str) and host]


def _first(record: dict[str, Any], paths: tuple[str, ...]) -> Any:
    found = (json_value(record, path) for path in paths)
    return next((value for value in found if value is not None), None)


def _client(value: Any) -> bytes | None:
    try:
        # an empty client ID is anonymous, as in LoadBalancer.pick
        return key_bytes(value) or None if isinstance(value, (str, int)) else None
    except InvalidKeyError:
        return None


def moment(value: Any) -> float | None:
    """The seconds since the epoch of a JSON value or a cell; None for what is not a time.

    >>> moment(1736121601000), moment("2025-01-06T00:00:01Z"), moment(True)
    (1736121601.0, 1736121601.0, None)
    """
    if isinstance(value, str):
        return seconds_of(value.encode("utf-8", "replace"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return seconds_of(f"{value:.9f}".encode())
    except (OverflowError, ValueError):
        return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested without end
        return None
    return record if isinstance(record, dict) else None


def json_value(record: dict[str, Any], path: str) -> Any:
    """The value of the field ``path``, whose dots go deeper; None where there is none.

    >>> json_value({"user": {"id": 7}}, "user.id"), json_value({"ids": [7, 8]}, "ids.1")
    (7, 8)
    """
    if path in record:  # flat names with dots are common: {"client.ip": "192.0.2.1"}
        return record[path]
    value: Any = record
    for name in path.split("."):
        if isinstance(value, list) and name.isdecimal() and len(name) < 10:
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def json_fields(sample: bytes) -> tuple[int, list[str]]:
    r"""How many lines of ``sample`` are JSON objects, and the fields of the first of them.

    >>> json_fields(b'{"a": 1, "b": 2}\nx\n')
    (1, ['a', 'b'])
    """
    found = [record for line in sample.split(b"\n") if (record := _object(line)) is not None]
    return len(found), list(found[0]) if found else []


def _stripper(prefix: str) -> Callable[[bytes], bytes]:
    if prefix != "docker-json":
        return lambda block: strip_prefix(prefix, block)

    def strip(block: bytes) -> bytes:
        lines = []
        for line in block.split(b"\n"):
            record = _object(line)
            text = None if record is None else record.get("log")
            if isinstance(text, str):
                lines.append(text.rstrip("\r\n").replace("\n", "\x01").encode("utf-8", "replace"))
        return b"\n".join([*lines, b""]) if lines else b""

    return strip


# -- columns --------------------------------------------------------------------------------------


def column_names(sample: bytes, name: str) -> list[str]:
    r"""The columns of a CSV or TSV file by its first line.

    >>> column_names(b"ts,client\n1,ann\n", "csv")
    ['ts', 'client']
    """
    line = sample.split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
    try:
        return next(csv.reader([line], delimiter=_SEPARATORS[name]), [])
    except csv.Error:
        return []


def _columns(name: str, key: str, time: str | None, sample: bytes) -> LineReader:
    heads = column_names(sample, name)
    at = heads.index(key) if key in heads else -1
    when = heads.index(time) if time is not None and time in heads else -1
    first = sample.split(b"\n", 1)[0]

    def rows(block: bytes) -> Iterator[Row]:
        for line in block.split(b"\n"):
            if line == first or not line:
                continue
            try:
                cells = next(csv.reader([line.decode().rstrip("\r")],
                                        delimiter=_SEPARATORS[name]), [])  # fmt: skip
            except (UnicodeDecodeError, csv.Error):
                continue
            if len(cells) == len(heads) and at >= 0 and cells[at]:
                client = _client(cells[at])
                if client is not None:
                    text = cells[when].encode("utf-8", "replace")
                    yield seconds_of(text) if when >= 0 else None, client

    made = LineReader(
        name, lambda block: [client for _, client in rows(block)], rows if when >= 0 else None
    )
    made.header = first
    return made


def separator_of(sample: bytes) -> str | None:
    r"""``csv`` or ``tsv`` if all lines have one number, above 0, of commas or tabs; else None.

    >>> separator_of(b"ts,client\n1,ann\n2,bob\n"), separator_of(b"ann\nbob\n")
    ('csv', None)
    """
    lines = [line for line in sample.split(b"\n") if line]
    for name, mark in (("tsv", b"\t"), ("csv", b",")):
        counts = Counter(line.count(mark) for line in lines)
        most = counts.most_common(1)
        if len(lines) > 1 and most and most[0][0] and most[0][1] >= 0.9 * len(lines):
            return name
    return None


# -- recognition ----------------------------------------------------------------------------------


def text_format(sample: bytes, lines: int, enough: float) -> str | None:
    """The layout of text that nine lines of ten have, with or without a prefix; None if none."""
    for name, layout in LAYOUTS.items():
        if len(layout.pattern.findall(sample)) >= enough:
            return name
    if w3c_layout(sample) is not None:
        return "w3c"
    # requests without a client are unreadable lines of a combined log, however many they are
    combined = LAYOUTS["combined"].pattern
    if combined.search(sample) and len(combined.findall(_DASH.sub(b"0.0.0.0 ", sample))) >= enough:
        return "combined"
    for prefix in PREFIXES:
        inner = strip_prefix(prefix, sample)
        if inner and inner.count(b"\n") >= enough:
            found = text_format(inner, lines, enough) or json_format(inner, enough)
            if found is not None and "+" not in found:
                return f"{prefix}+{found}"
    return None


def json_format(sample: bytes, enough: float) -> str | None:
    """The preset of JSON lines, or ``docker-json+`` and the format of the lines inside."""
    objects, fields = json_fields(sample)
    if not objects or objects < enough:
        return None
    if "log" in fields and ("stream" in fields or "time" in fields):
        inner = _stripper("docker-json")(sample)
        found = text_format(inner, objects, enough) or json_format(inner, enough)
        if found is not None and "+" not in found:
            return f"docker-json+{found}"
    for name in JSON_PRESETS:
        if name == "gateway-json" and not {"client", "host", "request_id", "tries"} <= set(fields):
            continue
        if name == "nginx-json" and not any(
            field in fields for field in ("status", "request", "uri", "request_uri", "method")
        ):
            continue
        if len(reader(name)(sample)) >= enough:
            return name
    return None


def closest_format(sample: bytes) -> str | None:
    """The format that the most lines of ``sample`` have; None if no line has any."""
    counts = {name: len(layout.pattern.findall(sample)) for name, layout in LAYOUTS.items()}
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else None
