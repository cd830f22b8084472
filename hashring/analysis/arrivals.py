"""Who came when?  The requests of a combined log in the order of time."""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import BinaryIO

from hashring.analysis._formats import show
from hashring.analysis._sources import CutOffError, LogError, blocks, count_lines, open_log
from hashring.analysis.bad_lines import Faults
from hashring.analysis.logs import Clients
from hashring.errors import ConfigError
from hashring.keys import Key, key_bytes

# The combined format as the counting reader knows it, with the minute, the second and the offset
# of the time as groups of their own.
_LINE = re.compile(
    rb"^([^\x00-\x20\x7f]++) \S++ [^\[\n]*+"
    rb"\[(\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d):([0-5]\d|60) ([+-]\d{4})\] "
    rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+" \d{3} (?:\d++|-)(?!\S)[^\n]*+\n?',
    re.MULTILINE,
)
_MONTHS = {  # strptime would take the words of the locale
    month: number
    for number, month in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}


@dataclass(frozen=True)
class Arrivals:
    """Requests in the order of time: request i is of client ``clients[who[i]]`` at ``at[i]``.

    ``at`` is in seconds since the epoch, ascending. ``log`` describes what was read.

    >>> some = Arrivals.of([(7.0, "bob"), (5.0, "ann"), (9.5, "bob")])
    >>> list(some), some.seconds
    ([(5.0, b'ann'), (7.0, b'bob'), (9.5, b'bob')], 4.5)
    """

    at: array[float]
    who: array[int]
    clients: tuple[bytes, ...]
    log: Clients | None = None

    @classmethod
    def of(cls, requests: Iterable[tuple[float, Key]], log: Clients | None = None) -> Arrivals:
        """The arrivals of (seconds, client ID) in any order; those of one time stay in theirs.

        Cost: one sort. Raises ``InvalidKeyError`` for a value that is not a client ID.
        """
        numbers: dict[bytes, int] = {}
        at, who = array("d"), array("L")
        for seconds, client in requests:
            at.append(seconds)
            who.append(numbers.setdefault(key_bytes(client), len(numbers)))
        if any(late < early for early, late in pairwise(at)):
            order = sorted(range(len(at)), key=at.__getitem__)
            at = array("d", map(at.__getitem__, order))
            who = array("L", map(who.__getitem__, order))
        return cls(at, who, tuple(numbers), log)

    @property
    def seconds(self) -> float:
        """From the first request to the last."""
        return self.at[-1] - self.at[0] if self.at else 0.0

    @property
    def counts(self) -> dict[bytes, int]:
        """The requests of each client, as ``spread`` and ``plan`` take them."""
        found = Counter(self.who)
        return {client: found[number] for number, client in enumerate(self.clients)}

    def __len__(self) -> int:
        return len(self.at)

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        clients = self.clients
        return ((at, clients[who]) for at, who in zip(self.at, self.who, strict=True))


def read_arrivals(
    sources: Iterable[str | os.PathLike[str]],
    *,
    stdin: BinaryIO | None = None,
    progress: Callable[[int], None] | None = None,
) -> Arrivals:
    """The requests of combined (or common) logs, sorted by their times; ``-`` is standard input.

    A log is written when requests end, so its lines are nearly in order and never quite. Cost: one
    pass, some 2 us a line; 16 bytes of memory a request, and the distinct clients.

    Raises ``LogError`` for a source that cannot be read or that has no line with a time.

    >>> import io
    >>> log = b'192.0.2.1 - - [06/Jan/2025:00:00:0%d +0000] "GET /" 200 5'
    >>> both = read_arrivals(["-"], stdin=io.BytesIO(log % 2 + bytes([10]) + log % 1))
    >>> [at for at, _ in both]
    [1736121601.0, 1736121602.0]
    """
    names = [os.fspath(source) for source in sources]
    if not names:
        raise ConfigError("there is no log to read: name a file, or - for standard input")
    if names.count("-") > 1:
        raise ConfigError("standard input (-) can be read only once")
    reading = _Reading()
    requests = (
        request for name in names for request in reading.read(name, open_log(name, stdin, progress))
    )
    arrivals = Arrivals.of(requests)
    return Arrivals(arrivals.at, arrivals.who, arrivals.clients, reading.log(names, arrivals))


class _Reading:
    """What was read so far: lines, bad ones, warnings, and the minutes seen."""

    def __init__(self) -> None:
        self.lines = self.used = 0
        self.bad_lines = Faults()
        self.warnings: list[str] = []
        self.minutes: dict[tuple[bytes, bytes], float | None] = {}

    def read(self, name: str, pieces: Iterator[bytes]) -> Iterator[tuple[float, bytes]]:
        """The (seconds, client) of each readable line of one source."""
        lines_before, used_before = self.lines, self.used
        broken = ""
        try:
            for block in blocks(pieces):
                yield from self._requests(block, lines_before, name)
        except CutOffError as error:
            broken = str(error)
            self.warnings.append(f"{show(name)}: {broken}")
        if self.used == used_before:
            raise LogError(_nothing(name, self.lines - lines_before, broken), source=name)

    def _requests(self, block: bytes, before: int, name: str) -> list[tuple[float, bytes]]:
        found = [
            (minute + int(second), client)
            for client, stamp, second, zone in _LINE.findall(block)
            if (minute := self._minute(stamp, zone)) is not None
        ]
        lines = count_lines(block)
        if len(found) != lines:
            self.bad_lines.look(block, self._client, self.lines - before, name, "combined", None)
        self.lines += lines
        self.used += len(found)
        return found

    def _minute(self, stamp: bytes, zone: bytes) -> float | None:
        """Seconds since the epoch at which a minute began; None for one that never was."""
        minute = (stamp, zone)
        if minute not in self.minutes:
            try:
                self.minutes[minute] = _seconds(stamp, zone)
            except (KeyError, ValueError):  # no such month, or 31/Feb, or an offset beyond a day
                self.minutes[minute] = None
        return self.minutes[minute]

    def _client(self, line: bytes) -> list[bytes]:
        found = _LINE.match(line)
        good = found is not None and self._minute(found[2], found[4]) is not None
        return [found[1]] if found is not None and good else []

    def log(self, names: list[str], arrivals: Arrivals) -> Clients:
        """What was read, as the other reports say it."""
        kinds = self.bad_lines.kinds()
        line, source = (kinds[0].first, kinds[0].source) if kinds else (None, None)
        return Clients(
            counts=arrivals.counts,
            format="combined",
            lines=self.lines,
            used=self.used,
            unreadable=self.lines - self.used,
            first_unreadable=line,
            first_unreadable_in=source,
            sources=tuple(names),
            warnings=tuple(self.warnings),
            kinds=kinds,
        )


def _nothing(name: str, lines: int, broken: str) -> str:
    why = f" ({broken.partition(';')[0]})" if broken else ""
    if not lines:
        return f"{show(name)} is empty{why}: there is no request to replay"
    some = "its only line is not" if lines == 1 else f"none of its {lines:,} lines is"
    return (
        f"{show(name)}: {some} in the combined format{why}, whose times say when each request came"
    )


def _seconds(stamp: bytes, zone: bytes) -> float:
    """Seconds since the epoch at ``06/Jan/2025:00:00`` and an offset such as ``+0100``."""
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    offset = timezone(-ahead if zone.startswith(b"-") else ahead)
    day, month, rest = stamp.split(b"/")
    year, hour, minute = map(int, rest.split(b":"))
    return datetime(year, _MONTHS[month], int(day), hour, minute, tzinfo=offset).timestamp()
