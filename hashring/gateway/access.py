"""The access log: one line for each request, as text or JSON.

A client ID may be a user's name or a session's key, so the log holds a keyed hash of it: enough to
see which requests are one client's while the key lives, and useless to a thief of the log.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from hashring.errors import ConfigError
from hashring.keys import Key, key_bytes

_log = logging.getLogger("hashring")

_LINES_AT_ONCE = 500  # lines of one write: about 100 KB


@dataclass(slots=True)
class AccessEntry:
    """One request: client (hashed later), target, host, and result."""

    method: str
    target: str
    peer: str
    request_id: str = ""
    client: Key | None = None
    host: str = ""
    reason: str = ""
    status: int = 0
    tries: int = 0
    taken: int = 0
    given: int = 0
    seconds: float = 0.0
    why: str = ""
    moved: str = ""  # why the client left its host


class AccessLog:
    """Writes entries by ``write``, which gets whole lines; ``form`` is ``"text"`` or ``"json"``.

    ``key`` keys the hash of client IDs: routers with one key write one hash. Cost: 4 us.

    >>> lines = []
    >>> log = AccessLog("text", lines.append, key=b"k", clock=lambda: 0.0)
    >>> entry = AccessEntry("GET", "/", "192.0.2.1", "r1", "ann", "web1", "owner", 200, 1, 0, 5)
    >>> entry.seconds = 0.0012
    >>> log(entry)
    >>> lines[0]
    '1970-01-01T00:00:00Z 192.0.2.1 client=9a3c4c3d GET / 200 host=web1 owner tries=1 in=0 out=5 \
1.2ms id=r1\\n'
    """

    def __init__(
        self,
        form: Literal["text", "json"] = "text",
        write: Callable[[str], object] | None = None,
        *,
        key: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if form not in ("text", "json"):
            raise ConfigError(f"an access log is 'text' or 'json', got {form!r}", option="form")
        self._write = write or LineWriter()
        self._line = self._as_json if form == "json" else self._as_text
        self._key = os.urandom(16) if key is None else blake2b(key, digest_size=16).digest()
        self._clock = clock
        self._second, self._shown = -1, ""
        self._hashed = lru_cache(4096)(self._hash)

    def __call__(self, entry: AccessEntry) -> None:
        """Write one line."""
        client = entry.client
        shown = self._hashed(client) if client is not None and (client or client == 0) else "-"
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        self._write(self._line(entry, shown))

    def _hash(self, client: Key) -> str:
        return blake2b(key_bytes(client), key=self._key, digest_size=4).hexdigest()

    def _as_text(self, e: AccessEntry, client: str) -> str:
        why = f" {e.why}" if e.why else ""
        return (
            f"{self._shown} {e.peer or '-'} client={client} {e.method} {e.target} {e.status} "
            f"host={e.host or '-'} {e.reason or '-'} tries={e.tries} in={e.taken} out={e.given} "
            f"{e.seconds * 1000:.1f}ms id={e.request_id}{why}\n"
        )

    def _as_json(self, e: AccessEntry, client: str) -> str:
        fields = {
            "time": self._shown,
            "peer": e.peer or None,
            "client": None if client == "-" else client,
            "method": e.method,
            "target": e.target,
            "status": e.status,
            "host": e.host or None,
            "reason": e.reason or None,
            "tries": e.tries,
            "in": e.taken,
            "out": e.given,
            "seconds": round(e.seconds, 6),
            "request_id": e.request_id,
            "why": e.why or None,
        }
        return json.dumps(fields) + "\n"


class LineWriter:
    """Writes lines to standard output in a thread of its own, so that no request waits for it.

    A reader that stalls, a full disk or a closed pipe costs lines and nothing else: at most
    ``limit`` lines wait, further ones are dropped and counted in ``lost``, with one warning until
    all that waits is written again.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
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
                    _write_stdout(text.encode("utf-8", "backslashreplace"))
                    self._has_warned = self._has_warned and len(self._lines) > 0
                except (OSError, ValueError) as error:
                    self._lose(count, str(error))
            self._idle.set()

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if not self._has_warned:
            self._has_warned = True
            _log.warning("the access log loses lines: %s", why)


def _write_stdout(data: bytes) -> None:
    try:
        number = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # replaced by an object without a file
        sys.stdout.write(data.decode())
        return
    while data:
        data = data[os.write(number, data) :]
