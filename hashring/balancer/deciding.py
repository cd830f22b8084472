"""How is one request decided?  The shell around ``choosing.py`` and ``seating.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from mmh3 import mmh3_32_uintdigest

from hashring.balancer import choosing
from hashring.balancer.choosing import NO_NAMES, Live
from hashring.balancer.known import Known
from hashring.balancer.lease import Entered
from hashring.balancer.pins import Questions, ask, ask_async
from hashring.balancer.reports import Reason
from hashring.balancer.seating import Seat, seated, settled
from hashring.errors import ConfigError
from hashring.hosts import Host, as_names
from hashring.keys import Key, key_bytes
from hashring.load import Ledger
from hashring.strategies import View

__all__ = ["Deciding"]

Prefer: TypeAlias = str | Host | None
Exclude: TypeAlias = Iterable[str | Host]


class Deciding(Known):
    """The part of ``LoadBalancer`` that decides where one request goes."""

    _choose_fallback: Callable[[View], Host]
    _load_factor: float | None
    _load_floor: int

    def _pick(self, live: Live, client_id: Key | None, prefer: Prefer, exclude: Exclude) -> Host:
        """Whatever ``pick`` has no short way for."""
        if self._asks_store:
            return self._seat(client_id, prefer, exclude, None).host
        gone = as_names(exclude, "exclude") if exclude else NO_NAMES
        return self._decide(live, client_id, prefer, gone)[0]

    def _pick_known(
        self, client_id: Key | None = None, *, prefer: Prefer = None, exclude: Exclude = ()
    ) -> Host:
        """``pick`` with a plain store of pins: the common answers without the cost of a seat."""
        live = self._live
        store: Any = self._plain  # not None, or this would not be called
        if client_id.__class__ is str and client_id and prefer is None and not exclude:
            try:
                key = client_id.encode()
                name = store.get(key)
                if name is not None:
                    return live.serving[name]
                index = live.newcomers
                if index is not None:
                    # a copy of Index.find: a call would cost a third of the whole pick
                    position = mmh3_32_uintdigest(key, index.seed)
                    code = index.cells[position >> index.shift]
                    if code < 0:
                        packed = index.packed
                        at = index.starts[position >> index.block] + ~code
                        position <<= 24  # layout.CODE_BITS
                        while packed[at] < position:
                            at += 1
                        code = packed[at] & 0xFFFFFF
                    host = index.labels[code]
                    if store.claim(key, host.name) == host.name:
                        return host
            except OSError:  # the store cannot answer: not to be asked a second time
                return self._decide(live, client_id, None, NO_NAMES, remembered=False)[0]
            except (KeyError, UnicodeEncodeError):  # a host with a deadline or away; a surrogate
                pass
        if client_id is None and prefer is None and not exclude and live.view is not None:
            return self._choose_fallback(live.view)
        return self._pick(live, client_id, prefer, exclude)

    def _enter(self, client_id: Key | None, prefer: Prefer, exclude: Exclude) -> Entered:
        if self._asks_store:
            return self._enter_known(client_id, prefer, exclude)
        return self._enter_at_once(client_id, prefer, exclude)

    def _enter_at_once(
        self, client_id: Key | None, prefer: Prefer, exclude: Exclude, *, remembered: bool = True
    ) -> Entered:
        gone = as_names(exclude, "exclude") if exclude else NO_NAMES
        ledger = self._ledger
        with ledger.lock:  # chosen and counted in one go, so that bounds hold exactly
            live = self._live
            host, reason = self._decide(
                live, client_id, prefer, gone, bounded=True, remembered=remembered
            )
            cell = live.cells[host.name]
            ledger.enter(cell)
            return host, reason, cell

    def _enter_known(self, client_id: Key | None, prefer: Prefer, exclude: Exclude) -> Entered:
        store = self._plain
        if store is None or prefer is not None or exclude or not client_id:
            return self._seat(client_id, prefer, exclude, self._ledger).counted()
        key = key_bytes(client_id)
        try:
            pin = store.get(key)
        except OSError:  # the store cannot say
            return self._enter_at_once(client_id, None, (), remembered=False)
        if choosing.preferred(self._live, pin, NO_NAMES) is not None:
            return self._enter_at_once(client_id, pin, ())  # the common answer, without a seat
        seat = self._new_seat(client_id, None, NO_NAMES, self._ledger)
        return ask(store, settled(seat, key, pin, retry=False)).counted()

    async def _enter_async(
        self, client_id: Key | None, prefer: Prefer, exclude: Exclude
    ) -> Entered:
        return (await self._seat_async(client_id, prefer, exclude, self._ledger)).counted()

    def _seat(
        self,
        client_id: Key | None,
        prefer: Prefer,
        exclude: Exclude,
        ledger: Ledger | None,
    ) -> Seat:
        """A seat for one request, after a plain store was asked."""
        if self._awaited is not None and not choosing.anonymous(client_id):
            raise ConfigError(
                f"{type(self._awaited).__name__} must be awaited: use 'await lb.apick(...)' or "
                "'async with lb.lease(...)'",
                option="pins",
            )
        seat, questions = self._asked(client_id, prefer, exclude, ledger)
        return seat if questions is None else ask(self._plain, questions)

    async def _seat_async(
        self,
        client_id: Key | None,
        prefer: Prefer,
        exclude: Exclude,
        ledger: Ledger | None,
    ) -> Seat:
        seat, questions = self._asked(client_id, prefer, exclude, ledger)
        return seat if questions is None else await ask_async(self._awaited, questions)

    def _asked(
        self,
        client_id: Key | None,
        prefer: Prefer,
        exclude: Exclude,
        ledger: Ledger | None,
    ) -> tuple[Seat, Questions[Seat] | None]:
        """A seat and what must be asked before it is taken; None: it is taken already."""
        gone = as_names(exclude, "exclude") if exclude else NO_NAMES
        seat = self._new_seat(client_id, prefer, gone, ledger)
        here = choosing.preferred(self._live, prefer, gone) is not None
        if here or client_id is None or choosing.anonymous(client_id):
            seat.take(None, remembered=True)
            return seat, None
        return seat, seated(seat, key_bytes(client_id), retry=bool(gone))

    def _new_seat(
        self,
        client_id: Key | None,
        prefer: Prefer,
        gone: frozenset[str],
        ledger: Ledger | None,
    ) -> Seat:
        def place(pin: str | None, remembered: bool) -> tuple[Live, Host, Reason]:
            live, bounded = self._live, ledger is not None
            return live, *self._decide(
                live, client_id, prefer, gone, pin=pin, bounded=bounded, remembered=remembered
            )

        return Seat(place, gone, ledger)

    def _decide(
        self,
        live: Live,
        client_id: Key | None,
        prefer: Prefer,
        gone: frozenset[str],
        *,
        pin: str | None = None,
        bounded: bool = False,
        remembered: bool = True,
    ) -> tuple[Host, Reason]:
        known = choosing.preferred(live, prefer, gone) or choosing.preferred(live, pin, gone)
        if known is not None:
            return known, "pinned"
        has_room = None
        if bounded and self._load_factor is not None:
            has_room = choosing.roomy(live, self._ledger, gone, self._load_factor, self._load_floor)
        # Who comes with a host's name is not new, and nobody writes down where a retry went: its
        # ID's walk says where, in every router alike.
        by_strategy = self._by_strategy and remembered and prefer is None and not gone
        choose = self._choose_fallback
        return choosing.choose(live, client_id, gone, choose, has_room, by_strategy)
