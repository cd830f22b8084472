"""Which answers of a source are accepted: debounced, and held if most hosts are missing."""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple, TypeAlias

from hashring.discovery._membership import Membership

DEBOUNCE = 0.02
"""Seconds: the events of one deployment step come within milliseconds of each other, and a change
is to be in the pool within 100 ms."""

HOLD = 30.0
"""Seconds: longer than a registry's restart or a lease's usual 10 s; a pool that really shrank is
served meanwhile by health checks and retries, while a wrong empty answer would end all service."""

_LONGEST_DEBOUNCE = 10  # times the debounce, for a source that changes all the time


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


class FilterStep(NamedTuple):
    """What to do now: apply ``membership`` (``take``), report it, or nothing."""

    act: Act
    membership: Membership | None = None


_NOTHING = FilterStep("nothing")


class ChangeFilter:
    """Debounces answers and holds those without most hosts. Methods take the time; not thread-safe.

    An answer is accepted ``debounce`` seconds after the last one arrived, and at most ten times
    that after the first of them; the very first answer immediately. An answer with less than half
    of the hosts, or of those that take new clients, is held until answers of this kind have lasted
    ``hold`` seconds. Time in which the source was ``lost`` does not count. Half is that of the
    largest pool of the last ``hold`` seconds, so that leases that expire one by one are held too.

    >>> changes = ChangeFilter(debounce=0.0, hold=30.0)
    >>> changes.record_accepted(Size(4, 4), now=0.0)
    >>> changes.offer(Membership(()), now=1.0)
    >>> changes.step(now=1.0).act, changes.due(), changes.step(now=31.0).act
    ('held', 31.0, 'take')
    """

    def __init__(self, debounce: float = DEBOUNCE, hold: float = HOLD) -> None:
        self._debounce, self.hold = debounce, hold
        self._offered: Membership | None = None
        self._first = self._last = 0.0  # when the offers since the last step came
        self._held: Membership | None = None
        self._held_since = 0.0
        self._lost: float | None = None  # since when the source cannot be read
        self._size: Size | None = None
        self._past: deque[tuple[float, Size]] = deque()  # (forgotten at, size), larger than later

    @property
    def held(self) -> Membership | None:
        """The answer that is not accepted yet."""
        return self._held

    def offer(self, membership: Membership, now: float) -> None:
        """Take an answer of the source; only the newest counts."""
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

    def record_accepted(self, size: Size, now: float) -> None:
        """The pool is of this size from now on."""
        if self._size is not None:
            # a smaller size that expires sooner decides nothing: a source that flaps for ever
            # leaves one size or two here, not one for each flap
            while self._past and self._past[-1][1].within(self._size):
                self._past.pop()
            self._past.append((now + self.hold, self._size))
        self._size = size

    def due(self) -> float | None:
        """When to call ``step`` next, if no offer comes before."""
        times = []
        if self._offered is not None:
            times.append(self._accepts_at())
        if self._held is not None and self._lost is None:
            times.append(self._held_since + self.hold)
        return min(times, default=None)

    def _accepts_at(self) -> float:
        if self._size is None:
            return self._first
        return min(self._last + self._debounce, self._first + _LONGEST_DEBOUNCE * self._debounce)

    def step(self, now: float) -> FilterStep:
        """The next thing to do at ``now``; call it again until it is ``nothing``."""
        if self._offered is not None and now >= self._accepts_at():
            offered, self._offered = self._offered, None
            return self._judge(offered, now)
        lasted = self._held is not None and self._lost is None
        if lasted and now >= self._held_since + self.hold:
            accepted, self._held = self._held, None
            self._past.clear()  # the answer has lasted: larger pools of the past no longer count
            self._size = None
            return FilterStep("take", accepted)
        return _NOTHING

    def _judge(self, offered: Membership, now: float) -> FilterStep:
        if self._too_small(Size(len(offered.hosts), offered.usable), now):
            first = self._held is None
            if first:
                self._held_since = now  # only then: flaps must not put it off for ever
            self._held = offered
            return FilterStep("held", offered) if first else self.step(now)
        if self._held is not None:
            self._held = None
            self.offer(offered, self._first)  # reported first, then applied
            return FilterStep("released", offered)
        return FilterStep("take", offered)

    def _too_small(self, size: Size, now: float) -> bool:
        while self._past and self._past[0][0] <= now:
            self._past.popleft()
        known = [past for _, past in self._past]
        if self._size is not None:
            known.append(self._size)
        return any(each.halved_by(size) for each in known)
