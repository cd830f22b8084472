"""One timer that looks at everything that may take too long."""

from __future__ import annotations

import asyncio
from typing import Protocol

from hashring.config.settings import Timeouts

_LATE = 0.2
"""Seconds before the first check of a request: most are over by then."""

_STEP = 1.0  # seconds between two checks, so that a time limit is kept to about a second


class Timed(Protocol):
    """What is looked at: a request, or a connection of a client."""

    due: float
    """The loop's time before which it needs no check; 0 before the first round that sees it."""

    def check(self, now: float) -> None:
        """End it if it has taken too long."""


class TimerWheel:
    """Checks the members whose next check is due.

    One timer serves all of them: one for each would cost a tenth of what a short request does. It
    runs while there are any. Cost: O(members) a round, of which there are at most ten a second for
    the default timeouts.
    """

    __slots__ = ("_first", "_loop", "_members", "_pause", "_timer")

    def __init__(self, *timeouts: float | None, first: float = _LATE) -> None:
        shortest = min(filter(None, timeouts), default=_STEP)
        self._pause = min(_STEP, max(0.01, shortest / 4))
        self._first = min(first, self._pause)
        self._members: set[Timed] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def join(self, member: Timed, loop: asyncio.AbstractEventLoop) -> None:
        """Look at ``member`` from now on."""
        if self._loop is not loop:  # an ended loop has no requests left
            self._loop, self._timer, self._members = loop, None, set()
        member.due = 0.0
        self._members.add(member)
        if self._timer is None:
            self._start(loop)

    def leave(self, member: Timed) -> None:
        """Look at ``member`` no more."""
        self._members.discard(member)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(max(0.01, self._first / 2), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._members:
            self._start(loop)
        now = loop.time()
        for member in [member for member in self._members if member.due <= now]:
            if member.due:
                member.due = now + self._pause
                member.check(now)
            else:  # it has come since the last round
                member.due = now + self._first


def request_wheel(timeouts: Timeouts) -> TimerWheel:
    """The wheel of requests with these timeouts."""
    return TimerWheel(timeouts.total, timeouts.idle, timeouts.tunnel)
