"""What do a server and the admin pages ask of a gateway, whether it can be reloaded or not?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hashring.affinity import TokenAffinity
from hashring.balancer import LoadBalancer
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.health import HealthMonitor

__all__ = ["Served"]


class Served(Protocol):
    """An ASGI application with what ``/state`` tells of it."""

    @property
    def lb(self) -> LoadBalancer:
        """The balancer."""

    @property
    def tokens(self) -> TokenAffinity | None:
        """The tokens' keeper."""

    @property
    def health(self) -> HealthMonitor | None:
        """The health monitor."""

    @property
    def discovery(self) -> Discovery | None:
        """What follows the source."""

    @property
    def placement(self) -> tuple[str, Mapping[str, Any]] | None:
        """The placement's name and options."""

    @property
    def timeouts(self) -> Timeouts:
        """How long is waited."""

    @property
    def limits(self) -> Limits:
        """How much is taken."""

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts of requests."""

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended."""

    def stop(self) -> None:
        """Say that it is not ready any more; it goes on answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
