"""The body of a request: streamed, counted, and sent again if it is short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from hashring.gateway.asgi import Receive
from hashring.gateway.error_responses import ERROR_RESPONSES, RequestRefused

_KEPT = 64 * 1024
"""Bytes that are kept for another try: what an API call is at most. More is sent once."""


class ClientGone(Exception):  # noqa: N818  # not an error: the client does not wait for the response
    """The client has hung up."""


class Body:
    """A request's body. ``length`` is what the client announced, ``limit`` what is taken at most.

    ``error`` is why it broke off, because the client of the hosts wraps what the body raises.
    ``waits_for`` and ``turns`` show which side is slow: the client that sends, or the host.
    """

    __slots__ = (
        "_kept",
        "_length",
        "_limit",
        "_receive",
        "absent",
        "done",
        "error",
        "size",
        "turns",
        "waits_for",
    )

    def __init__(
        self, receive: Receive, length: int | None, limit: int | None, *, empty: bool
    ) -> None:
        if limit is not None and length is not None and length > limit:
            raise RequestRefused(ERROR_RESPONSES["body_too_large"])
        self._receive = receive
        self._length = length
        self._limit = limit
        self._kept: list[bytes] | None = []  # None once it is too long to be sent again
        self.absent = empty and length is None  # a length of 0 is forwarded to the host
        self.done = empty
        self.size = 0
        self.error: Exception | None = None
        self.turns = 0
        self.waits_for: Literal["client", "host"] | None = None

    @property
    def replayable(self) -> bool:
        """Whether all that was taken is still here."""
        return self._kept is not None

    async def peek(self, limit: int) -> bytes:
        """The first bytes, at least ``limit + 1`` if there are so many, without taking them."""
        while not self.done and self.size <= limit:
            await self._next(keep=True)
        return b"".join(self._kept or ())

    async def payload(self) -> bytes | AsyncIterator[bytes] | None:
        """What to send in one try: None, all of it if it is here, or a stream."""
        if not self.done and not self.size:
            # a short body comes with its head: then no stream is needed
            await self._next(keep=True)
        if self.done and self._kept is not None:
            return b"".join(self._kept) if self._kept else (None if self._length is None else b"")
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        try:
            for chunk in tuple(self._kept or ()):
                yield chunk
            while not self.done:
                chunk = await self._next()
                if chunk:
                    self.waits_for = "host"
                    yield chunk
                    self.turns += 1
        finally:
            self.waits_for = None

    async def _next(self, *, keep: bool = False) -> bytes:
        self.waits_for = "client"
        try:
            message = await self._receive()
            self.turns += 1
            return self._taken(message["type"], message.get("body", b""), message, keep)
        except Exception as error:
            self.error = error
            raise
        finally:
            self.waits_for = None

    def _taken(self, kind: str, chunk: bytes, message: object, keep: bool) -> bytes:
        if kind != "http.request":
            raise ClientGone
        self.size += len(chunk)
        self.done = not message.get("more_body", False)  # type: ignore[attr-defined]  # a mapping
        length = self._length
        if length is not None and (self.size > length or (self.done and self.size != length)):
            # bytes that would be read as the next request on that connection, or that are missing
            raise RequestRefused(ERROR_RESPONSES["bad_request"])
        if self._limit is not None and self.size > self._limit:
            raise RequestRefused(ERROR_RESPONSES["body_too_large"])
        if self._kept is not None:
            if keep or self.size <= _KEPT:
                if chunk:
                    self._kept.append(chunk)
            else:
                self._kept = None
        return chunk
