"""Is this client known?  The part of the balancer that has a store of pins, or a layer above."""

from __future__ import annotations

from typing import cast

from hashring import pool as changes
from hashring.balancer import choosing
from hashring.balancer.membership import Membership, name_of
from hashring.balancer.options import by_strategy
from hashring.balancer.pins import AsyncPinStore, PinStore, ask, ask_async, is_async, pinned_to
from hashring.errors import ConfigError
from hashring.hosts import Host, HostsLike
from hashring.keys import Key, key_bytes
from hashring.load import Ledger
from hashring.pool import Pool

__all__ = ["Known"]


class Known(Membership):
    """The part of ``LoadBalancer`` that remembers clients, or knows that somebody does."""

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        hosts: HostsLike,
        pins: PinStore | AsyncPinStore | None,
        new_clients: str,
    ) -> None:
        awaits = pins is not None and is_async(pins)
        self._plain: PinStore | None = None if awaits else cast("PinStore | None", pins)
        self._awaited = cast("AsyncPinStore", pins) if awaits else None
        self._asks_store = pins is not None
        self._wants_strategy = by_strategy(new_clients)
        self._keeps_sessions = self._asks_store
        # a choice by load must be remembered by somebody; until then the walk decides
        self._by_strategy = self._wants_strategy and self._keeps_sessions
        super().__init__(pool, ledger, hosts)

    def keeps_sessions(self, value: bool) -> None:
        """Say whether a layer above knows its clients and gives ``prefer``; drains report it.

        A balancer with ``pins`` keeps sessions whatever is said here.
        """
        with self._lock:
            self._keeps_sessions = bool(value) or self._asks_store
            self._by_strategy = self._wants_strategy and self._keeps_sessions
            self._go_live(self._live.snapshot)

    # -- by hand ----------------------------------------------------------------------------------

    def pin(self, client_id: Key, host: str | Host) -> bool:
        """Pin a client to a host, wherever it was; False if others wrote all the while.

        A host that is down keeps its pins only until their clients' next requests. Raises
        ``UnknownHostError``, ``InvalidKeyError``, ``ConfigError`` without a plain store, and the
        ``OSError`` of a store that cannot answer.

        >>> from hashring import LoadBalancer
        >>> from hashring.affinity.pins import PinTable
        >>> lb = LoadBalancer(["a", "b", "c"], pins=PinTable())
        >>> lb.pick("x").name, lb.pin("x", "c"), lb.pick("x").name
        ('a', True, 'c')
        """
        name = changes.member(self.snapshot.members, name_of(host)).host.name
        return ask(self._plain_store("'await lb.apin(...)'"), pinned_to(_pin_key(client_id), name))

    def forget(self, client_id: Key) -> bool:
        """Forget a client's pin: its next request is that of a new client. Raises as ``pin``."""
        return ask(
            self._plain_store("'await lb.aforget(...)'"), pinned_to(_pin_key(client_id), None)
        )

    async def apin(self, client_id: Key, host: str | Host) -> bool:
        """As ``pin``, with any store."""
        if self._awaited is None:
            return self.pin(client_id, host)
        name = changes.member(self.snapshot.members, name_of(host)).host.name
        return await ask_async(self._awaited, pinned_to(_pin_key(client_id), name))

    async def aforget(self, client_id: Key) -> bool:
        """As ``forget``, with any store."""
        if self._awaited is None:
            return self.forget(client_id)
        return await ask_async(self._awaited, pinned_to(_pin_key(client_id), None))

    def _plain_store(self, instead: str) -> PinStore:
        if self._awaited is not None:
            raise ConfigError(
                f"{type(self._awaited).__name__} must be awaited: use {instead}",
                option="pins",
            )
        if self._plain is None:
            raise ConfigError(
                "this balancer keeps no pins: make it with pins=PinTable() or another store",
                option="pins",
            )
        return self._plain

    def _pin_of(self, client_id: Key | None) -> str | None:
        """What a plain store says of a client; None without a store or an answer."""
        if not self._asks_store or choosing.anonymous(client_id):
            return None
        try:
            return self._plain_store("prefer=await store.get(client_id)").get(_pin_key(client_id))
        except OSError:
            return None


def _pin_key(client_id: Key | None) -> bytes:
    if client_id is None or choosing.anonymous(client_id):
        raise ConfigError(f"only a client ID can be pinned, not {client_id!r}")
    return key_bytes(client_id)
