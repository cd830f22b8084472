"""The connections to one host: kept while idle, opened to the first address that accepts."""

from __future__ import annotations

import asyncio
import errno
import ssl
from functools import partial

from hashring.config.settings import Timeouts
from hashring.gateway.http.host_connection import HostConnection
from hashring.gateway.upstream import ConnectError, ConnectionLost, InvalidResponse
from hashring.net import is_ip, split_endpoint

_OWN_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
)
_HTTP_PORT = 80  # of an address that has neither a port nor a scheme
_NEXT_ADDRESS = 0.25
"""Seconds before the next address of a name is tried beside the first (RFC 8305, section 5)."""

_NAME_KEPT = 5.0
"""Seconds for which the addresses of a name are kept."""


class ConnectionPool:
    """The connections to one address; the one used last is used next.

    ``tls`` is for an address that begins with ``https://``, and ``server_name`` the name that its
    certificate must have, None for that in the address. Raises ``InvalidResponse`` for an invalid
    address.
    """

    def __init__(
        self,
        address: str,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        try:
            scheme, self._name, port, self._path = split_endpoint(address)
        except ValueError:
            raise InvalidResponse(f"the address {address!r} is not valid") from None
        self._port = port or _HTTP_PORT
        authority = address.rpartition("://")[2].rstrip("/")
        self.address = address
        self.authority = b"localhost" if self._path else authority.encode()
        self.loop, self.timeouts = loop, timeouts
        self._tls = (tls or ssl.create_default_context()) if scheme == "https" else None
        self._server_name = server_name or self._name
        self._idle: list[HostConnection] = []
        self._all: set[HostConnection] = set()
        self._connecting = 0
        self._resolved: list[str] = []
        self._resolved_until = 0.0

    def take(self, *, certain: bool = False) -> HostConnection | None:
        """An idle connection, which the host has not closed as far as is known.

        ``certain``: the system is asked as well.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.closed and (not certain or connection.is_usable(certain=True)):
                return connection
            connection.close()
        return None

    def put(self, connection: HostConnection) -> None:
        """Keep an idle connection."""
        self._idle.append(connection)

    def remove_idle(self, connection: HostConnection) -> None:
        """Use the connection for no further request."""
        if connection in self._idle:
            self._idle.remove(connection)

    def forget(self, connection: HostConnection) -> None:
        """Drop a closed connection."""
        self._all.discard(connection)
        self.remove_idle(connection)

    def check(self, now: float) -> bool:
        """Close overdue connections; whether any are left or being opened."""
        for connection in tuple(self._all):
            connection.check(now)
        return bool(self._all or self._connecting)

    def close(self) -> None:
        """Close all connections."""
        for connection in tuple(self._all):
            connection.fail(ConnectionLost("the gateway has ended"))

    # -- connecting -------------------------------------------------------------------------------

    async def connect(self) -> HostConnection:
        """A new connection. Raises ``ConnectError``."""
        seconds = self.timeouts.connect
        self._connecting += 1
        try:
            async with asyncio.timeout(seconds):
                if self._path:
                    connection = await self._connect_path()
                else:
                    connection = await self._connect_first(await self._addresses())
        except TimeoutError as error:
            raise ConnectError(f"no connection to {self.address} in {seconds:g} s") from error
        except ssl.SSLError as error:
            raise ConnectError(
                f"no TLS connection to {self.address}: {error.reason or error}"
            ) from error
        except OSError as error:
            raise ConnectError(
                f"no connection to {self.address}: {error.strerror or error}",
                own=error.errno in _OWN_FAULTS,
            ) from error
        finally:
            self._connecting -= 1
        self._all.add(connection)
        return connection

    async def _addresses(self) -> list[str]:
        """The addresses of the host's name, IPv6 and IPv4 in turns."""
        if is_ip(self._name):
            return [self._name]
        now = self.loop.time()
        if now >= self._resolved_until:
            found = await self.loop.getaddrinfo(self._name, self._port, type=1)
            by_family: dict[int, list[str]] = {}
            for family, _, _, _, address in found:
                by_family.setdefault(family, []).append(str(address[0]))
            turns = [
                (position, number, address)
                for number, addresses in enumerate(by_family.values())
                for position, address in enumerate(addresses)
            ]
            self._resolved = [address for _, _, address in sorted(turns)]
            self._resolved_until = now + _NAME_KEPT
        return self._resolved

    async def _connect_first(self, addresses: list[str]) -> HostConnection:
        """Connect to the first address that accepts; the others follow after a delay each."""
        if len(addresses) == 1:
            return await self._connect_to(addresses[0])
        attempts: list[asyncio.Task[HostConnection]] = []
        error: BaseException | None = None
        try:
            waiting: set[asyncio.Task[HostConnection]] = set()
            left = iter(addresses)
            while True:
                following = next(left, None)
                if following is not None:
                    waiting.add(self.loop.create_task(self._connect_to(following)))
                    attempts += waiting - set(attempts)
                elif not waiting:
                    raise error or OSError(f"{self._name} has no address")
                done, waiting = await asyncio.wait(
                    waiting,
                    timeout=_NEXT_ADDRESS if following is not None else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for attempt in done:
                    error = error or attempt.exception()
                    if attempt.exception() is None:
                        attempts.remove(attempt)
                        return attempt.result()
        finally:
            for attempt in attempts:
                if not attempt.cancel() and not attempt.cancelled() and not attempt.exception():
                    attempt.result().close()

    async def _connect_to(self, address: str) -> HostConnection:
        _, connection = await self.loop.create_connection(
            partial(HostConnection, self),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._server_name if self._tls is not None else None,
        )
        return connection

    async def _connect_path(self) -> HostConnection:
        make = partial(HostConnection, self)
        _, connection = await self.loop.create_unix_connection(make, self._path)
        return connection
