"""When is a store that fell silent asked again?  By one caller at a time, after a pause."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hashring.forks import watch


class Breaker:
    """Closed while the store answers; open for ``pause`` seconds after each failure.

    After the pause one caller may ask, and for the next pause no other. ``clock`` reads seconds
    that never run backwards. Any number of threads may use it.

    >>> clock = iter([0.0, 0.1, 0.5, 0.6]).__next__
    >>> breaker = Breaker(0.5, clock)
    >>> breaker.record_failure()
    >>> breaker.admits(), breaker.admits(), breaker.admits()
    (False, True, False)
    >>> breaker.record_success(); breaker.admits()
    True
    """

    __slots__ = ("__weakref__", "_clock", "_lock", "_pause", "_until")

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._pause = pause
        self._clock = clock
        self.after_fork()
        self._until: float | None = None  # when the next may ask; None: closed
        watch(self)

    def after_fork(self) -> None:
        """In a child: a lock that no lost thread holds."""
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the last answer was a failure."""
        return self._until is not None

    def admits(self) -> bool:
        """Whether this caller may ask. Cost: one comparison while the store answers."""
        if self._until is None:
            return True
        now = self._clock()
        with self._lock:
            if self._until is not None:
                if now < self._until:
                    return False
                self._until = now + self._pause
        return True

    def record_failure(self) -> None:
        """The store did not answer."""
        now = self._clock()
        with self._lock:
            self._until = now + self._pause

    def record_success(self) -> None:
        """The store answered."""
        if self._until is not None:
            with self._lock:
                self._until = None
