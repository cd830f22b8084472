"""Who carries what a source says into a pool?  One task that reads, one that decides and puts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from hashring.balancer import LoadBalancer
from hashring.discovery._backoff import Backoff
from hashring.discovery._gate import Gate, Size
from hashring.discovery._install import HOLDER, installed
from hashring.discovery._membership import Membership, Source
from hashring.discovery._notices import Kind, Listeners, Notice
from hashring.errors import HashringError

__all__ = ["Pump"]

_log = logging.getLogger("hashring")

_PATIENCE = 1.0  # seconds until a reader that was cancelled is cancelled once more

_COUNTED = ("changed", "held", "released", "refused", "lost", "back", "memberships", "unchanged")


class Pump:
    """Reads ``source`` and keeps the pool of ``lb`` as it says, from ``run``'s beginning on."""

    def __init__(
        self,
        source: Source,
        lb: LoadBalancer,
        gate: Gate,
        backoff: Backoff,
        clock: Callable[[], float],
    ) -> None:
        self.source, self._lb, self.gate, self._backoff = source, lb, gate, backoff
        self._clock = clock
        self.listeners = Listeners()
        self.stats = dict.fromkeys(_COUNTED, 0)
        self.membership: Membership | None = None  # the last that the pool took
        self.trouble: str | None = None  # why the source cannot be read now
        self._refused: str | None = None
        self._news = asyncio.Event()

    async def run(self, settled: Callable[[], object]) -> None:
        """Work until cancelled; ``settled`` is called once the first answer has been judged."""
        self._news = asyncio.Event()
        if len(self._lb):
            self.gate.believed(self._size(), self._clock())
        reader = asyncio.create_task(self._read(), name=f"reads {self.source}")
        try:
            while True:
                self._news.clear()
                if await self._judge():
                    settled()
                await self._pause()
        except Exception:
            _log.exception("discovery from %s ends by a fault; the pool stays", self.source)
            raise
        finally:
            while not reader.done():  # again, should something in a source lose a cancellation
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
                        self._heard(membership)
                why = "its watch ended"
            except (HashringError, OSError) as error:
                why = str(error) or type(error).__name__
            except Exception as error:  # a fault of the source must not end all reading
                _log.exception("the source %s failed by a fault of its own", self.source)
                why = f"{type(error).__name__}: {error}"
            if self.trouble is None:
                self._tell("lost", f"{why}; the last good pool stays")
            self.trouble = why
            self.gate.lost(self._clock())
            self._news.set()  # it may be waiting for a time that counts no longer
            await asyncio.sleep(self._backoff.wait(self._clock() - began))

    def _heard(self, membership: Membership) -> None:
        self.stats["memberships"] += 1
        if self.trouble is not None:
            self.trouble = None
            self._tell("back", "it answers again", membership)
        self.gate.offer(membership, self._clock())
        self._news.set()

    # -- the deciding task ------------------------------------------------------------------------

    async def _judge(self) -> bool:
        """Do what is due; whether anything was."""
        did = False
        while (step := self.gate.step(self._clock())).act != "nothing":
            did = True
            membership = step.membership
            assert membership is not None
            if step.act == "take":
                await self._take(membership)
            elif step.act == "held":
                text = f"{_hosts(membership)}, where the pool has {len(self._lb)}: not believed"
                self._tell("held", f"{text} until it has lasted {self.gate.grace:g} s", membership)
            else:
                self._tell("released", f"{_hosts(membership)} again", membership)
        return did

    async def _take(self, membership: Membership) -> None:
        try:
            changed = await self._put(membership)
        except Exception as error:  # of the capacity, of a placement: the pool is as it was
            if not isinstance(error, HashringError):
                _log.exception("the pool failed to take what %s says", self.source)
            text = f"{error}; the last good pool stays"
            if text != self._refused:
                self._tell("refused", text, membership)
            self._refused = text
            if len(self._lb):
                self.gate.believed(self._size(), self._clock())  # what stays is what counts
            return
        self._refused = None
        told_before = membership.same(self.membership)
        self.membership = membership
        self.gate.believed(self._size(), self._clock())
        if changed or not told_before:
            self._tell("changed", _summary(membership), membership)
        else:
            self.stats["unchanged"] += 1

    async def _put(self, membership: Membership) -> bool:
        """Make it the pool's; whether that published a snapshot.

        In a thread: a pool of 1,000 new hosts takes seconds to build, in which the event loop must
        go on.
        """
        change = asyncio.to_thread(self._lb.apply, installed, membership)
        job = asyncio.ensure_future(change)
        try:
            old, new = await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait((job,))  # what is begun must end before we say that we ended
            raise
        return new is not old

    async def _pause(self) -> None:
        """Wait for news, or until the gate has something to do."""
        due = self.gate.due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                await self._news.wait()

    def _tell(self, kind: Kind, text: str, membership: Membership | None = None) -> None:
        self.stats[kind] += 1
        revision = membership.revision if membership else ""
        self.listeners.tell(Notice(kind, str(self.source), text, revision))


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
        if close is not None:  # an iterator that is no generator has nothing to close
            await close()
