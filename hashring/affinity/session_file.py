"""A table of sessions on disk, so that a restarted router knows its sessions."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from hashring.balancer.pin_table import PinTable

_VERSION = 1
_MAX_BYTES = 1 << 30
"""1 GiB: four times a million sessions with IDs of the maximum length."""

_log = logging.getLogger("hashring")


class SessionFile:
    """Writes a table as a whole, and reads it back.

    A file is replaced by one rename, so that it is complete at any moment. Ages are stored in
    seconds of the wall clock (``now``), because the table's own clock starts again with the
    machine. A damaged file is reported in the log and ignored.

    >>> import tempfile
    >>> file = SessionFile(tempfile.mkdtemp() + "/sessions", now=lambda: 100.0)
    >>> table, again = PinTable(), PinTable()
    >>> table.claim("x", "web1")
    'web1'
    >>> file.save(table), file.load(again), again.get("x")
    (1, 1, 'web1')
    """

    def __init__(self, path: str, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now

    def save(self, table: PinTable) -> int:
        """Write the sessions of ``table``; their number. Cost: O(sessions). Raises ``OSError``."""
        entries = table.dump()
        lines = [json.dumps({"hashring_sessions": _VERSION, "at": self._now(), "n": len(entries)})]
        lines += [json.dumps([key.hex(), host, *ages]) for key, host, *ages in entries]
        target = Path(self.path)
        beside = target.with_name(f"{target.name}.{os.getpid()}.new")
        try:
            with beside.open("w", encoding="ascii") as file:
                beside.chmod(0o600)  # IDs of sessions are secrets of their clients
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        return len(entries)

    def load(self, table: PinTable) -> int:
        """Add the sessions of the file to ``table``; their number, 0 for a damaged file."""
        target = Path(self.path)
        try:
            if target.stat().st_size > _MAX_BYTES:
                raise ValueError(f"it is larger than {_MAX_BYTES >> 30} GiB")
            entries = self._parse(target.read_text("ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            _log.error("sessions: the file %s is not usable and is ignored: %s", target, error)
            return 0
        table.restore(entries)
        return len(entries)

    def _parse(self, text: str) -> list[tuple[bytes, str, float, float]]:
        first, *rest = text.splitlines()
        head = json.loads(first)
        if head["hashring_sessions"] != _VERSION:
            raise ValueError(f"version {head['hashring_sessions']!r} is not known")
        if head["n"] != len(rest):
            raise ValueError(f"{len(rest)} of {head['n']} sessions are there")
        away = max(0.0, self._now() - float(head["at"]))
        entries = []
        for line in rest:
            key, host, idle, age = json.loads(line)
            if not isinstance(host, str):
                raise TypeError(f"a host is a text, got {host!r}")
            entries.append((bytes.fromhex(key), host, float(idle) + away, float(age) + away))
        return entries
