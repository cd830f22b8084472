"""Events of published changes: delivered in order, each once, outside every lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hashring.balancer.reports import Movement
from hashring.hosts import Host
from hashring.listeners import Listeners
from hashring.locks import GUARD
from hashring.pool import HostChange


@dataclass(frozen=True, slots=True)
class Event:
    """One published change of one host.

    ``kind`` is the name of the call that makes it (register, unregister, set_weight, replace,
    mark_down, mark_up, drain, resume), or ``drain_empty`` and ``drain_deadline`` of
    ``check_drains``; ``epoch`` that of the snapshot it came with, ``holder`` the
    part that made it, ``cause`` why. One ``set_hosts`` gives an event for each host, all of one
    epoch.
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
    def of(cls, change: HostChange, epoch: int, movement: Movement) -> Event:
        """The event of one published change."""
        return cls(epoch, change.kind, change.host, change.holder, change.cause, movement)

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else ""
        why = f": {self.cause}" if self.cause else ""
        return f"epoch {self.epoch}: {self.kind} {self.host}{by}{why}"


Callback = Callable[[Event], object]


class EventBus:
    """A queue of events and their subscribers.

    ``post`` may be called under any lock; ``deliver`` is called outside of all. One thread at a
    time delivers, so order holds. What a subscriber raises is handled as by ``Listeners``: what is
    not an ``Exception`` is raised when the queue is empty.
    """

    def __init__(self, published_epoch: Callable[[], int]) -> None:
        self._published_epoch = published_epoch
        self._subscribers: Listeners[Event] = Listeners()
        self._queue: deque[tuple[Event, deque[object]]] = deque()
        self._deliverer: tuple[object, int] | None = None  # a call of deliver() and its thread

    def after_fork(self) -> None:
        """In a child process: a delivery by a lost thread does not keep later events waiting."""
        deliverer = self._deliverer
        if deliverer is not None and deliverer[1] != threading.get_ident():
            self._deliverer = None  # unlike a callback that forks, and goes on delivering

    @property
    def has_subscribers(self) -> bool:
        """Whether an event would reach a subscriber."""
        return bool(self._subscribers.callbacks)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each later event; the result ends that, once or twice.

        Raises ``ConfigError`` for a callback that cannot be called or must be awaited.
        """
        return self._subscribers.subscribe(callback)

    def post(self, events: list[Event]) -> None:
        """Queue the events of one change for the present subscribers."""
        published = self._published_epoch()
        while events and self._queue and self._queue[-1][0].epoch > published:
            self._queue.pop()  # of a change that was interrupted before it was published
        self._queue.extend([(event, deque(self._subscribers.callbacks)) for event in events])

    def deliver(self) -> None:
        """Deliver what is queued and published, unless a delivery is under way."""
        raised: BaseException | None = None
        # checked again after each delivery: an event may be queued while one ends
        while self._is_ready():
            me = object(), threading.get_ident()
            try:
                if not self._begin(me):
                    break
                while self._is_ready():
                    raised = self._call_next(*self._queue[0]) or raised
            finally:
                # one line without a call: no signal handler runs before it
                self._deliverer = None if self._deliverer is me else self._deliverer
                if GUARD.deferred:
                    GUARD.run_deferred()
        if raised is not None:
            raise raised

    def _is_ready(self) -> bool:
        queue = self._queue
        return bool(queue) and queue[0][0].epoch <= self._published_epoch()

    def _call_next(self, event: Event, tickets: deque[object]) -> BaseException | None:
        """Call the next subscriber of the first event, which leaves the queue after the last."""
        if not tickets:
            self._queue.popleft()
            return None
        return self._subscribers.call_next(tickets, event)

    def _begin(self, me: tuple[object, int]) -> bool:
        if GUARD.is_held():  # called by a signal handler or a finalizer
            GUARD.defer(self.deliver)
            return False
        with GUARD.lock:
            if self._deliverer is not None:
                return False
            self._deliverer = me
            return True
