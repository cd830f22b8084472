"""Ends requests whose client has gone, or that make no progress."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from hashring.config.settings import Timeouts
from hashring.gateway.asgi import Message, Receive, Send
from hashring.gateway.body import Body

Why: TypeAlias = Literal["gone", "body", "upload", "reader", "total"]

_LATE = 0.2
"""Seconds before the first check: most requests are over by then, without a timer or a task."""

_STEP = 1.0  # seconds between two looks, so that a time limit is kept to about a second


class TimerWheel:
    """Checks the requests in flight whose next check is due.

    One timer serves all of them: one for each would cost a tenth of what a short request does. It
    runs while there are any. Cost: O(requests) a round, of which there are ten a second.
    """

    __slots__ = ("_loop", "_pause", "_timer", "_watches", "timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        shortest = min(filter(None, (timeouts.total, timeouts.idle)), default=_STEP)
        self._pause = min(_STEP, max(0.01, shortest / 4))
        self._watches: set[RequestTimeouts] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def join(self, watch: RequestTimeouts, loop: asyncio.AbstractEventLoop) -> None:
        """From now on look at ``watch``, too."""
        if self._loop is not loop:  # an ended loop has no requests left
            self._loop, self._timer, self._watches = loop, None, set()
        self._watches.add(watch)
        if self._timer is None:
            self._set_out(loop)

    def leave(self, watch: RequestTimeouts) -> None:
        """Look at ``watch`` no more."""
        self._watches.discard(watch)

    def _set_out(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(_LATE / 2, self._pause), self._go, loop)

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._watches:
            self._set_out(loop)
        now = loop.time()
        for watch in [watch for watch in self._watches if watch.due <= now]:
            watch.due = now + self._pause
            watch.look(now)


class RequestTimeouts:
    """Cancels the task of a request that should not continue; ``why`` is the reason.

    ``gone``: the client hung up, which an ASGI ``send`` does not report. ``body``: it stopped
    sending; ``reader``: it stopped reading. ``upload``: the host stopped reading. ``total``: it
    took too long altogether. ``rounds`` look at it. Cost: 1 us; from 0.2 s on a task that waits.
    """

    __slots__ = (
        "_body",
        "_listener",
        "_loop",
        "_mark",
        "_rounds",
        "_send",
        "_since",
        "_task",
        "began",
        "due",
        "receive",
        "sending",
        "sent",
        "why",
    )

    def __init__(self, receive: Receive, send: Send, rounds: TimerWheel) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self.receive, self._send = receive, send
        self._rounds = rounds
        self._body: Body | None = None
        self._listener: asyncio.Task[None] | None = None
        self._mark: tuple[object, ...] = ()
        self._since = 0.0
        self.began = loop.time()
        self.due = self.began + _LATE
        self.sending = False
        self.sent = 0  # messages, of which the first is the head
        self.why: Why | None = None
        rounds.join(self, loop)

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
        self._rounds.leave(self)
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def caught(self) -> bool:
        """Whether a cancellation was ours; it is then taken back."""
        if self.why is None or self._task is None:
            return False
        self._task.uncancel()
        return True

    def look(self, now: float) -> None:
        """End the request if its client has gone, or if it makes no progress."""
        timeouts, body = self._rounds.timeouts, self._body
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

    async def _listen(self) -> None:
        """Wait until the client hangs up; there is no other receiver once the body is done."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self._end("gone")

    def _end(self, why: Why) -> None:
        if self.why is None and self._task is not None:
            self.why = why
            self._task.cancel()
