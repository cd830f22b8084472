"""The lock for data that signal handlers and finalizers may change as well.

Both run in the middle of other code of their thread, also while that code holds a lock and has
changed half of what the lock protects. A call from there must not wait for the lock, because its
own thread would have to release it, and must not change the data. So it is deferred:

::

    if GUARD.is_held():
        return GUARD.defer(self.forget, client)
    try:
        with GUARD.lock:
            ...
    finally:
        if GUARD.deferred:
            GUARD.run_deferred()

There is one such lock in a process. With one for each object, two threads could each hold one and,
in a finalizer, wait for the other's. It is held for microseconds only, and nothing is waited for
meanwhile. A change of a pool, which may take longer, has a lock of its own (``balancer.state``);
that one is taken first.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_log = logging.getLogger("hashring")

P = ParamSpec("P")
T = TypeVar("T")


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

    __slots__ = ("deferred", "is_held", "lock")

    lock: threading.RLock
    is_held: Callable[[], bool]

    def __init__(self) -> None:
        self.deferred: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.lock = threading.RLock()
        # private, but what threading.Condition uses; the public way would cost a second attribute
        self.is_held = self.lock._is_owned  # type: ignore[attr-defined]

    def defer(self, call: Callable[..., object], *given: Any) -> None:
        """Call ``call(*given)`` when the lock is released."""
        self.deferred.append((call, given))

    def run_deferred(self) -> None:
        """Make the calls that were deferred, unless this thread still holds the lock.

        What one raises is logged under ``hashring``.
        """
        if self.is_held():
            return
        for _ in range(len(self.deferred)):  # a call that is deferred again waits for the next time
            try:
                call, given = self.deferred.popleft()
            except IndexError:  # another thread was first
                return
            try:
                call(*given)
            except Exception:
                _log.exception("a deferred call failed")

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``call`` under the lock; then make the calls that were deferred.

        For what is called rarely: it costs a call more than the lines that the module shows.
        """
        try:
            with self.lock:
                return call(*args, **kwargs)
        finally:
            if self.deferred:
                self.run_deferred()


GUARD = Guard()
"""The one of this process."""

if hasattr(os, "register_at_fork"):  # Windows has no fork
    # A fork waits until no thread holds the lock: a child has no data that is half changed by a
    # thread that it does not have.
    os.register_at_fork(
        before=GUARD.lock.acquire,
        after_in_parent=GUARD.lock.release,
        after_in_child=GUARD.lock.release,
    )
