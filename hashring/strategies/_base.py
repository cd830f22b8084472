"""What a strategy sees (``View``) and how one is written (``Strategy``)."""

from __future__ import annotations

import random as _random
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from hashring.errors import ConfigError
from hashring.hosts import Host


class Rng(Protocol):
    """The two functions of ``random`` that hashring uses; ``random.Random`` and the module fit."""

    def random(self) -> float:
        """A float from 0 up to, not including, 1."""

    def randrange(self, stop: int, /) -> int:
        """An int from 0 up to, not including, ``stop``."""


PROCESS_RNG: Rng = _random
"""The ``random`` module's own functions, which Python reseeds in every forked worker."""


class View(Protocol):
    """The usable hosts at one moment.

    ``hosts`` is never empty, sorted by name, and the same tuple object for as long as the usable
    hosts and their weights are the same. ``excluded`` may be missing in a view of one's own.
    """

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts that may be chosen."""

    @property
    def excluded(self) -> frozenset[str]:
        """The names of hosts left out, as for a retry: a rotation keeps its turns there apart."""

    def in_flight(self, host: Host) -> int:
        """How many leases ``host`` serves now. Cost: O(1)."""

    def outstanding(self, host: Host) -> float:
        """The work on ``host`` whose response has not begun, in average requests. Cost: O(1)."""

    def sessions(self, host: Host) -> int:
        """How many clients are pinned to ``host``; 0 without a store that counts. Cost: O(1)."""

    def latency(self, host: Host) -> float:
        """The host's peak-sensitive mean latency in seconds, 0.0 before the first answer."""

    def least_loaded(self) -> Host:
        """The host with the least in-flight per weight; equals in rotation. Cost: O(log n)."""

    def least_outstanding(self) -> Host:
        """The host with the least outstanding work per weight. Cost: O(log n)."""


class Strategy(ABC):
    """Picks a host for an anonymous request. One object serves one balancer.

    ``USES_WEIGHT``: shares follow the weights. ``REASON`` is the reason of a lease that it places.
    ``rng`` is where randomness comes from:
    None takes the balancer's, or else ``PROCESS_RNG``. ``choose`` is called by any number of
    threads, with views whose hosts may differ from call to call.

    >>> class First(Strategy):
    ...     def choose(self, view):
    ...         return view.hosts[0]
    >>> First().bind(None)
    """

    USES_WEIGHT: ClassVar[bool] = False
    REASON: ClassVar[str] = "fallback"

    def __init__(self, *, rng: Rng | None = None) -> None:
        self._rng: Rng = PROCESS_RNG if rng is None else rng
        self._own_rng = rng is not None
        self._bound = False

    @abstractmethod
    def choose(self, view: View) -> Host:
        """One of ``view.hosts``. Keep it short: it runs in every anonymous request."""

    def bind(self, rng: Rng | None) -> None:
        """Called once, by the balancer that uses this object; again is a ``ConfigError``."""
        if self._bound:
            raise ConfigError(
                f"this {type(self).__name__} already serves a balancer: make one for each",
                option="fallback",
            )
        self._bound = True
        if rng is not None and not self._own_rng:
            self._rng = rng
