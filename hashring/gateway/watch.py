"""Is somebody still waiting for this answer, and does it still move?"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from hashring.gateway.asgi import Message, Receive, Send
from hashring.gateway.body import Body
from hashring.gateway.options import Timeouts

__all__ = ["Watch", "Why"]

Why: TypeAlias = Literal["gone", "body", "upload", "reader", "total"]

_LATE = 0.2
"""Seconds before anybody looks: most answers are over by then and pay for one timer, no task."""

_STEP = 1.0  # seconds between two looks, so that a time limit is kept to about a second


class Watch:
    """Cancels the task of a request, and says ``why``, when it should go on no longer.

    ``gone``: the client hung up, which an ASGI ``send`` does not tell. ``body``: it stopped
    sending; ``reader``: it stopped reading. ``upload``: the host stopped reading. ``total``: it
    took too long altogether. Cost: one timer; from 0.2 s on a task that waits.
    """

    __slots__ = (
        "_body",
        "_listener",
        "_loop",
        "_mark",
        "_send",
        "_since",
        "_task",
        "_timeouts",
        "_timer",
        "began",
        "receive",
        "sending",
        "sent",
        "why",
    )

    def __init__(self, receive: Receive, send: Send, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self.receive, self._send = receive, send
        self._timeouts = timeouts
        self._body: Body | None = None
        self._listener: asyncio.Task[None] | None = None
        self._mark: tuple[object, ...] = ()
        self._since = 0.0
        self.began = self._loop.time()
        self.sending = False
        self.sent = 0  # messages, of which the first is the head
        self.why: Why | None = None
        self._timer = self._loop.call_later(_LATE, self._look)

    def follow(self, body: Body) -> None:
        """From now on ``body`` is the one that is sent."""
        self._body = body

    async def send(self, message: Message) -> None:
        """``send`` of the server, seen by this watch."""
        self.sending = True
        self.sent += 1
        await self._send(message)
        self.sending = False

    @staticmethod
    def clock() -> float:
        """The time on which a watch looks, in seconds."""
        return asyncio.get_running_loop().time()

    def age(self) -> float:
        """Seconds since it began."""
        return self._loop.time() - self.began

    def over(self) -> None:
        """The request is over: look no more."""
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def caught(self) -> bool:
        """Whether a cancellation was ours; it is then taken back."""
        if self.why is None or self._task is None:
            return False
        self._task.uncancel()
        return True

    def _look(self) -> None:
        now = self._loop.time()
        timeouts, body = self._timeouts, self._body
        if timeouts.total is not None and now - self.began >= timeouts.total:
            self._end("total")
            return
        if body is not None and body.error is not None and self.sent:
            self._end("gone")  # while its answer had already begun
            return
        stuck: Why | None = "reader" if self.sending else None
        if stuck is None and body is not None and body.waits_for is not None:
            stuck = "body" if body.waits_for == "client" else "upload"
        mark = (stuck, self.sent, body and body.turns)
        if stuck is None or mark != self._mark:
            self._mark, self._since = mark, now
        elif timeouts.idle is not None and now - self._since >= timeouts.idle:
            self._end(stuck)
            return
        if self._listener is None and (body is None or (body.done and body.waits_for is None)):
            self._listener = self._loop.create_task(self._listen())
        self._timer = self._loop.call_later(self._pause(now), self._look)

    def _pause(self, now: float) -> float:
        shortest = min(filter(None, (self._timeouts.total, self._timeouts.idle)), default=_STEP)
        return min(_STEP, max(0.01, shortest / 4))

    async def _listen(self) -> None:
        """Wait until the client hangs up. Nobody else receives once the body is done."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self._end("gone")

    def _end(self, why: Why) -> None:
        if self.why is None and self._task is not None:
            self.why = why
            self._task.cancel()
