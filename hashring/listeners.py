"""Callbacks that users subscribe to events."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVarTuple

from hashring.errors import ConfigError

_log = logging.getLogger("hashring")

Given = TypeVarTuple("Given")


class Listeners(Generic[*Given]):
    """The callbacks of one kind of event, which are called with the values ``Given``.

    What one of them raises keeps an event from no other: an ``Exception`` is logged, anything else
    (``KeyboardInterrupt``, ``SystemExit``) is raised after the last.

    >>> listeners, seen = Listeners(), []
    >>> unsubscribe = listeners.subscribe(seen.append)
    >>> listeners.notify("down"); unsubscribe(); listeners.notify("up"); seen
    ['down']
    """

    __slots__ = ("callbacks",)

    def __init__(self) -> None:
        self.callbacks: dict[object, Callable[[*Given], object]] = {}  # by ticket

    def subscribe(self, callback: Callable[[*Given], object]) -> Callable[[], None]:
        """Call ``callback`` with each later event; the result ends that, once or twice.

        Raises ``ConfigError`` for a callback that cannot be called or must be awaited.
        """
        check_callback(callback)
        ticket = object()
        self.callbacks[ticket] = callback

        def unsubscribe() -> None:
            self.callbacks.pop(ticket, None)

        return unsubscribe

    def call_next(self, tickets: deque[object], *given: *Given) -> BaseException | None:
        """Take the first ticket and call its callback, unless that has unsubscribed.

        Returns what the caller is to raise at the end. Where an exception of a signal handler
        strikes before the call, the ticket stays.
        """
        callback = self.callbacks.get(tickets[0], _nothing)
        try:
            del tickets[0]  # no call: no signal handler runs between here and the callback
            callback(*given)
        except Exception:  # a bug of a subscriber must not undo or end what it listens to
            _log.exception("a subscriber failed on %s", ", ".join(map(str, given)))
        except BaseException as error:
            return error
        return None

    def notify(self, *given: *Given) -> None:
        """Call every callback that is subscribed now, in the order of subscription."""
        callbacks = list(self.callbacks.values())
        if len(callbacks) == 1:  # as most have: half of what the loop costs
            try:
                callbacks[0](*given)
            except Exception:
                _log.exception("a subscriber failed on %s", ", ".join(map(str, given)))
            return
        tickets, raised = deque(self.callbacks), None
        while tickets:
            raised = self.call_next(tickets, *given) or raised
        if raised is not None:
            raise raised


def _nothing(*given: object) -> None:
    """In the place of a callback that has unsubscribed."""


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
