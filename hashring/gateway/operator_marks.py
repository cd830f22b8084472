"""What operators have done to hosts: carried out on a gateway, and kept for later workers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from hashring.errors import UnknownHostError
from hashring.gateway.app import Gateway

OPERATOR: Final = "operator"
"""The holder of the marks and drains that operators set."""

ACTIONS: Final = ("drain", "resume", "down", "up", "weight")
_MOST_HOSTS = 10_000  # whose marks are kept: as many as are counted
_VERSION = 1  # of the file
_MOST_BYTES = 16 << 20  # of the file: 10,000 hosts with long reasons

_log = logging.getLogger("hashring")


@dataclass(frozen=True, slots=True)
class HostAction:
    """One action on a host; ``deadline`` in seconds from now, for a drain."""

    host: str
    action: str
    deadline: float | None = None
    reason: str = "an operator"
    weight: float | None = None

    def carry_out(self, gateway: Gateway) -> None:
        """Act on the balancer of ``gateway``. Weight 0 is a drain.

        Raises ``UnknownHostError``, and what the balancer raises for a value that is not valid.
        """
        lb = gateway.lb
        if self.action == "drain" or (self.action == "weight" and not self.weight):
            lb.drain(self.host, deadline=self.deadline, by=OPERATOR)
        elif self.action == "resume":
            lb.resume(self.host, by=OPERATOR)
        elif self.action == "down":
            lb.mark_down(self.host, self.reason, by=OPERATOR)
        elif self.action == "up":
            lb.mark_up(self.host, by=OPERATOR)
        elif self.weight is not None:
            gateway.set_weight(self.host, self.weight)

    def to_json(self) -> str:
        """A line for ``action_of``, without a line end."""
        return json.dumps(asdict(self))


def action_of(line: str | bytes) -> HostAction:
    """The action that ``to_json`` wrote.

    >>> action_of(HostAction("web1", "down").to_json())
    HostAction(host='web1', action='down', deadline=None, reason='an operator', weight=None)
    """
    return HostAction(**json.loads(line))


def read_action(method: str, path: str, query: bytes, body: bytes) -> HostAction | None:
    """The action that a request to the admin API asks for, which was accepted; else None.

    >>> read_action("POST", "/v1/hosts/web1/drain", b"", b'{"deadline": 60}').deadline
    60
    >>> read_action("POST", "/v1/hosts/web1/drain", b"dry_run=1", b"")
    """
    parts = path.removeprefix("/v1/hosts/").rpartition("/")
    known = path.startswith("/v1/hosts/") and parts[2] in ACTIONS
    if method != "POST" or not known or b"dry_run" in parse_qs(query):
        return None
    given: dict[str, Any] = json.loads(body or b"{}")
    named = {key: given[key] for key in ("deadline", "reason", "weight") if key in given}
    return HostAction(unquote(parts[0]), parts[2], **named)


class OperatorMarks:
    """The marks, drains and weights by hand that stand now, for workers that start later.

    With a ``file`` they survive a restart: it is replaced as a whole at each action, and a damaged
    one is reported in the log and ignored. ``now`` reads seconds; with a file those of the wall
    clock, by default.

    >>> time = iter([1000.0, 1000.0, 1010.0, 1020.0, 1020.0]).__next__
    >>> marks = OperatorMarks(now=time)
    >>> marks.record(HostAction("web1", "drain", deadline=60.0))
    >>> marks.record(HostAction("web2", "down", reason="disk"))
    >>> [(each.host, each.action, each.deadline) for each in marks.actions()]
    [('web1', 'drain', 50.0), ('web2', 'down', None)]
    >>> marks.record(HostAction("web1", "resume"))
    >>> [each.host for each in marks.actions()]
    ['web2']
    """

    def __init__(self, file: str | None = None, *, now: Callable[[], float] | None = None) -> None:
        self._file = None if file is None else Path(file)
        self._now = now or (time.monotonic if file is None else time.time)
        self._kept: dict[tuple[str, str], tuple[HostAction, float]] = {}
        if self._file is not None:
            self._load(self._file)

    def record(self, done: HostAction) -> None:
        """Keep what was done now, in the place of what it ends."""
        kept, host = self._kept, done.host
        if done.action == "weight" and not done.weight:
            done = replace(done, action="drain", weight=None)
        ended = {"resume": "drain", "up": "down"}.get(done.action)
        now = self._now()
        if ended is not None:
            kept.pop((host, ended), None)
        elif len(kept) < _MOST_HOSTS or (host, done.action) in kept:
            kept[host, done.action] = done, now
        if self._file is not None:
            self._save(self._file)

    def actions(self) -> Iterator[HostAction]:
        """What gives a new process the marks that stand."""
        now = self._now()
        for done, began in list(self._kept.values()):
            if done.deadline is None:
                yield done
            else:
                yield replace(done, deadline=max(0.0, done.deadline - (now - began)))

    def _save(self, target: Path) -> None:
        lines = [json.dumps({"hashring_marks": _VERSION, "n": len(self._kept)})]
        lines += [json.dumps([asdict(done), began]) for done, began in self._kept.values()]
        beside = target.with_name(f"{target.name}.{os.getpid()}.new")
        try:
            with beside.open("w", encoding="ascii") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except OSError as error:
            _log.error("admin: %s cannot be written, a restart will forget: %s", target, error)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _load(self, target: Path) -> None:
        try:
            if target.stat().st_size > _MOST_BYTES:
                raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
            first, *rest = target.read_text("ascii").splitlines()
            head = json.loads(first)
            if head["hashring_marks"] != _VERSION or head["n"] != len(rest):
                raise ValueError("it is of another version or was cut off")
            for line in rest:
                given, began = json.loads(line)
                done = HostAction(**given)
                if done.action not in ACTIONS or not isinstance(done.host, str):
                    raise ValueError(f"{done.action!r} on {done.host!r} is not a known action")
                self._kept[done.host, done.action] = done, float(began)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._kept.clear()
            _log.error("admin: the file %s is not usable and is ignored: %s", target, error)


class DeferredActions:
    """Actions on a gateway that wait until it knows its hosts, which ``begin`` reports."""

    def __init__(self, gateway: Gateway, actions: Iterable[HostAction] = ()) -> None:
        self._gateway = gateway
        self._waiting: list[HostAction] | None = list(actions)

    def act(self, action: HostAction) -> None:
        """Carry it out, now or at ``begin``; not on a host that is no member any more."""
        if self._waiting is not None:
            self._waiting.append(action)
            return
        with contextlib.suppress(UnknownHostError):
            action.carry_out(self._gateway)

    def begin(self) -> None:
        """Carry out what waits, and what comes later immediately."""
        waiting, self._waiting = self._waiting or [], None
        for each in waiting:
            self.act(each)
