"""The interface of the client of the hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, str]]


class UpstreamError(Exception):
    """A host did not respond; ``why`` is for the log."""

    own = False
    """Whether the fault is this process's own: no descriptor, port or memory left."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ConnectError(UpstreamError):
    """Nothing was sent, because there was no connection: any request may try another host."""

    def __init__(self, why: str, *, own: bool = False) -> None:
        super().__init__(why)
        self.own = own


class ConnectionLost(UpstreamError):  # noqa: N818  # the base class is an error by name
    """The connection ended before the response did."""


class UpstreamTimeout(UpstreamError):  # noqa: N818  # the base class is an error by name
    """No byte of the response came in time."""


class InvalidResponse(UpstreamError):  # noqa: N818  # the base class is an error by name
    """The response is not valid HTTP, or exceeds a limit."""


class UpstreamResponse(Protocol):
    """One answer: its head is here, its body comes as it is read."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields as they came."""

    @property
    def ended(self) -> bool:
        """Whether all of the body has been read."""

    async def read(self) -> bytes:
        """The next bytes of the body, as they come; none at its end. Raises ``UpstreamError``."""

    def close(self) -> None:
        """Done with it: unless all was read, its connection is closed and not used again."""


class WebSocketClosed(Exception):  # noqa: N818  # how every WebSocket ends
    """The host has closed the WebSocket with ``code`` (1005: without one; 1006: just gone)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.code, self.reason = code, reason


class UpstreamSocket(Protocol):
    """One WebSocket to a host."""

    @property
    def subprotocol(self) -> str | None:
        """What both sides agreed on."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The fields of the handshake's answer."""

    async def receive(self) -> str | bytes:
        """The next message. Raises ``WebSocketClosed``."""

    async def send(self, message: str | bytes) -> None:
        """Send a message; waits while the host does not read. Raises ``UpstreamError``."""

    async def close(self, code: int, reason: str) -> None:
        """Close it with a code (1005: with none; 1006: hang up)."""


class Upstream(Protocol):
    """A client of HTTP/1.1 with a pool of connections for each address.

    It passes targets and header values on as they are, follows no redirect, keeps no cookie,
    decodes no body, and never tries again by itself.
    """

    async def request(
        self,
        address: str,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> UpstreamResponse:
        """Send one request; its answer's head. Raises ``UpstreamError``."""

    async def connect(
        self, address: str, target: str, headers: Headers, subprotocols: Sequence[str]
    ) -> UpstreamSocket | UpstreamResponse:
        """Open a WebSocket; the host's answer if it refuses. Raises ``UpstreamError``."""

    async def aclose(self) -> None:
        """Close all connections."""
