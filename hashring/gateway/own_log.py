"""The gateway's own messages on standard error: time, level, component; text or JSON."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import PurePath

from hashring.config import LogSettings

_WINDOW = 60.0  # seconds in which repeated messages are counted
_KINDS = 1_000  # kinds of messages that are counted apart; the package has fewer
_PACKAGE = PurePath(__file__).parent.parent.name


def component_of(record: logging.LogRecord) -> str:
    """The room of the package that a message is from; for another package, its logger's name.

    >>> from hashring.health import runner
    >>> record = logging.LogRecord("hashring", 20, runner.__file__, 1, "up", None, None)
    >>> component_of(record)
    'health'
    """
    parts = PurePath(record.pathname).parts
    if _PACKAGE not in parts[:-1]:
        return record.name
    last = len(parts) - 1 - parts[::-1].index(_PACKAGE)
    return PurePath(parts[last + 1]).stem


class LogFilter(logging.Filter):
    """Passes messages of the levels that ``options`` name, and not too many of one kind.

    A kind is a place in the source. The next message of the kind that is written has the
    number of those before it that were not. ``clock`` reads seconds that never run backwards.
    """

    def __init__(self, options: LogSettings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._least: int = getattr(logging, options.level.upper())
        pairs = (each.partition("=") for each in options.levels)
        self._levels: dict[str, int] = {
            name: getattr(logging, level.upper()) for name, _, level in pairs
        }
        self._most = options.repeats
        self._clock = clock
        self._seen: dict[tuple[str, int], tuple[float, int]] = {}  # start of the window, count

    @property
    def lowest(self) -> int:
        """The lowest level that any component has."""
        return min([self._least, *self._levels.values()])

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is written; it gets ``left_out``, the number of those before it."""
        record.left_out = 0
        if record.levelno < self._levels.get(component_of(record), self._least):
            return False
        if not self._most:
            return True
        kind, now = (record.pathname, record.lineno), self._clock()
        start, count = self._seen.get(kind, (now, 0))
        if now - start >= _WINDOW:
            record.left_out = max(0, count - self._most)
            start, count = now, 0
        if len(self._seen) >= _KINDS and kind not in self._seen:
            self._seen.clear()
        self._seen[kind] = start, count + 1
        return count < self._most


class LogFormatter(logging.Formatter):
    """One line for a message (and the traceback, in text, below it)."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._is_json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        at = f"{seconds}.{int(record.msecs):03}Z"
        component = component_of(record)
        message = record.getMessage().removeprefix(f"{component}: ")  # not twice in a line
        left_out = getattr(record, "left_out", 0)
        if left_out:
            message += f" ({left_out:,} more like this were left out)"
        trace = self.formatException(record.exc_info) if record.exc_info else None
        level = record.levelname
        if self._is_json:
            fields = {"time": at, "level": level.lower(), "component": component}
            fields |= {"message": message, **({} if trace is None else {"traceback": trace})}
            return json.dumps(fields)
        line = f"{at} {level} {component}: {message}"
        return line if trace is None else f"{line}\n{trace}"


def log_to_stderr(options: LogSettings) -> None:
    """Write the messages of the package to standard error; a second call replaces the first."""
    log, made = logging.getLogger(_PACKAGE), LogFilter(options)
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter(options.format))
    handler.addFilter(made)
    for old in [each for each in log.handlers if isinstance(each.formatter, LogFormatter)]:
        log.removeHandler(old)
    log.addHandler(handler)
    log.setLevel(made.lowest)
