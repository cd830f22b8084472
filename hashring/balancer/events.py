"""Who hears of a change?  Events, delivered in order, each once, outside every lock."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hashring.balancer.reports import Movement
from hashring.hosts import Host
from hashring.pool import Change

__all__ = ["Bus", "Callback", "Event"]

_log = logging.getLogger("hashring")


@dataclass(frozen=True, slots=True)
class Event:
    """One published change of one host.

    ``kind`` is the name of the call that does it (register, unregister, set_weight, replace,
    mark_down, mark_up, drain, resume), ``epoch`` that of the snapshot it came with, ``holder`` who
    says so, ``cause`` why. One ``set_hosts`` gives an event for each host, all of one epoch.
    """

    epoch: int
    kind: str
    host: Host
    holder: str | None
    cause: str | None
    movement: Movement

    @property
    def moved(self) -> float:
        """The fraction of all client IDs that the placement sends elsewhere since this snapshot.

        Worked out when first read, at the reader's cost: O(vnodes).
        """
        return self.movement.diff.moved

    @classmethod
    def of(cls, change: Change, epoch: int, movement: Movement) -> Event:
        """The event of one published change."""
        return cls(epoch, change.kind, change.host, change.holder, change.cause, movement)

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        why = f": {self.cause}" if self.cause else ""
        return f"epoch {self.epoch}: {self.kind} {self.host}{by}{why}"


Callback = Callable[[Event], object]


class Bus:
    """A queue of events and those who want them.

    ``post`` may be called under any lock; ``deliver`` is called outside of all. One thread at a
    time delivers, so order holds; what a callback raises is logged and stops nobody else.
    """

    def __init__(self) -> None:
        self._subscribers: dict[object, Callback] = {}
        self._queue: deque[tuple[Event, tuple[object, ...]]] = deque()
        self._delivering = threading.Lock()
        self._deliverer: int | None = None  # the thread that holds it

    def after_fork(self) -> None:
        """In a child: what a lost thread was delivering does not keep later events waiting."""
        if self._deliverer != threading.get_ident():  # a callback may fork, and go on delivering
            self._delivering = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscribers)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each later event; the answer ends that, once or twice."""
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)

        return unsubscribe

    def post(self, event: Event) -> None:
        """Queue ``event`` for those who listen now."""
        self._queue.append((event, tuple(self._subscribers)))

    def deliver(self) -> None:
        """Deliver what is queued, unless another thread, or a call further up, is at it."""
        # looked at again after each release: an event may be queued while the lock is let go
        while self._queue and self._delivering.acquire(blocking=False):
            self._deliverer = threading.get_ident()
            try:
                while self._queue:
                    event, tickets = self._queue.popleft()
                    for ticket in tickets:
                        callback = self._subscribers.get(ticket)
                        if callback is not None:
                            self._call(callback, event)
            finally:
                self._deliverer = None
                self._delivering.release()

    def _call(self, callback: Callback, event: Event) -> None:
        try:
            callback(event)
        except Exception:  # a listener's fault must not undo a change that is already published
            _log.exception("a subscriber failed on %s", event)
