"""What operators have done to hosts: carried out on a gateway, and kept for later workers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from hashring.errors import UnknownHostError
from hashring.gateway.app import Gateway

OPERATOR: Final = "operator"
"""The holder of the marks and drains that operators set."""

ACTIONS: Final = ("drain", "resume", "down", "up", "weight")
_MOST_HOSTS = 10_000  # whose marks are kept: as many as are counted


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

    >>> marks = OperatorMarks()
    >>> marks.record(HostAction("web1", "drain", deadline=60.0), 1000.0)
    >>> marks.record(HostAction("web2", "down", reason="disk"), 1000.0)
    >>> [(each.host, each.action, each.deadline) for each in marks.actions(1010.0)]
    [('web1', 'drain', 50.0), ('web2', 'down', None)]
    >>> marks.record(HostAction("web1", "resume"), 1020.0)
    >>> [each.host for each in marks.actions(1020.0)]
    ['web2']
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[HostAction, float]] = {}

    def record(self, done: HostAction, now: float) -> None:
        """Keep what was done at ``now``, in the place of what it ends; seconds of any clock."""
        kept, host = self._kept, done.host
        if done.action == "weight" and not done.weight:
            done = replace(done, action="drain", weight=None)
        ended = {"resume": "drain", "up": "down"}.get(done.action)
        if ended is not None:
            kept.pop((host, ended), None)
        elif len(kept) < _MOST_HOSTS or (host, done.action) in kept:
            kept[host, done.action] = done, now

    def actions(self, now: float) -> Iterator[HostAction]:
        """What gives a new worker the marks that the others have."""
        for done, began in list(self._kept.values()):
            if done.deadline is None:
                yield done
            else:
                yield replace(done, deadline=max(0.0, done.deadline - (now - began)))


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
