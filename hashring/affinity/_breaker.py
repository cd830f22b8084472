"""When is a store that fell silent asked again?  By one caller at a time, after a pause."""

from __future__ import annotations

from collections.abc import Callable

from hashring.locks import GUARD


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

    __slots__ = ("_clock", "_pause", "_until")

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._pause = pause
        self._clock = clock
        self._until: float | None = None  # when the next may ask; None: closed

    @property
    def is_open(self) -> bool:
        """Whether the last answer was a failure."""
        return self._until is not None

    def admits(self) -> bool:
        """Whether this caller may ask. Cost: one comparison while the store answers."""
        if self._until is None:
            return True
        now = self._clock()
        return GUARD.run(self._take_turn, now)

    def _set(self, until: float | None) -> None:
        self._until = until

    def _take_turn(self, now: float) -> bool:
        if self._until is not None:
            if now < self._until:
                return False
            self._until = now + self._pause
        return True

    def record_failure(self) -> None:
        """The store did not answer."""
        GUARD.run(self._set, self._clock() + self._pause)

    def record_success(self) -> None:
        """The store answered."""
        if self._until is not None:
            GUARD.run(self._set, None)
