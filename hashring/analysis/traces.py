"""Public traces of LLM serving: requests with sizes, sessions and prefix blocks, read as they are.

======== ============================================================ ========================
format   fields                                                       session
======== ============================================================ ========================
mooncake timestamp (ms), input_length, output_length, hash_ids (512)  derived from the blocks
bailian  timestamp (s), chat_id, parent_chat_id, input_length,        the first chat of a chain
         output_length, hash_ids (16)
burstgpt CSV: Timestamp (s), Session ID, Request tokens, Response     Session ID
         tokens
azure    CSV: TIMESTAMP (date), ContextTokens, GeneratedTokens        every request its own
jsonl    timestamp (s, or a date), input_length, output_length,       session, if given
         optionally session and hash_ids
csv tsv  the same as columns; hash_ids as JSON or with spaces between session, if given
parquet  the same as columns                                          session, if given
======== ============================================================ ========================

A file of JSON lines, CSV, TSV or Parquet may have the fields of each of these formats.

``hash_ids`` name blocks of the prompt: two requests share an ID exactly if they share the whole
prefix up to that block. A trace without them gets blocks of 512 tokens from its sessions: a request
continues what its session has sent before.

Sources: kvcache-ai/Mooncake (FAST 2025), alibaba-edu/qwen-bailian-usagetraces-anon, HPMLL/BurstGPT,
Azure/AzurePublicDataset (LLM inference trace 2023).
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from hashring.analysis._parquet import MAGIC
from hashring.analysis._parquet import records as parquet_records
from hashring.analysis._sources import TOO_LONG, CutOffError, LogError, blocks, open_log
from hashring.analysis.layouts import seconds_of
from hashring.analysis.logs import too_long_text
from hashring.errors import ConfigError
from hashring.text import bounded_repr, printable, suggestion

FORMATS: Final = ("mooncake", "bailian", "burstgpt", "azure", "jsonl", "csv", "tsv", "parquet")
BLOCK: Final = 512
"""Tokens of a block, where the trace does not define another size."""

_BAILIAN_BLOCK = 16
_LONGEST_PROMPT = 10_000_000  # tokens: more is a damaged line, and would make a block list of 1 GB
_COLUMNS = {"burstgpt": "Request tokens", "azure": "ContextTokens"}
_TIMES = {"burstgpt": "Timestamp", "azure": "TIMESTAMP"}  # of the others: timestamp


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request: seconds after the first one, session number, tokens, and prefix blocks."""

    at: float
    session: int
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """The requests in order of time. ``block`` is the tokens of a block, ``unreadable`` a count."""

    requests: tuple[TraceRequest, ...]
    block: int
    format: str
    unreadable: int = 0

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return len({request.session for request in self.requests})

    @property
    def seconds(self) -> float:
        """Seconds from the first request to the last."""
        return self.requests[-1].at if self.requests else 0.0


def read_trace(
    path: str | Path | Sequence[str | Path],
    format: str = "auto",
    *,
    session: str | None = None,
    time: str | None = None,
    limit: int | None = None,
) -> Trace:
    """The trace in ``path`` (``-`` is standard input; gzip is recognised), or in several files.

    Cost: one pass, about 10 us a line; for Parquet, memory for the file.

    Parameters
    ----------
    path: one file or several; their requests are put in order of time.
    format: one of ``FORMATS``, or ``auto`` to recognise it by the fields of the first line.
    session: the field that names the session, instead of the one of the format.
    time: the field of the time, instead of the one of the format, in the unit of the format.
    limit: read at most this many requests.

    Raises
    ------
    ConfigError: the format is unknown.
    LogError: a file cannot be read, or no line of it is a request.
    """
    if format != "auto" and format not in FORMATS:
        raise ConfigError(
            f"there is no trace format {bounded_repr(format)}: {suggestion(format, FORMATS)}",
            option="format",
        )
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    rows: list[_Row] = []
    unreadable, found = 0, format
    for each in paths:
        records = _Records(str(each), found)
        if found == "auto":  # the files of one trace have one format
            found = records.format()
        for row in _rows(records, found, session, time):
            if row is None:
                unreadable += 1
                continue
            rows.append(row)
            if limit is not None and len(rows) >= limit:
                break
    if not rows:
        raise LogError(f"{paths[0]} has no request of the format {found}", source=str(paths[0]))
    rows.sort(key=lambda row: row.at)  # stable: equal times keep their order
    return Trace(tuple(_requests(rows)), _block(found), found, unreadable)


