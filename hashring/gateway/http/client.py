"""The client of the hosts: a pool of connections for each address."""

from __future__ import annotations

import asyncio

from hashring.config.settings import Timeouts
from hashring.gateway.http.host_pool import ConnectionPool
from hashring.tls import HostTls

_CLOSING = 0.01  # seconds in which the loop closes the sockets, before it may end
_LONGEST_PAUSE = 1.0  # seconds between two checks of the connections


class HostClient:
    """The pools of connections to hosts, by address; one timer looks at the timeouts of all.

    It can be made anywhere; connections begin with the first request.
    """

    def __init__(self, timeouts: Timeouts, tls: HostTls = HostTls()) -> None:  # noqa: B008  # it is immutable
        self._timeouts, self._tls = timeouts, tls
        # by default when the first host needs it; files are read now, so that errors come now
        self._context = None if tls == HostTls() else tls.context()
        self._pools: dict[str, ConnectionPool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        limited = filter(None, (timeouts.first_byte, timeouts.idle, timeouts.keep_alive))
        self._pause = min(_LONGEST_PAUSE, max(0.01, min(limited) / 8))

    def pool(self, address: str, loop: asyncio.AbstractEventLoop) -> ConnectionPool:
        """The pool of ``address``. Raises ``InvalidResponse`` for an address that is not valid."""
        if loop is not self._loop:  # an ended loop has no connections left
            self._loop, self._pools, self._timer = loop, {}, None
        pool = self._pools.get(address)
        if pool is None:
            if self._context is None and address.startswith("https://"):
                self._context = self._tls.context()
            pool = self._pools[address] = ConnectionPool(
                address, loop, self._timeouts, self._context, self._tls.server_name
            )
        if self._timer is None:
            self._timer = loop.call_later(self._pause, self._check)
        return pool

    async def aclose(self) -> None:
        """Close all connections; a later request opens new ones."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()
        if pools:
            await asyncio.sleep(_CLOSING)

    def _check(self) -> None:
        assert self._loop is not None
        self._timer = None
        now = self._loop.time()
        # a failed request may ask another host, and so add a pool
        left = [pool.check(now) for pool in tuple(self._pools.values())]
        if any(left) and self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._check)
