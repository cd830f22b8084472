"""A clock for tests, which stands still until the test moves it."""

from __future__ import annotations

import math

from hashring.errors import ConfigError


class FakeClock:
    """A monotonic clock that stands still until ``advance``; call it as ``time.monotonic``.

    ``now`` is in seconds. Raises ``ConfigError`` for steps back: a monotonic clock has none.

    >>> clock = FakeClock()
    >>> clock.advance(2.5)
    2.5
    >>> clock(), clock.now
    (2.5, 2.5)
    >>> from hashring import LoadBalancer
    >>> lb = LoadBalancer(["web1", "web2"], clock=clock)
    >>> with lb.lease("session-42") as lease:  # an answer that takes half a second
    ...     clock.advance(0.5)
    3.0
    >>> lb.load(lease.host.name).latency
    0.5
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = float(now)

    def __call__(self) -> float:
        """The seconds that have passed, as ``time.monotonic()`` gives them."""
        return self.now

    def advance(self, seconds: float) -> float:
        """Let ``seconds`` pass; the new time. Raises ``ConfigError`` below 0 or if not finite.

        >>> FakeClock(10).advance(-1)
        Traceback (most recent call last):
        hashring.errors.ConfigError: a clock advances by 0 or more seconds, got -1
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigError(
                f"a clock advances by 0 or more seconds, got {seconds!r}", option="seconds"
            )
        self.now += seconds
        return self.now
