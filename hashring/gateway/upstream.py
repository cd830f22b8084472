"""What a request and its host have to do with each other: errors, and the calls of a connection."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

from hashring.gateway.error_responses import ERROR_RESPONSES, ErrorResponse
from hashring.gateway.headers import ResponseHead

Fault: TypeAlias = Literal["client", "gateway", "host"]


class UpstreamError(Exception):
    """A host did not respond; ``why`` is for the log.

    ``fault`` is whose fault it is; ``counts`` is whether it counts against the host.
    """

    fault: Fault = "host"
    counts = True

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ConnectError(UpstreamError):
    """Nothing was sent, because there was no connection: any request may try another host.

    ``own``: the gateway has no descriptor, port or memory left.
    """

    def __init__(self, why: str, *, own: bool = False) -> None:
        super().__init__(why)
        if own:
            self.fault, self.counts = "gateway", False


class ConnectionLost(UpstreamError):  # noqa: N818  # the base class is an error by name
    """The connection ended before the response did."""


class StaleConnection(ConnectionLost):
    """The host closed a kept connection before a byte of the response came.

    It closed the connection while it was idle, so the host has not failed. ``unread``: its system
    acknowledged no byte of the request, so the host cannot have acted on it.
    """

    fault: Fault = "gateway"
    counts = False

    def __init__(self, why: str, *, unread: bool = False) -> None:
        super().__init__(why)
        self.unread = unread


class UpstreamTimeout(UpstreamError):  # noqa: N818  # the base class is an error by name
    """No byte of the response came in time."""


class InvalidResponse(UpstreamError):  # noqa: N818  # the base class is an error by name
    """The response is not valid HTTP, or exceeds a limit.

    It counts against no host, because a client can cause it: a long Location, a reflected header.
    """

    counts = False


def problem_of(error: UpstreamError) -> ErrorResponse:
    """The response to the client after ``error``."""
    if isinstance(error, ConnectError):
        return ERROR_RESPONSES["host_unreachable"]
    if isinstance(error, UpstreamTimeout):
        return ERROR_RESPONSES["host_timeout"]
    return ERROR_RESPONSES["host_garbled" if isinstance(error, InvalidResponse) else "host_failed"]


class ResponseReceiver(Protocol):
    """Takes one response of a host, as ``ProxyRequest`` does; the host's connection calls it."""

    def receive_interim(self, head: ResponseHead) -> None:
        """An interim response (1xx) has come."""

    def receive_head(self, head: ResponseHead) -> None:
        """The head of the response has come. May raise ``UpstreamError``."""

    def receive_body(self, chunk: bytes) -> None:
        """Some of the body has come."""

    def receive_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """The response is complete."""

    def receive_error(self, error: UpstreamError) -> None:
        """There is no response, or not all of it."""

    def receive_switch(self, head: ResponseHead, rest: bytes) -> None:
        """The host has switched protocols (101); ``rest`` is what it sent after the head."""

    def flush(self) -> None:
        """All that was read at once has been given."""

    def pause_upload(self) -> None:
        """The host reads more slowly than the client sends."""

    def resume_upload(self) -> None:
        """The host has read what was written."""
