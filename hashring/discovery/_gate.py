"""When is an answer believed?  Once it is quiet, and later if it says that most hosts are gone."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple, TypeAlias

from hashring.discovery._membership import Membership

__all__ = ["GRACE", "QUIET", "Gate", "Size", "Step"]

QUIET = 0.02
"""Seconds: the events of one deployment step come within milliseconds of each other, and a change
is to be in the pool within 100 ms."""

GRACE = 30.0
"""Seconds: longer than a registry's restart or a lease's usual 10 s; a pool that really shrank is
served meanwhile by health checks and retries, while a wrong empty answer would end all service."""

_MOST_QUIETS = 10  # a source that never is quiet is heard every 10 quiet times


class Size(NamedTuple):
    """How many hosts are in, and how many of them take new clients."""

    hosts: int
    usable: int

    def halved_by(self, other: Size) -> bool:
        """Whether ``other`` has less than half of either; of one host, none is less than half."""
        return 2 * other.hosts < self.hosts or 2 * other.usable < self.usable

    def within(self, other: Size) -> bool:
        """Whether ``other`` has as many of both or more."""
        return self.hosts <= other.hosts and self.usable <= other.usable


Act: TypeAlias = Literal["nothing", "take", "held", "released"]


class Step(NamedTuple):
    """What to do now. ``take``: ``membership`` is believed. Others are to be told of."""

    act: Act
    membership: Membership | None = None


_NOTHING = Step("nothing")


class Gate:
    """Debounce and hold-back; methods take the time, nothing waits. Not for two threads at once.

    An answer is believed ``quiet`` seconds after the last one came, and at most ten times that
    after the first of them; the very first at once. One that has less than half of the hosts, or
    of those that take new clients, is held until it and others like it have lasted for ``grace``
    seconds, not counting those in which the source was ``lost``: who is away insists on nothing.
    What counts as half is the largest pool of the last ``grace`` seconds, so that leases that
    expire one after the other are held too.

    >>> gate = Gate(quiet=0.0, grace=30.0)
    >>> gate.believed(Size(4, 4), now=0.0)
    >>> gate.offer(Membership(()), now=1.0)
    >>> gate.step(now=1.0).act, gate.due(), gate.step(now=31.0).act
    ('held', 31.0, 'take')
    """

    def __init__(self, quiet: float = QUIET, grace: float = GRACE) -> None:
        self._quiet, self.grace = quiet, grace
        self._offered: Membership | None = None
        self._first = self._last = 0.0  # when the offers since the last step came
        self._held: Membership | None = None
        self._held_since = 0.0
        self._lost: float | None = None  # since when the source cannot be read
        self._size: Size | None = None
        self._past: deque[tuple[float, Size]] = deque()  # (forgotten at, size), larger than later

    @property
    def held(self) -> Membership | None:
        """The answer that is not believed yet."""
        return self._held

    def offer(self, membership: Membership, now: float) -> None:
        """The source says so; only the newest answer counts."""
        if self._lost is not None:
            self._held_since += now - max(self._lost, self._held_since)
            self._lost = None
        if self._offered is None:
            self._first = now
        self._offered, self._last = membership, now

    def lost(self, now: float) -> None:
        """The source cannot be read until it offers again; what is held waits for that."""
        if self._lost is None:
            self._lost = now

    def believed(self, size: Size, now: float) -> None:
        """The pool is of this size from now on."""
        if self._size is not None:
            # what is no larger and forgotten sooner says nothing more: a source that flaps for ever
            # leaves one size or two here, not one for each flap
            while self._past and self._past[-1][1].within(self._size):
                self._past.pop()
            self._past.append((now + self.grace, self._size))
        self._size = size

    def due(self) -> float | None:
        """When to call ``step`` next, if no offer comes before."""
        times = []
        if self._offered is not None:
            times.append(self._settles())
        if self._held is not None and self._lost is None:
            times.append(self._held_since + self.grace)
        return min(times, default=None)

    def _settles(self) -> float:
        if self._size is None:
            return self._first
        return min(self._last + self._quiet, self._first + _MOST_QUIETS * self._quiet)

    def step(self, now: float) -> Step:
        """What is to be done at ``now``; call it again until it is ``nothing``."""
        if self._offered is not None and now >= self._settles():
            offered, self._offered = self._offered, None
            return self._judge(offered, now)
        insists = self._held is not None and self._lost is None
        if insists and now >= self._held_since + self.grace:
            believed, self._held = self._held, None
            self._past.clear()  # the source has insisted: what was larger counts no longer
            self._size = None
            return Step("take", believed)
        return _NOTHING

    def _judge(self, offered: Membership, now: float) -> Step:
        if self._too_small(Size(len(offered.hosts), offered.usable), now):
            news = self._held is None
            if news:
                self._held_since = now  # only then: flaps must not put it off for ever
            self._held = offered
            return Step("held", offered) if news else self.step(now)
        if self._held is not None:
            self._held = None
            self.offer(offered, self._first)  # told first, then taken
            return Step("released", offered)
        return Step("take", offered)

    def _too_small(self, size: Size, now: float) -> bool:
        while self._past and self._past[0][0] <= now:
            self._past.popleft()
        known = [past for _, past in self._past]
        if self._size is not None:
            known.append(self._size)
        return any(each.halved_by(size) for each in known)
