"""The two sides that a request has towards its client, whatever the server is."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from hashring.config.settings import Limits
from hashring.gateway.headers import RequestHead, ResponseHead
from hashring.gateway.http.host_connection import ByteReceiver, HostConnection


class RequestMaker(Protocol):
    """What makes requests of heads, as ``Gateway`` does."""

    @property
    def limits(self) -> Limits:
        """The limits now."""

    def open_request(self, client: ClientSide, head: RequestHead) -> ClientRequest:
        """The request of ``head``, which ``client`` drives."""


class ClientRequest(Protocol):
    """A request as its client drives it: ``ProxyRequest``, or one to an application."""

    def begin(self) -> None:
        """It is this request's turn."""

    def feed(self, chunk: bytes) -> None:
        """Some of the body has come."""

    def end_body(self) -> None:
        """The body is complete."""

    def lose_client(self) -> None:
        """The client has hung up."""

    def pause_response(self) -> None:
        """The client reads more slowly than it is sent to."""

    def resume_response(self) -> None:
        """The client has read what was sent."""


class ClientSide(Protocol):
    """What a request writes to: a connection of our own server, or the ``send`` of ASGI.

    A response is written by ``write_head``, ``write_body`` and ``write_end``, and sent by
    ``flush``; what is written between two calls of ``flush`` is sent at once.
    """

    loop: asyncio.AbstractEventLoop

    address: Any
    """The client's address and port; None for a Unix socket."""

    peer: str
    """The client's address; empty for a Unix socket."""

    scheme: str
    """``http`` or ``https``."""

    def write_continue(self) -> None:
        """Ask the client for the body that it announced by Expect."""

    def write_interim(self, head: ResponseHead) -> None:
        """Send an interim response (1xx), where that is possible."""

    def write_head(
        self, status: int, fields: list[bytes], length: bytes | None, *, has_body: bool, last: bool
    ) -> None:
        """Write the head of the response; ``last`` of this connection."""

    def write_body(self, chunk: bytes) -> None:
        """Write some of the body."""

    def write_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Write the end of the response. The request is over."""

    def flush(self) -> None:
        """Send what was written."""

    def pause_body(self) -> None:
        """Take no more of the request's body from the client."""

    def resume_body(self) -> None:
        """Take more of the request's body."""

    def cut(self, *, now: bool) -> None:
        """End the connection before the response ends; ``now``: without sending the rest."""

    def unsent(self) -> int:
        """Bytes that wait for the client to read."""

    def open_tunnel(
        self, head: ResponseHead, fields: list[bytes], host: HostConnection, tunnel: Tunnelled
    ) -> ByteReceiver:
        """Send 101 and pass bytes on; what takes the bytes of the host from now on."""


class Tunnelled(Protocol):
    """What a tunnel reports to, as ``ProxyRequest`` does."""

    def count_bytes(self, taken: int, given: int) -> None:
        """Bytes have passed: from the client, and to it."""

    def tunnel_ended(self, why: str) -> None:
        """The tunnel is over."""
