"""The parts of a gateway that each request uses."""

from __future__ import annotations

from hashring.affinity import Source, TokenAffinity, TrustedProxies
from hashring.balancer import LoadBalancer
from hashring.config.settings import Limits, Timeouts
from hashring.errors import ConfigError
from hashring.gateway.aiohttp_upstream import AiohttpUpstream
from hashring.gateway.asgi import Scope
from hashring.gateway.budget import RetryBudget
from hashring.gateway.request_timeouts import TimerWheel
from hashring.gateway.upstream import Upstream


class Parts:
    """The part of ``Gateway`` that requests use; ``Gateway`` documents each one."""

    def __init__(
        self,
        lb: LoadBalancer,
        identity: Source | None,
        tokens: TokenAffinity | None,
        trusted: TrustedProxies | None,
        timeouts: Timeouts,
        limits: Limits,
        keep_host: bool,
        upstream: Upstream | None,
    ) -> None:
        if tokens is not None and tokens.balancer is not lb:
            raise ConfigError("tokens must be those of this balancer", option="tokens")
        self.lb = lb
        self.identity, self.tokens = identity, tokens
        self.timeouts, self.limits, self.keep_host = timeouts, limits, keep_host
        self.upstream: Upstream = upstream or AiohttpUpstream(timeouts, limits)
        self.rounds = TimerWheel(timeouts)
        self.budget = RetryBudget(limits.retry_share, limits.retry_rate)
        self.token_name = None if tokens is None else tokens.cookie.encode("ascii")
        self.body_limit = 0 if identity is None else identity.body_limit
        self.stats = {"requests": 0, "websockets": 0, "retries": 0, "retries_refused": 0}
        self._trusted = trusted

    def trusts(self, peer: str) -> bool:
        """Whether the forwarding headers of the client at ``peer`` are accepted."""
        return self._trusted is not None and self._trusted.trusts(peer or None)

    def tls(self, scope: Scope) -> bool:
        """Whether the client came by TLS, here or to a trusted proxy before us."""
        if self._trusted is not None:
            return self._trusted.tls(scope)
        return scope.get("scheme") in ("https", "wss")
