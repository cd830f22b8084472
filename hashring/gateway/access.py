"""The access log: one line for each request, as text or JSON.

A client ID may be a user's name or a session's key, so the log holds a keyed hash of it: enough to
see which requests are one client's while the key lives, and useless to a thief of the log.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal
from urllib.parse import quote

from hashring.errors import ConfigError
from hashring.gateway.line_writer import LineWriter
from hashring.keys import Key, key_bytes


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

    ``key`` keys the hash of client IDs: routers with one key write one hash. ``plain`` writes the
    IDs themselves, escaped. Cost: 4 us.

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
        plain: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if form not in ("text", "json"):
            raise ConfigError(f"an access log is 'text' or 'json', got {form!r}", option="form")
        self.write = write or LineWriter()
        self._line = self._as_json if form == "json" else self._as_text
        self._key = os.urandom(16) if key is None else blake2b(key, digest_size=16).digest()
        self._clock = clock
        self._second, self._shown = -1, ""
        self._shown_client = lru_cache(4096)(_escape if plain else self._hash)

    def __call__(self, entry: AccessEntry) -> None:
        """Write one line."""
        client = entry.client
        has_id = client is not None and (client or client == 0)
        shown = self._shown_client(client) if has_id else "-"
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        self.write(self._line(entry, shown))

    def reopen(self) -> None:
        """Open a file again that was rotated; nothing for other outputs."""
        reopen = getattr(getattr(self.write, "output", None), "reopen", None)
        if reopen is not None:
            reopen()

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


def _escape(client: Key) -> str:
    """The ID as one word of a line, of printable ASCII.

    >>> _escape("ann b"), _escape(b"\\xff"), _escape(7)
    ('ann%20b', '%FF', '7')
    """
    return quote(key_bytes(client), safe="!$&'()*+,/:;=?@[]~")
