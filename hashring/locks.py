"""A lock for data that signal handlers and finalizers may change as well.

Both run in the middle of other code of their thread, also while that code holds a lock and has
changed half of what the lock protects. A call from there must not wait for the lock, because its
own thread would have to release it, and must not change the data. So it is deferred:

::

    if guard.is_held():
        return guard.defer(self.forget, client)
    try:
        with guard.lock:
            ...
    finally:
        if guard.deferred:
            guard.run_deferred()
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("hashring")


class Guard:
    """A lock, and the calls that wait until it is released.

    A lock is only taken by ``with``: an exception from a signal handler can strike between an
    ``acquire()`` and the ``try`` after it, but not between the two halves of ``with``.

    >>> guard, seen = Guard(), []
    >>> with guard.lock:
    ...     if guard.is_held():  # as in a signal handler
    ...         guard.defer(seen.append, "later")
    >>> guard.run_deferred(); seen
    ['later']
    """

    __slots__ = ("__weakref__", "deferred", "is_held", "lock")

    lock: threading.RLock
    is_held: Callable[[], bool]

    def __init__(self) -> None:
        self.deferred: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.after_fork()

    def after_fork(self) -> None:
        """In a child process: a lock that no thread holds. The owner calls it."""
        self.lock = threading.RLock()
        # private, but what threading.Condition uses; the public way would cost a second attribute
        self.is_held = self.lock._is_owned  # type: ignore[attr-defined]

    def defer(self, call: Callable[..., object], *given: Any) -> None:
        """Call ``call(*given)`` when the lock is released."""
        self.deferred.append((call, given))

    def run_deferred(self) -> None:
        """Make the calls that were deferred. What one raises is logged under ``hashring``."""
        for _ in range(len(self.deferred)):  # a call that is deferred again waits for the next time
            try:
                call, given = self.deferred.popleft()
            except IndexError:  # another thread was first
                return
            try:
                call(*given)
            except Exception:
                _log.exception("a deferred call failed")
