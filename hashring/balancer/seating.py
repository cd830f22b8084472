"""Which host does a client get that may be known?  The order of one request where pins are kept.

Ask for the pin; if its host can serve the client, that is all. Otherwise place the client, and
write down where: with ``claim`` if it had no pin, with ``replace`` if its host is down or gone.
The answer is the host that holds the client then, for another router may have been first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from hashring.balancer.choosing import Live, preferred
from hashring.balancer.lease import Entered
from hashring.balancer.pins import Questions
from hashring.balancer.reports import Reason
from hashring.hosts import Host
from hashring.load import Ledger, LoadCell

__all__ = ["Place", "Seat", "seated", "settled"]

Place: TypeAlias = Callable[[str | None, bool], tuple[Live, Host, Reason]]
"""(pin, will the choice be remembered?) -> the choice, and the state in which it was made."""


class Seat:
    """One request's place: the host chosen, and in a lease (with a ``ledger``) counted there."""

    __slots__ = ("_gone", "_ledger", "_live", "_place", "cell", "host", "reason")

    def __init__(self, place: Place, gone: frozenset[str], ledger: Ledger | None) -> None:
        self._place = place
        self._gone = gone
        self._ledger = ledger
        self._live: Live
        self.host: Host
        self.reason: Reason
        self.cell: LoadCell | None = None  # where the request is counted

    def take(self, pin: str | None, *, remembered: bool) -> bool:
        """Choose a host, and leave the one before; whether the client is known there."""
        ledger = self._ledger
        if ledger is None:
            self._live, self.host, self.reason = self._place(pin, remembered)
        else:
            with ledger.lock:  # chosen and counted in one go, so that bounds hold exactly
                self._withdraw(ledger)
                self._live, self.host, self.reason = self._place(pin, remembered)
                self._count(ledger)
        return self.reason == "pinned"

    def move(self, name: str) -> bool:
        """Go to the host ``name``, which holds the client; False if it cannot serve it."""
        host = preferred(self._live, name, self._gone)
        if host is None:
            return False
        self.host, self.reason = host, "pinned"
        if self._ledger is not None:
            with self._ledger.lock:
                self._withdraw(self._ledger)
                self._count(self._ledger)
        return True

    def counted(self) -> Entered:
        """What a lease holds: host, reason and the cell where it counts."""
        assert self.cell is not None  # for the type alone: whoever asks gave a ledger
        return self.host, self.reason, self.cell

    def leave(self) -> None:
        """The request will not come."""
        if self._ledger is not None:
            with self._ledger.lock:
                self._withdraw(self._ledger)

    def _count(self, ledger: Ledger) -> None:
        self.cell = self._live.cells[self.host.name]
        ledger.enter(self.cell)

    def _withdraw(self, ledger: Ledger) -> None:
        if self.cell is not None:
            ledger.withdraw(self.cell)
            self.cell = None


def seated(seat: Seat, key: bytes, *, retry: bool) -> Questions[Seat]:
    """The questions after which ``seat`` is where the client belongs. A retry writes nothing."""
    try:
        pin = yield "get", key
    except OSError:
        pass
    else:
        return (yield from settled(seat, key, pin, retry=retry))
    seat.take(None, remembered=False)  # placed as by a router that has no store
    return seat


def settled(seat: Seat, key: bytes, pin: str | None, *, retry: bool) -> Questions[Seat]:
    """What is left to ask once the store has said where the client is."""
    if seat.take(pin, remembered=True) or retry:
        return seat
    try:
        yield from _written(seat, key, pin)
        return seat
    except OSError:
        pass
    except BaseException:  # cancelled while it waited for the store
        seat.leave()
        raise
    seat.take(None, remembered=False)  # nobody remembers, so it must be as all routers choose
    return seat


def _written(seat: Seat, key: bytes, pin: str | None) -> Questions[None]:
    name = seat.host.name
    held = yield ("claim", key, name) if pin is None else ("replace", key, pin, name)
    if held is not None and held != name and not seat.move(held):
        yield "replace", key, held, name  # another router's word, for a host that is down here
