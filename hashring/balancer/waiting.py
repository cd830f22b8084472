"""Requests that wait for a host with room, in the order of their arrival."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hashring.balancer.lease import Lease
from hashring.errors import NoCapacityError
from hashring.load import LoadTracker


class Ticket:
    """One waiting request; ``host`` is what it waits for, None: any."""

    __slots__ = ("host", "loop", "woken")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.woken = asyncio.Event()
        self.host: str | None = None


class WaitingLine:
    """The tickets by arrival. ``wake`` may be called by any thread.

    A release wakes the first one that waits for its host or for any; a change of the pool wakes
    all. One that finds no room keeps its place. Cost of a release: O(those before it).
    """

    def __init__(self) -> None:
        self._tickets: dict[Ticket, None] = {}

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def join(self) -> Ticket:
        """A place at the end of the line."""
        ticket = Ticket()
        self._tickets[ticket] = None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give up the place."""
        self._tickets.pop(ticket, None)

    def wake(self, host: str | None = None) -> None:
        """A slot of ``host`` is free; None: any number on any host."""
        for ticket in tuple(self._tickets):
            if host is None or ticket.host is None or ticket.host == host:
                with suppress(RuntimeError):  # its event loop is closed
                    ticket.loop.call_soon_threadsafe(ticket.woken.set)
                    if host is not None:
                        return

    def is_turn_of(self, ticket: Ticket, host: str) -> bool:
        """Whether no earlier ticket waits for ``host``."""
        for other in tuple(self._tickets):
            if other is ticket:
                break
            if other.host is None or other.host == host:
                return False
        return True

    async def _try(self, lease: Lease, ticket: Ticket | None) -> NoCapacityError | None:
        """Acquire ``lease``, unless there is no room or an earlier ticket waits for its host."""
        try:
            await lease.aacquire()
        except NoCapacityError as error:
            return error
        host = lease.host.name
        if ticket is None or self.is_turn_of(ticket, host):
            return None
        lease.withdraw()
        return NoCapacityError(host=host)

    async def acquire(self, lease: Lease, tracker: LoadTracker, wait: float) -> Lease:
        """Acquire ``lease``; where there is no room, wait for at most ``wait`` seconds."""
        ticket: Ticket | None = None
        full, served = NoCapacityError(), False
        try:
            async with asyncio.timeout(wait):
                if self:  # behind those that wait, even if there is room at this moment
                    ticket = self.join()
                    ticket.loop.call_soon(ticket.woken.set)
                while True:
                    if ticket is not None:
                        await ticket.woken.wait()
                        ticket.woken.clear()
                    refusal = await self._try(lease, ticket)
                    if refusal is None:
                        served = True
                        return lease
                    full = refusal
                    if ticket is None:
                        ticket = self.join()
                    ticket.host = full.host
                    tracker.on_room = self.wake
        except TimeoutError:
            raise full from None
        finally:
            if ticket is not None:
                self.leave(ticket)
                if not self:
                    tracker.on_room = None
                elif not served:
                    self.wake()  # it may have been woken for a slot that it leaves to others
