"""When a tunnel ends by itself: without a byte for too long, or when its host is to be empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hashring.pool import MACHINE_HOLDERS

if TYPE_CHECKING:
    from hashring.gateway.generation import Generation
    from hashring.gateway.http.host_connection import ByteReceiver

_GOODBYE: Final = 5.0
"""Seconds in which a host may end its side after the deadline of its drain: what a Close frame and
its answer take between continents, many times over."""


class TunnelWatch:
    """The time of one tunnel to ``host``, whose bytes ``receiver`` takes."""

    __slots__ = ("_generation", "_host", "_left", "_passed", "_receiver", "_since")

    def __init__(self, generation: Generation, host: str, receiver: ByteReceiver) -> None:
        self._generation, self._host, self._receiver = generation, host, receiver
        self._passed: tuple[int, int] | None = None
        self._since = 0.0
        self._left: float | None = None  # when the host was asked to end its side

    @property
    def is_leaving(self) -> bool:
        """Whether the host has been asked to end its side."""
        return self._left is not None

    def check(self, now: float, passed: tuple[int, int]) -> str:
        """Why the tunnel is to end now; empty to go on. ``passed`` are bytes of both directions."""
        if self._left is not None:
            return "drain_deadline" if now - self._left >= _GOODBYE else ""
        if self._is_drained():
            self._left = now
            self._receiver.leave_host()
            return ""
        limit = self._generation.timeouts.tunnel
        if passed != self._passed:
            self._passed, self._since = passed, now
        elif limit and now - self._since >= limit:
            return "idle"
        return ""

    def _is_drained(self) -> bool:
        """Whether an operator, a source or the settings drain the host, and the deadline passed."""
        lb = self._generation.newest.lb
        member = lb.snapshot.members.get(self._host)
        if member is None or member.down or not member.drains.keys() - MACHINE_HOLDERS:
            return False
        return lb.state(self._host) == "down"