def sample_trace() -> Trace:
    """The first 3,000 requests of the Mooncake conversation trace, which the package contains.

    Source: kvcache-ai/Mooncake, FAST25-release/traces; Apache-2.0, see ``data/LICENSE``.

    >>> trace = sample_trace()
    >>> len(trace.requests), trace.format
    (3000, 'mooncake')
    """
    return read_trace(Path(__file__).parent / "data" / "mooncake_3000.jsonl.gz", "mooncake")


def derive_sessions(block_lists: Iterable[Sequence[int]]) -> Iterator[int]:
    """A session number for each request, from the prefix blocks alone. Cost: O(blocks).

    A request continues the session of the longest prefix, of at least two blocks, that an earlier
    request has left; else it begins one. A request leaves its blocks without the last, which is
    partial and changes with the next turn, if it has more than two; and all its blocks, if no
    request has left these before.

    >>> list(derive_sessions([[0, 1, 2], [0, 1, 3, 4], [0, 5, 6], [0, 1, 3, 7]]))
    [0, 0, 1, 0]
    """
    known: dict[int, int] = {}
    count = 0
    for ids in block_lists:
        # the ID of a block stands for the whole prefix up to it
        prefixes = ids[1:]
        found = next((known[block] for block in reversed(prefixes) if block in known), None)
        if found is None:
            found = count
            count += 1
        if len(ids) > 2:
            known[ids[-2]] = found
        if prefixes:
            known.setdefault(ids[-1], found)
        yield found


# -- rows ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    at: float
    session: object
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] | None
    parent: object = None


def _block(format: str) -> int:
    return _BAILIAN_BLOCK if format == "bailian" else BLOCK


class _Records:
    """A file as records: objects of JSON lines, or rows of CSV, TSV or Parquet by their columns.

    ``kind`` is ``jsonl``, ``csv``, ``tsv`` or ``parquet``, ``fields`` are those of the first record
    and ``rows`` has None for a line that is not a record.
    """

    fields: Sequence[str]
    rows: Iterator[dict[str, Any] | None]

    def __init__(self, path: str, format: str) -> None:
        self.path = path
        lines = _lines(path)
        first = next(lines, b"")
        self.first = first.decode("utf-8", "replace")
        if first.startswith(MAGIC) or (path != "-" and path.endswith(".parquet")):
            if path == "-":
                raise LogError("Parquet cannot be read from standard input: name the file",
                               source=path)  # fmt: skip
            self.kind = "parquet"
            self.fields, self.rows = parquet_records(path)
            return
        if first == TOO_LONG.rstrip(b"\n"):
            raise LogError(too_long_text(path, 1), source=path)
        given = format in ("mooncake", "bailian", "jsonl") and "input_length" not in self.first
        if given or self.first.lstrip().startswith(("{", "[")):
            self.kind, self.fields = "jsonl", list(_json(self.first) or ())
            self.rows = (_json(text) for text in _texts(chain([first], lines)))
            return
        self.kind = "tsv" if "\t" in self.first else "csv"
        mark = "\t" if self.kind == "tsv" else ","
        self.fields = _cells(self.first, mark) or []
        # joined files repeat the header
        self.rows = (_columns(self.fields, text, mark) for text in _texts(lines)
                     if text != self.first)  # fmt: skip

    def format(self) -> str:
        """The format by the fields of the first record. Raises ``LogError`` with the line."""
        found = next((kind for kind, head in _COLUMNS.items() if head in self.fields), None)
        if found is not None:
            return found
        if "input_length" in self.fields:
            if "chat_id" in self.fields:
                return "bailian"
            if "hash_ids" in self.fields and "session" not in self.fields:
                return "mooncake"
            return self.kind
        raise LogError(
            f"{self.path} is not a trace of a known format ({', '.join(FORMATS)}); "
            + ("its columns: " + ", ".join(printable(each, 20) for each in self.fields[:8])
               if self.kind == "parquet" else f"line 1: {bounded_repr(self.first)}"),
            source=self.path,
        )  # fmt: skip


def _lines(path: str) -> Iterator[bytes]:
    try:
        for block in blocks(open_log(path, sys.stdin.buffer, None)):
            yield from block.splitlines()
    except CutOffError as error:
        raise LogError(str(error), source=path) from error


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    """The lines as text; blank ones are left out."""
    return (line.decode("utf-8", "replace") for line in lines if line.strip())


def _cells(line: str, mark: str) -> list[str] | None:
    if '"' not in line:
        return line.split(mark)  # the csv module takes at most 131,072 characters of a cell
    try:
        return next(csv.reader([line], delimiter=mark), None)
    except csv.Error:
        return None


def _columns(fields: list[str], line: str, mark: str) -> dict[str, str] | None:
    cells = _cells(line, mark)
    if cells is None or len(cells) != len(fields):
        return None
    return dict(zip(fields, cells, strict=True))


