"""What the server and the admin listener need of a gateway, reloadable or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hashring.affinity import TokenAffinity
from hashring.balancer import LoadBalancer
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.health import HealthMonitor


class Served(Protocol):
    """An ASGI application with the facts for ``/state``."""

    @property
    def lb(self) -> LoadBalancer:
        """The balancer."""

    @property
    def tokens(self) -> TokenAffinity | None:
        """The token affinity."""

    @property
    def health(self) -> HealthMonitor | None:
        """The health monitor."""

    @property
    def discovery(self) -> Discovery | None:
        """The discovery."""

    @property
    def placement(self) -> tuple[str, Mapping[str, Any]] | None:
        """The placement's name and options."""

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts."""

    @property
    def limits(self) -> Limits:
        """The limits."""

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
        """Report not ready from now on; requests are still served."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
