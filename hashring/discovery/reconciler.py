"""Brings a pool to the membership of a source: one task reads, one decides and applies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from hashring.balancer import LoadBalancer
from hashring.discovery._backoff import Backoff
from hashring.discovery._membership import Membership, Source
from hashring.discovery.change_filter import ChangeFilter, Size
from hashring.errors import HashringError
from hashring.listeners import Listeners
from hashring.pool import Edited, HostChange, Member, Members, reconcile_members

_log = logging.getLogger("hashring")

_PATIENCE = 1.0  # seconds until a reader that was cancelled is cancelled once more

_COUNTED = ("changed", "held", "released", "refused", "lost", "back", "memberships", "unchanged")


HOLDER = "discovery"
"""The holder of the drains that a source asks for; marks of others are not touched."""

_CAUSE = "the source drains it"

Kind: TypeAlias = Literal["changed", "held", "released", "refused", "lost", "back"]

_WARNINGS = frozenset({"held", "refused", "lost"})


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened between a source and the pool.

    ``changed``: the pool has a new membership. ``held``: an answer is empty or shrunken by more
    than half and waits for its hold time. ``released``: a better answer came instead. ``refused``:
    the pool cannot take the membership, such as above its capacity; the last good one stays.
    ``lost``: the source cannot be read; the last good pool stays. ``back``: it can again.
    """

    kind: Kind
    source: str
    text: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.source}: {self.text}"


def apply_membership(members: Members, membership: Membership) -> Edited:
    """The members become those of ``membership``; ``discovery`` drains exactly those it drains.

    Hosts that stay keep all other marks and drains; a new address under an old name is a replace.
    Cost: O(n).

    >>> from hashring.hosts import Host
    >>> members = {"a": Member(Host("a"), drains={"discovery": None}), "b": Member(Host("b"))}
    >>> wanted = Membership((Host("a"), Host("c")), frozenset({"c"}))
    >>> after, changes = apply_membership(members, wanted)
    >>> [(change.kind, change.host.name) for change in changes]
    [('unregister', 'b'), ('register', 'c'), ('resume', 'a'), ('drain', 'c')]
    """
    came, changes = reconcile_members(members, membership.hosts)
    after = dict(came)
    for name, member in came.items():
        wanted, drained = name in membership.draining, HOLDER in member.drains
        if wanted != drained:
            after[name] = _with_drain(member, wanted)
            kind = "drain" if wanted else "resume"
            changes.append(HostChange(kind, member.host, HOLDER, _CAUSE if wanted else None))
    return after, changes


def _with_drain(member: Member, wanted: bool) -> Member:
    others = {by: end for by, end in member.drains.items() if by != HOLDER}
    return replace(member, drains={**others, HOLDER: None} if wanted else others)


