"""The contract of a store of pins: three methods, all plain or all asynchronous."""

from __future__ import annotations

import inspect
from typing import Protocol

from hashring.errors import ConfigError
from hashring.keys import Key

_METHODS = ("get", "claim", "replace")


class PinStore(Protocol):
    """Remembers a host's name for a client ID; shared by any number of threads.

    The balancer gives the client ID as its canonical bytes (``hashring.keys.key_bytes``), so that
    ``"a"`` and ``b"a"`` are one client. A store that cannot answer raises an ``OSError``
    (``ConnectionError`` and ``TimeoutError`` are such): the balancer then places the client as if
    it had no pin and writes none. It waits for a plain store inside ``pick``.
    """

    def get(self, client_id: Key, /) -> str | None:
        """The host that has the client; None when it has no pin."""

    def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that has it now. The first writer wins."""

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; the host that has the client now.

        A client whose pin is gone meanwhile gets ``new``. ``new`` None forgets the client.
        """


class AsyncPinStore(Protocol):
    """A ``PinStore`` whose methods are coroutines, as a store on the network has them."""

    async def get(self, client_id: Key, /) -> str | None:
        """The host that has the client; None when it has no pin."""

    async def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that has it now. The first writer wins."""

    async def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; the host that has the client now."""


def is_async(store: PinStore | AsyncPinStore) -> bool:
    """Whether a store must be awaited. Raises ``ConfigError`` for what is not a store.

    >>> is_async("redis://127.0.0.1")
    Traceback (most recent call last):
    hashring.errors.ConfigError: pins must be a store with get, claim and replace, all plain or \
all 'async def', got 'redis://127.0.0.1'
    """
    methods = [getattr(store, name, None) for name in _METHODS]
    kinds = {inspect.iscoroutinefunction(method) for method in methods}
    if isinstance(store, type) or not all(map(callable, methods)) or len(kinds) != 1:
        raise ConfigError(
            "pins must be a store with get, claim and replace, all plain or all 'async def', "
            f"got {store!r}",
            option="pins",
        )
    return kinds.pop()
