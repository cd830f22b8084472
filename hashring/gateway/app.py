"""``Gateway``: the balancer as an ASGI application that sends each request to its host."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from hashring.affinity import Source, TokenAffinity, TrustedProxies
from hashring.balancer import LoadBalancer
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery
from hashring.gateway.access import AccessEntry, AccessLog
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.parts import Parts
from hashring.gateway.proxy import ProxyRequest
from hashring.gateway.request_timeouts import RequestTimeouts
from hashring.gateway.upstream import Upstream
from hashring.gateway.websocket import WebSocketTunnel
from hashring.health import HealthMonitor


class Gateway(Parts):
    """An ASGI application that sends each request to the host that ``lb`` chooses.

    ``identity`` reads the client ID, ``tokens`` keeps clients by a cookie that no host ever sees,
    ``health`` marks hosts down, and ``discovery`` keeps the pool equal to the list of a source;
    each may be left out. ``trusted`` are the proxies whose forwarding headers and request IDs are
    accepted. With ``keep_host`` a host gets the client's ``Host``, else its own address.
    ``access_log`` gets an entry for each request. ``upstream`` is the client of the hosts; None is
    aiohttp. ``placement`` has the name and the options of the placement of ``lb``, without a
    secret, for ``/state``.

    Mounted in another application it forwards the path below its mount point. Such an application
    gets no lifespan: use ``async with gateway`` around it, or call ``open`` and ``aclose``.

    Interim responses (1xx) and trailers are dropped because ASGI cannot express them. How strictly
    requests are parsed depends on the server: ours is ``hashring.gateway.server``.

    >>> gateway = Gateway(LoadBalancer(["127.0.0.1:9001"]))
    >>> gateway.ready
    False
    """

    def __init__(
        self,
        lb: LoadBalancer,
        *,
        identity: Source | None = None,
        tokens: TokenAffinity | None = None,
        health: HealthMonitor | None = None,
        discovery: Discovery | None = None,
        trusted: TrustedProxies | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # it is immutable
        limits: Limits = Limits(),  # noqa: B008  # it is immutable
        keep_host: bool = True,
        access_log: AccessLog | None = None,
        upstream: Upstream | None = None,
        placement: tuple[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(lb, identity, tokens, trusted, timeouts, limits, keep_host, upstream)
        self.health, self.discovery = health, discovery
        self.placement = placement
        self.in_flight = 0
        self._log = access_log
        self._open = False

    # -- its life ---------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: it is open and some host takes new clients."""
        return self._open and len(self.lb.snapshot.away) < len(self.lb)

    async def open(self) -> None:
        """Start discovery and the health monitor.

        Takes as long as the discovery waits for its first list.
        """
        if not self._open:
            self._open = True
            if self.discovery is not None:
                await self.discovery.__aenter__()
            if self.health is not None:
                await self.health.__aenter__()

    def stop(self) -> None:
        """Report not ready from now on; requests are still served."""
        self._open = False

    async def aclose(self) -> None:
        """Stop discovery and health monitor, and close all connections to hosts."""
        self._open = False
        discovery, self.discovery = self.discovery, None
        if discovery is not None:
            await discovery.__aexit__(None, None, None)
        health, self.health = self.health, None
        if health is not None:
            await health.__aexit__(None, None, None)
        await self.upstream.aclose()

    async def __aenter__(self) -> Gateway:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # -- requests ---------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application. Cost: some 30 us a request beside the server and the client."""
        kind = scope["type"]
        if kind != "http":
            if kind == "websocket":
                await self._websocket(scope, receive, send)
            elif kind == "lifespan":
                await self._lifespan(receive, send)
            return
        peer = scope.get("client")
        entry = AccessEntry(scope["method"], "", peer[0] if peer else "")
        watch = RequestTimeouts(receive, send, self.rounds)
        exchange = ProxyRequest(self, scope, watch, entry)
        self.stats["requests"] += 1
        self.in_flight += 1
        try:
            await exchange.run()
        finally:
            watch.over()
            self.in_flight -= 1
            if self._log is not None:
                entry.taken, entry.seconds = exchange.taken, watch.age()
                self._log(entry)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        entry = AccessEntry("GET", "", peer[0] if peer else "")
        watch = RequestTimeouts.clock()
        self.stats["websockets"] += 1
        self.in_flight += 1
        try:
            await WebSocketTunnel(self, scope, receive, send, entry).run()
        finally:
            self.in_flight -= 1
            if self._log is not None:
                entry.seconds = RequestTimeouts.clock() - watch
                self._log(entry)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    def __repr__(self) -> str:
        return f"<Gateway of {len(self.lb)} hosts, {self.in_flight} in flight>"
