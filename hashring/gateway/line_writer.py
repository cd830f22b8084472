"""Where the lines of the access log go: standard output, a file or syslog."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from logging.handlers import SysLogHandler
from pathlib import Path

from hashring.errors import ConfigError

_log = logging.getLogger("hashring")

_LINES_AT_ONCE = 500  # lines of one write: about 100 KB

Output = Callable[[bytes], object]


class LineWriter:
    """Writes lines to ``output`` in a thread of its own, so that no request waits for it.

    ``output`` gets the bytes of whole lines; None means standard output.

    A reader that stalls, a full disk or a closed pipe costs lines and nothing else: at most
    ``limit`` lines wait, further ones are dropped and counted in ``lost``, with one warning until
    all that waits is written again.
    """

    def __init__(self, limit: int = 10_000, output: Output | None = None) -> None:
        self._limit = limit
        self.output: Output = _write_stdout if output is None else output
        self._lines: deque[str] = deque()
        self._wake = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_warned = False
        self.lost = 0

    def __call__(self, line: str) -> None:
        """Queue one line. Cost: under 1 us."""
        if len(self._lines) >= self._limit:
            self._lose(1, f"{self._limit:,} lines wait for their reader")
            return
        self._lines.append(line)
        if self._thread is None or not self._thread.is_alive():  # at first, and in a forked child
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        self._wake.set()

    def flush(self, seconds: float = 1.0) -> None:
        """Wait until the queue is written, for at most ``seconds``."""
        if self._lines or not self._idle.is_set():
            self._idle.clear()
            self._wake.set()
            self._idle.wait(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            self._idle.clear()
            while self._lines:
                count = min(len(self._lines), _LINES_AT_ONCE)
                text = "".join([self._lines.popleft() for _ in range(count)])
                try:
                    self.output(text.encode("utf-8", "backslashreplace"))
                    self._has_warned = self._has_warned and len(self._lines) > 0
                except (OSError, ValueError) as error:
                    self._lose(count, str(error))
            self._idle.set()

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if not self._has_warned:
            self._has_warned = True
            _log.warning("the access log loses lines: %s", why)


_writers: dict[str, LineWriter] = {}  # by name; one thread for each, also over reloads


def writer_of(name: str) -> LineWriter:
    """The writer to what ``access_log_to`` names. Raises ``ConfigError``."""
    if name not in _writers:
        _writers[name] = LineWriter(output=output_of(name))
    return _writers[name]


class FileOutput:
    """Appends to a file, which ``reopen`` opens again: after a rotation, a new one of its name.

    Raises ``ConfigError`` for a file that cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._must_open = False
        try:
            self._file = self._open()
        except OSError as error:
            what = error.strerror or str(error)
            raise ConfigError(
                f"{path} cannot be written: {what}", option="access_log_to"
            ) from error

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def reopen(self) -> None:
        """Open the file again before the next write; may be called by any thread."""
        self._must_open = True

    def __call__(self, data: bytes) -> None:
        """Write whole lines. Raises ``OSError``."""
        if self._must_open:
            file = self._open()
            os.close(self._file)
            self._file, self._must_open = file, False
        _write_all(self._file, data)


class SyslogOutput:
    """Sends each line to the syslog daemon at a Unix socket, as facility local0, level info."""

    def __init__(self, socket: str = "/dev/log") -> None:
        self._socket = socket
        self._handler: SysLogHandler | None = None

    def __call__(self, data: bytes) -> None:
        """Send whole lines. Raises ``OSError``."""
        if self._handler is None:
            self._handler = _RaisingHandler(self._socket, facility=SysLogHandler.LOG_LOCAL0)
            self._handler.ident = "hashring: "
        for line in data.decode().splitlines():
            self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Close the socket; the next write opens it again."""
        if self._handler is not None:
            self._handler.close()
            self._handler = None


class _RaisingHandler(SysLogHandler):
    """Its errors are those of the writer, which counts the lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        raise  # noqa: PLE0704  # called inside the handler of the exception


def output_of(name: str) -> Output | None:
    """The output that ``access_log_to`` names; None for standard output. Raises ``ConfigError``."""
    if name == "stdout":
        return None
    if name == "syslog" or name.startswith("syslog:"):
        return SyslogOutput(name.partition(":")[2] or "/dev/log")
    return FileOutput(str(Path(name)))


def _write_stdout(data: bytes) -> None:
    try:
        number = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by an object without a file
        sys.stdout.write(data.decode())
        return
    _write_all(number, data)


def _write_all(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]
