"""Events of published changes: delivered in order, each once, outside every lock."""

from __future__ import annotations

import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from hashring.balancer.reports import Movement
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.locks import Guard
from hashring.pool import HostChange

_log = logging.getLogger("hashring")


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
    """A queue of events and the subscribers.

    ``post`` may be called under any lock; ``deliver`` is called outside of all. One thread at a
    time delivers, so order holds. What a callback raises keeps the event from no other subscriber:
    an ``Exception`` is logged, anything else (``KeyboardInterrupt``) is raised when the queue is
    empty.
    """

    def __init__(self, published_epoch: Callable[[], int]) -> None:
        self._published_epoch = published_epoch
        self._subscribers: dict[object, Callback] = {}
        self._queue: deque[tuple[Event, deque[object]]] = deque()
        self._guard = Guard()
        self._deliverer: tuple[object, int] | None = None  # a call of deliver() and its thread

    def after_fork(self) -> None:
        """In a child process: a delivery by a lost thread does not keep later events waiting."""
        self._guard.after_fork()
        deliverer = self._deliverer
        if deliverer is not None and deliverer[1] != threading.get_ident():
            self._deliverer = None  # unlike a callback that forks, and goes on delivering

    @property
    def has_subscribers(self) -> bool:
        """Whether an event would reach a subscriber."""
        return bool(self._subscribers)

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with each later event; the result ends that, once or twice.

        Raises ``ConfigError`` for a callback that cannot be called or must be awaited.
        """
        check_callback(callback)
        ticket = object()
        self._subscribers[ticket] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(ticket, None)

        return unsubscribe

    def post(self, events: list[Event]) -> None:
        """Queue the events of one change, for the subscribers of now."""
        published = self._published_epoch()
        while events and self._queue and self._queue[-1][0].epoch > published:
            self._queue.pop()  # of a change that was interrupted before it was published
        self._queue.extend([(event, deque(self._subscribers)) for event in events])

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
                if self._deliverer is me:
                    self._deliverer = None
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
        callback = self._subscribers.get(tickets[0])
        try:
            tickets.popleft()
            if callback is not None:
                callback(event)
        except Exception:  # a subscriber's error must not undo a published change
            _log.exception("a subscriber failed on %s", event)
        except BaseException as error:
            return error
        return None

    def _begin(self, me: tuple[object, int]) -> bool:
        if self._guard.is_held():  # a signal handler in the next lines: its thread delivers
            return False
        with self._guard.lock:
            if self._deliverer is not None:
                return False
            self._deliverer = me
            return True


def check_callback(callback: object) -> None:
    """Raise ``ConfigError`` unless ``callback`` is a plain callable.

    >>> check_callback("x")
    Traceback (most recent call last):
    hashring.errors.ConfigError: a callback must be a function, got 'x'
    """
    if not callable(callback):
        raise ConfigError(f"a callback must be a function, got {callback!r}")
    is_async = inspect.iscoroutinefunction
    if is_async(callback) or is_async(getattr(callback, "__call__", None)):  # noqa: B004  # its kind
        raise ConfigError(
            f"a callback must be a plain function, and {callback!r} is 'async def': start a task "
            "in a plain one"
        )