def _rows(
    records: _Records, format: str, session: str | None, time: str | None
) -> Iterator[_Row | None]:
    """A row for each record, None for one that cannot be read."""
    read = _READERS[format]
    for record in records.rows:
        if record is not None and time is not None:
            record[_TIMES.get(format, "timestamp")] = record.get(time)
        row = _row(record, read)
        if row is not None and record is not None and session is not None:
            row.session, row.parent = record.get(session), None
            row = row if row.session not in (None, "") else None
        yield row


def _json(text: str) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _row(record: Any, read: Callable[[Any], _Row]) -> _Row | None:
    try:
        row = read(record)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    sizes = row.input_tokens, row.output_tokens
    sane = all(0 <= size <= _LONGEST_PROMPT for size in sizes)
    return row if sane and math.isfinite(row.at) else None


def _ids(value: Any) -> tuple[int, ...]:
    """The blocks: a list, or in a cell of CSV a list as JSON or numbers with spaces between."""
    if isinstance(value, str):
        value = json.loads(value) if value.startswith("[") else value.split()
    return tuple(map(int, value))


def _seconds(value: Any) -> float:
    """Seconds as a number or its text; of a date, in UTC if it has no zone, since the epoch."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    try:
        return float(value)
    except ValueError:
        found = seconds_of(value.encode())
        if found is None:
            raise
        return found


def _mooncake(record: Any) -> _Row:
    return _Row(
        float(record["timestamp"]) / 1000, None, int(record["input_length"]),
        int(record["output_length"]), _ids(record["hash_ids"]),
    )  # fmt: skip


def _bailian(record: Any) -> _Row:
    row = _mooncake(record)
    row.at = float(record["timestamp"])
    row.session, row.parent = str(record["chat_id"]), str(record["parent_chat_id"])
    return row


def _burstgpt(record: Any) -> _Row:
    return _Row(
        float(record["Timestamp"]), record["Session ID"] or None,
        int(record["Request tokens"]), int(record["Response tokens"]), None,
    )  # fmt: skip


def _azure(record: Any) -> _Row:
    # seven digits of a second, of which fromisoformat reads six
    given = record["TIMESTAMP"]
    moment = given if isinstance(given, datetime) else datetime.fromisoformat(given[:26])
    return _Row(
        moment.timestamp(), None, int(record["ContextTokens"]), int(record["GeneratedTokens"]), None
    )


def _plain(record: Any) -> _Row:
    ids = record.get("hash_ids")
    return _Row(
        _seconds(record["timestamp"]), record.get("session") or None, int(record["input_length"]),
        int(record["output_length"]), _ids(ids) if ids not in (None, "") else None,
    )  # fmt: skip


_READERS: Final[dict[str, Callable[[Any], _Row]]] = {
    "mooncake": _mooncake,
    "bailian": _bailian,
    "burstgpt": _burstgpt,
    "azure": _azure,
    "jsonl": _plain,
    "csv": _plain,
    "tsv": _plain,
    "parquet": _plain,
}


# -- sessions and blocks -------------------------------------------------------------------------


def _requests(rows: list[_Row]) -> Iterator[TraceRequest]:
    """The rows with session numbers, and blocks for those that have none."""
    begin = rows[0].at
    numbers = _numbers(rows)
    sent: dict[int, int] = {}  # tokens that a session has sent and received so far
    for row, session in zip(rows, numbers, strict=True):
        ids = row.blocks
        if ids is None:
            have = max(row.input_tokens, 1)
            ids = tuple(_synthetic(session, have))
            sent[session] = have + row.output_tokens
        yield TraceRequest(row.at - begin, session, row.input_tokens, row.output_tokens, ids)


def _synthetic(session: int, tokens: int) -> Iterator[int]:
    """Block IDs of a session's prompt: the n-th block of a session is the same in every turn."""
    for number in range(-(-tokens // BLOCK)):
        yield (session << 24) | number


def _numbers(rows: list[_Row]) -> list[int]:
    if all(row.session is None for row in rows):
        if any(row.blocks is None for row in rows):
            return list(range(len(rows)))
        return list(derive_sessions([row.blocks or () for row in rows]))
    roots: dict[object, int] = {}
    numbers: list[int] = []
    for row in rows:
        known = roots.get(row.parent) if row.parent not in (None, "-1") else None
        if known is None:
            known = roots.get(row.session) if row.session is not None else None
        number = len(numbers) + (1 << 32) if known is None else known
        if row.session is not None:
            roots[row.session] = number
        numbers.append(number)
    dense: dict[int, int] = {}
    return [dense.setdefault(number, len(dense)) for number in numbers]
