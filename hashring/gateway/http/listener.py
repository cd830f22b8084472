"""A listening socket with its connections, from its start to its graceful end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Protocol

from hashring.config.settings import Limits, Timeouts
from hashring.gateway.client_side import ClientRequest
from hashring.gateway.headers import RequestHead
from hashring.gateway.http.client_connection import ClientConnection
from hashring.gateway.timer_wheel import TimerWheel

_BACKLOG = 2048
_REPEAT = 10.0  # seconds between two messages about refused connections
_STEP = 0.02  # seconds between two looks at whether all requests have ended

_log = logging.getLogger("hashring")


class RequestService(Protocol):
    """What the requests of a listener are for: ``Gateway``, or an application."""

    def open_request(self, client: ClientConnection, head: RequestHead, /) -> ClientRequest:
        """The request of ``head``."""


class HttpListener:
    """Accepts connections on one socket and gives their requests to ``service``.

    ``limits.connections`` bounds them: a further one gets status 503.
    """

    def __init__(
        self, service: RequestService, sock: socket.socket, limits: Limits, timeouts: Timeouts
    ) -> None:
        self.limits, self.timeouts = limits, timeouts
        self.loop = asyncio.get_running_loop()
        self.open_request = service.open_request
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._connections: set[ClientConnection] = set()
        self._wheel = TimerWheel(timeouts.head, timeouts.client_idle, first=1.0)
        self._refused = 0
        self._reported = -_REPEAT

    async def start(self, *, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections."""
        self._server = await self.loop.create_server(
            lambda: ClientConnection(self), sock=self._sock, backlog=_BACKLOG, ssl=tls
        )

    def stop_accepting(self) -> None:
        """Close the socket; connections go on."""
        if self._server is not None:
            self._server.close()
        self._sock.close()

    async def finish(self, grace: float, hurry: asyncio.Event) -> None:
        """Close idle connections, and the others when their requests end, or after ``grace``.

        ``hurry`` ends the waiting. What one connection does, even wrongly, ends no other.
        """
        end = self.loop.time() + grace
        while self._connections and self.loop.time() < end and not hurry.is_set():
            for connection in tuple(self._connections):
                connection.close_idle()
            if all(connection.is_idle for connection in self._connections):
                break
            await asyncio.sleep(_STEP)
        for connection in tuple(self._connections):
            connection.end()
        await asyncio.sleep(0)  # closed transports report it in the next round
        await asyncio.sleep(0)

    # -- for the connections ----------------------------------------------------------------------

    def admit(self, connection: ClientConnection) -> bool:
        """Count a connection; False if there are too many."""
        self._connections.add(connection)
        self._wheel.join(connection, self.loop)
        if len(self._connections) <= self.limits.connections:
            return True
        self._refused += 1
        now = self.loop.time()
        if now - self._reported >= _REPEAT:
            self._reported = now
            _log.warning(
                "limits.connections is %d: further connections get status 503 (%d so far)",
                self.limits.connections,
                self._refused,
            )
        return False

    def forget(self, connection: ClientConnection) -> None:
        """Drop a connection that is closed."""
        self._connections.discard(connection)
        self._wheel.leave(connection)
