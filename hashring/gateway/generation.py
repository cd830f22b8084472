"""The balancer, clients and limits of one set of settings, which requests use."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hashring.affinity import IdentitySource, LoadExchange, PinTable, TokenAffinity, TrustedProxies
from hashring.affinity.first_visits import FirstVisits
from hashring.balancer import LoadBalancer
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery
from hashring.errors import ConfigError, requires_extra
from hashring.gateway.access import AccessLog
from hashring.gateway.budget import RetryBudget
from hashring.gateway.counts import RequestCounts
from hashring.gateway.request_cost import RequestCost
from hashring.gateway.sessions import GatewaySessions
from hashring.gateway.timer_wheel import request_wheel
from hashring.health import HealthMonitor
from hashring.tls import HostTls

if TYPE_CHECKING:
    from hashring.gateway.http.client import HostClient


class Generation:
    """One set of settings at work. A reload makes another one; requests end where they began.

    The arguments are those of ``Gateway``, which documents them.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        *,
        identity: IdentitySource | None = None,
        tokens: TokenAffinity | None = None,
        health: HealthMonitor | None = None,
        discovery: Discovery | None = None,
        trusted: TrustedProxies | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # it is immutable
        limits: Limits = Limits(),  # noqa: B008  # it is immutable
        tls: HostTls = HostTls(),  # noqa: B008  # it is immutable
        keep_host: bool = True,
        access_log: AccessLog | None = None,
        placement: tuple[str, Mapping[str, Any]] | None = None,
        cost: RequestCost | None = None,
        pins: PinTable | None = None,
        exchange: LoadExchange | None = None,
        decision_header: str | None = None,
        failure_statuses: Iterable[int] = (),
        sessions: GatewaySessions | None = None,
        first_visits: FirstVisits | None = None,
    ) -> None:
        if tokens is not None and tokens.balancer is not lb:
            raise ConfigError("tokens must be those of this balancer", option="tokens")
        self.lb = lb
        self.identity, self.tokens = identity, tokens
        self.health, self.discovery = health, discovery
        self.timeouts, self.limits, self.keep_host = timeouts, limits, keep_host
        self.access_log = access_log
        self.hosts = _host_client(timeouts, tls)
        self.placement = placement
        self.rounds = request_wheel(timeouts)
        self.budget = RetryBudget(limits.retry_share, limits.retry_rate)
        self.token_name = None if tokens is None else tokens.cookie.encode("ascii")
        self.cost, self.pins, self.exchange = cost, pins, exchange
        header = None if identity is None else identity.plain_header
        self.plain_header = None if header is None else header.encode("latin-1")
        self.failure_statuses = frozenset(failure_statuses)
        self.decision_header = None if decision_header is None else decision_header.lower().encode()
        self.sessions = sessions
        self.first_visits = first_visits
        readers = (identity, cost, sessions)
        limits_of_bodies = [each.body_limit for each in readers if each is not None]
        self.body_limit = max(limits_of_bodies, default=0)
        self.stats = {"requests": 0, "websockets": 0, "retries": 0, "retries_refused": 0}
        self.in_flight = 0
        self.stopping = False
        """Whether the server stops: each response is then the last of its connection."""
        self.counts = RequestCounts()
        self.name_in_chain()
        self.has_trusted = trusted is not None
        self._trusted = trusted
        self.successor: Generation | None = None
        self._open = False

    @property
    def ready(self) -> bool:
        """Whether it is open and at least one host takes new clients."""
        return self._open and len(self.lb.snapshot.away) < len(self.lb)

    @property
    def newest(self) -> Generation:
        """The generation that takes requests now: this one, unless a reload made another."""
        found = self
        while found.successor is not None:
            found = found.successor
        return found

    async def open(self) -> None:
        """Start discovery and the health monitor; wait for the first list of the discovery."""
        if not self._open:
            self._open = True
            if self.sessions is not None:
                self.sessions.open()
            if self.discovery is not None:
                await self.discovery.__aenter__()
            if self.health is not None:
                await self.health.__aenter__()
            if self.exchange is not None:
                await self.exchange.__aenter__()

    def stop(self) -> None:
        """Report not ready from now on; requests are still served."""
        self._open = False

    async def aclose(self) -> None:
        """Stop discovery, health monitor and exchange, and close all connections to hosts."""
        self._open = False
        discovery, self.discovery = self.discovery, None
        if discovery is not None:
            await discovery.__aexit__(None, None, None)
        health, self.health = self.health, None
        if health is not None:
            await health.__aexit__(None, None, None)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            await exchange.__aexit__(None, None, None)
        await self.hosts.aclose()
        if self.sessions is not None:
            await self.sessions.aclose()

    def name_in_chain(self, name: str | None = None) -> None:
        """Set the name in the header Via, by which a request is known that has passed before."""
        self._name = (name or f"gateway-{secrets.token_hex(6)}").encode("ascii")
        self.via = b"1.1 " + self._name
        self.via_line = b"via: " + self.via + b"\r\n"

    def is_loop(self, via: list[bytes]) -> bool:
        """Whether a request with these values of Via has passed this gateway before."""
        return any(self._name in value.replace(b",", b" ").split() for value in via)

    def trusts(self, peer: str) -> bool:
        """Whether the forwarding headers of the client at ``peer`` are accepted."""
        return self._trusted is not None and self._trusted.trusts(peer or None)

    def came_by_tls(self, scope: Mapping[str, Any]) -> bool:
        """Whether the client came by TLS, here or to a trusted proxy before us."""
        if self._trusted is not None:
            return self._trusted.tls(scope)
        return scope.get("scheme") in ("https", "wss")


def _host_client(timeouts: Timeouts, tls: HostTls) -> HostClient:
    with requires_extra("gateway", "requests to hosts"):
        from hashring.gateway.http.client import HostClient
    return HostClient(timeouts, tls)