class Reconciler:
    """Reads ``source`` and keeps the pool of ``lb`` equal to it while ``run`` runs."""

    def __init__(
        self,
        source: Source,
        lb: LoadBalancer,
        changes: ChangeFilter,
        backoff: Backoff,
        clock: Callable[[], float],
    ) -> None:
        self.source, self._lb, self.changes, self._backoff = source, lb, changes, backoff
        self._clock = clock
        self.listeners: Listeners[Notice] = Listeners()
        self.stats = dict.fromkeys(_COUNTED, 0)
        self.membership: Membership | None = None  # the last that the pool took
        self.last_error: str | None = None  # why the source cannot be read now
        self._refused: str | None = None
        self._news = asyncio.Event()

    async def run(self, answered: Callable[[], object]) -> None:
        """Work until cancelled; ``answered`` is called once the first answer has been judged."""
        self._news = asyncio.Event()
        if len(self._lb):
            self.changes.record_accepted(self._size(), self._clock())
        reader = asyncio.create_task(self._read(), name=f"reads {self.source}")
        try:
            while True:
                self._news.clear()
                if await self._decide():
                    answered()
                await self._pause()
        except Exception:
            _log.exception("discovery from %s failed; the pool stays", self.source)
            raise
        finally:
            while not reader.done():  # again, in case the source swallows a cancellation
                reader.cancel()
                await asyncio.wait((reader,), timeout=_PATIENCE)

    def _size(self) -> Size:
        members = self._lb.snapshot.members.values()
        return Size(len(members), sum(HOLDER not in member.drains for member in members))

    # -- the reading task -------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            began = self._clock()
            try:
                async with _closing(self.source.watch()) as memberships:
                    async for membership in memberships:
                        self._receive(membership)
                why = "its watch ended"
            except (HashringError, OSError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:  # a bug of a source must not end all reading
                _log.exception("the source %s failed", self.source)
                why = f"{type(error).__name__}: {error}"
            if self.last_error is None:
                self._report("lost", f"{why}; the last good pool stays")
            self.last_error = why
            self.changes.lost(self._clock())
            self._news.set()  # it may be waiting for a time that no longer counts
            await asyncio.sleep(self._backoff.wait(self._clock() - began))

    def _receive(self, membership: Membership) -> None:
        self.stats["memberships"] += 1
        if self.last_error is not None:
            self.last_error = None
            self._report("back", "it answers again", membership)
        self.changes.offer(membership, self._clock())
        self._news.set()

    # -- the deciding task ------------------------------------------------------------------------

    async def _decide(self) -> bool:
        """Do what is due; whether anything was."""
        did = False
        while (step := self.changes.step(self._clock())).act != "nothing":
            did = True
            membership = step.membership
            assert membership is not None
            if step.act == "take":
                await self._take(membership)
            elif step.act == "held":
                text = f"{_hosts(membership)}, where the pool has {len(self._lb)}: not accepted"
                self._report(
                    "held", f"{text} until it has lasted {self.changes.hold:g} s", membership
                )
            else:
                self._report("released", f"{_hosts(membership)} again", membership)
        return did

    async def _take(self, membership: Membership) -> None:
        try:
            changed = await self._put(membership)
        except Exception as error:  # of the capacity, of a placement: the pool is as it was
            if not isinstance(error, HashringError):
                _log.exception("the pool failed to take the membership of %s", self.source)
            text = f"{error}; the last good pool stays"
            if text != self._refused:
                self._report("refused", text, membership)
            self._refused = text
            if len(self._lb):
                self.changes.record_accepted(
                    self._size(), self._clock()
                )  # the pool that stays counts
            return
        self._refused = None
        known_before = membership.same(self.membership)
        self.membership = membership
        self.changes.record_accepted(self._size(), self._clock())
        if changed or not known_before:
            self._report("changed", _summary(membership), membership)
        else:
            self.stats["unchanged"] += 1

    async def _put(self, membership: Membership) -> bool:
        """Make it the pool's; whether that published a snapshot.

        In a thread: a pool of 1,000 new hosts takes seconds to build, in which the event loop must
        go on.
        """
        change = asyncio.to_thread(self._lb.apply, apply_membership, membership)
        job = asyncio.ensure_future(change)
        try:
            old, new = await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait((job,))  # what has begun must end before this ends
            raise
        return new is not old

    async def _pause(self) -> None:
        """Wait for news, or until the filter has something to do."""
        due = self.changes.due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._news.wait()

    def _report(self, kind: Kind, text: str, membership: Membership | None = None) -> None:
        self.stats[kind] += 1
        revision = membership.revision if membership else ""
        notice = Notice(kind, str(self.source), text, revision)
        level = logging.WARNING if kind in _WARNINGS else logging.INFO
        _log.log(level, "discovery: %s", notice)
        self.listeners.notify(notice)


def _hosts(membership: Membership) -> str:
    count = len(membership.hosts)
    drain = f", {len(membership.draining)} draining" if membership.draining else ""
    return f"{count} {'host' if count == 1 else 'hosts'}{drain}"


def _summary(membership: Membership) -> str:
    left_out = "".join(f"; left out: {why}" for why in membership.problems[:5])
    more = len(membership.problems) - 5  # as many as one log line bears
    return _hosts(membership) + left_out + (f" and {more} more" if more > 0 else "")


@contextlib.asynccontextmanager
async def _closing(
    memberships: AsyncIterator[Membership],
) -> AsyncIterator[AsyncIterator[Membership]]:
    try:
        yield memberships
    finally:
        close = getattr(memberships, "aclose", None)
        if close is not None:  # an iterator that is not a generator has nothing to close
            await close()
