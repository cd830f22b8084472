"""Bytes both ways between a client and a host, after both have switched to another protocol."""

from __future__ import annotations

from typing import Protocol

from hashring.gateway.client_side import Tunnelled
from hashring.gateway.http.host_connection import HostConnection


class ClientBytes(Protocol):
    """The client's connection, as bytes."""

    def write_bytes(self, data: bytes) -> None:
        """Send bytes."""

    def write_eof(self) -> None:
        """Close this side once all is sent."""

    def pause_reading(self) -> None:
        """Take no more bytes."""

    def resume_reading(self) -> None:
        """Take more bytes."""

    def close(self) -> None:
        """Close the connection once all is sent."""


class Tunnel:
    """Passes bytes on as they come; a side that does not read holds up the other one.

    Nothing is parsed or kept, so a connection costs its two buffers. The number of bytes and the
    end are reported to ``request``.
    """

    __slots__ = ("_client", "_client_ended", "_host", "_host_ended", "_over", "_request")

    def __init__(self, client: ClientBytes, host: HostConnection, request: Tunnelled) -> None:
        self._client, self._host, self._request = client, host, request
        self._client_ended = self._host_ended = self._over = False

    # -- from the client --------------------------------------------------------------------------

    def data_from_client(self, data: bytes) -> None:
        """Bytes came from the client."""
        self._request.count_bytes(len(data), 0)
        self._host.write(data)

    def client_ended(self, *, clean: bool) -> None:
        """The client has closed its side, or the connection was lost."""
        if clean and not self._host_ended:
            self._client_ended = True
            self._host.write_eof()
        else:
            self._end("closed by the host" if self._host_ended else "closed by the client")

    def client_writable(self, *, writable: bool) -> None:
        """The client reads more slowly than the host sends, or has read all."""
        if writable:
            self._host.resume_reading()
        else:
            self._host.pause_reading()

    # -- from the host ----------------------------------------------------------------------------

    def data_from_host(self, data: bytes) -> None:
        """Bytes came from the host."""
        self._request.count_bytes(0, len(data))
        self._client.write_bytes(data)

    def host_ended(self, *, clean: bool) -> None:
        """The host has closed its side, or the connection was lost."""
        if clean and not self._client_ended:
            self._host_ended = True
            self._client.write_eof()
        else:
            self._end("closed by the client" if self._client_ended else "closed by the host")

    def host_writable(self, *, writable: bool) -> None:
        """The host reads more slowly than the client sends, or has read all."""
        if writable:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    def leave_host(self) -> None:
        """As if the client had closed its side: the host may say goodbye and does so too."""
        if not self._over and not self._client_ended:
            self._client_ended = True
            self._client.pause_reading()
            self._host.write_eof()
            if self._host_ended:
                self._end("closed by the host")

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._host.close(gently=True)
            self._client.close()
            self._request.tunnel_ended(why)
