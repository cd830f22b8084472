"""Reports how many sessions are left on draining hosts, and when a drain has ended."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from hashring.balancer.state import BalancerState
from hashring.pool import MACHINE_HOLDERS, Member

_CAUSES = {"drain_empty": "no session left", "drain_deadline": "the deadline has passed"}


class DrainWatch:
    """Counts the sessions of draining hosts, and announces each end of a drain once."""

    def __init__(self, state: BalancerState, store: Any, clock: Callable[[], float]) -> None:
        self._state, self._clock = state, clock
        self._count = getattr(store, "count", None)
        self._is_async = inspect.iscoroutinefunction(self._count)
        self._announced: set[tuple[str, str]] = set()  # (host, kind) of delivered events

    def check(self) -> dict[str, int | None]:
        """The sessions left by host name, None where they cannot be counted without waiting."""
        left: dict[str, int | None] = {}
        for name in self._draining():
            left[name] = None
            if self._count is not None and not self._is_async:
                try:
                    left[name] = self._count(name)
                except ConnectionError:  # the store does not answer: the number is not known
                    continue
        self._announce(left)
        return left

    async def acheck(self) -> dict[str, int | None]:
        """As ``check``, with a store that must be awaited too."""
        if not self._is_async:
            return self.check()
        assert self._count is not None
        left: dict[str, int | None] = {}
        for name in self._draining():
            try:
                left[name] = await self._count(name)
            except ConnectionError:
                left[name] = None
        self._announce(left)
        return left

    def _draining(self) -> Mapping[str, Member]:
        members = self._state.active.snapshot.members
        # an ejected host is not being emptied
        return {
            name: member
            for name, member in members.items()
            if not MACHINE_HOLDERS.issuperset(member.drains)
        }

    def _announce(self, left: Mapping[str, int | None]) -> None:
        now, ended = self._clock(), set[tuple[str, str]]()
        draining = self._draining()
        for name, member in draining.items():
            ends = [end for end in member.drains.values() if end is not None]
            if left.get(name) == 0:
                ended.add((name, "drain_empty"))
            if ends and min(ends) <= now:
                ended.add((name, "drain_deadline"))
        new, self._announced = ended - self._announced, ended
        for name, kind in sorted(new):
            self._state.announce(kind, draining[name].host, None, _CAUSES[kind])
