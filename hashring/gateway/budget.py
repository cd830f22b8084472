"""May this request be tried again?  Not more often than a part of all requests, and some a second.

Source: the retry budget of Finagle.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_KEPT = 10.0
"""Seconds' worth of unspent retries that are kept: Finagle's window. More would let a fault after
a quiet hour double the load."""


class RetryBudget:
    """``share`` of a retry for each request, and ``rate`` retries a second. Cost: 0.2 us.

    >>> now = [0.0]
    >>> budget = RetryBudget(0.5, 1.0, clock=lambda: now[0])
    >>> budget.withdraw(), budget.withdraw()    # one second's worth is there at the start
    (True, False)
    >>> budget.deposit(); budget.deposit(); budget.withdraw()
    True
    """

    __slots__ = ("_clock", "_earned", "_most_earned", "_rate", "_reserve", "_share", "_stamp")

    def __init__(
        self, share: float, rate: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._rate = rate
        self._clock = clock
        self._earned = 0.0
        self._most_earned = max(1.0, rate) * _KEPT
        self._reserve = rate  # one second's worth at most: a burst above it is a storm
        self._stamp = clock()

    def deposit(self) -> None:
        """A request has come."""
        earned = self._earned + self._share
        self._earned = earned if earned < self._most_earned else self._most_earned

    def withdraw(self) -> bool:
        """Whether one more retry is allowed; it is then spent."""
        now = self._clock()
        self._reserve = min(self._rate, self._reserve + (now - self._stamp) * self._rate)
        self._stamp = now
        if self._earned >= 1.0:
            self._earned -= 1.0
        elif self._reserve >= 1.0:
            self._reserve -= 1.0
        else:
            return False
        return True
