"""Runs the demo: hosts, gateway and clients start, the scenario runs, and all of them end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hashring.affinity import TokenAffinity, Tokens
from hashring.balancer import LoadBalancer
from hashring.errors import HashringError
from hashring.gateway.app import Gateway
from hashring.gateway.demo.clients import DemoClients
from hashring.gateway.demo.hosts import Backends
from hashring.gateway.demo.scenario import FIRST, DemoScenario
from hashring.gateway.server import serve
from hashring.health import HealthMonitor, OutlierRules, ProbeRules

_RULES = ProbeRules(interval=2.0, timeout=2.0, fall=2, rise=1, fast=0.25)
"""A killed host refuses at once. A long timeout, so that a busy machine does not look like one."""

_OUTLIERS = OutlierRules(
    base=1.0
)  # with the default of 30 s a host would stay ejected until the end

_ANYWHERE = "127.0.0.1:0"


@dataclass
class DemoRunner:
    """The running demo: the gateway, its addresses, clients and scenario; ``stop`` ends it."""

    gateway: Gateway
    listen: str
    admin: str
    clients: DemoClients
    scenario: DemoScenario
    stop: asyncio.Event


@asynccontextmanager
async def demo_runner(size: int, tell: Callable[[str], object]) -> AsyncIterator[DemoRunner]:
    """All of it, from the first host's start to the last one's end.

    SIGINT and SIGTERM set ``stop``. Raises ``HashringError`` for what does not start, and
    ``ConfigError`` for a missing library.
    """
    async with Backends() as backends:
        lb = LoadBalancer(await backends.start_all(list(FIRST)))
        gateway = Gateway(
            lb,
            tokens=TokenAffinity(lb, Tokens(secrets.token_bytes(32))),
            health=HealthMonitor(lb, rules=_RULES, outliers=_OUTLIERS),
        )
        stop = asyncio.Event()
        async with (
            _serving(gateway, stop) as (listen, admin),
            DemoClients(listen, size) as clients,
        ):
            scenario = DemoScenario(lb, backends, clients, tell)
            yield DemoRunner(gateway, listen, admin, clients, scenario, stop)


@asynccontextmanager
async def _serving(gateway: Gateway, stop: asyncio.Event) -> AsyncIterator[tuple[str, str]]:
    bound: asyncio.Future[tuple[str, str | None]] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(
            gateway,
            listen=_ANYWHERE,
            admin=_ANYWHERE,
            linger=0.0,
            grace=1.0,
            stop=stop,
            started=lambda listen, admin: bound.set_result((listen, admin)),
        )
    )
    try:
        await asyncio.wait((serving, bound), return_when=asyncio.FIRST_COMPLETED)
        if not bound.done():
            await serving  # for its error
            raise HashringError("the demo's gateway ended before it had begun")
        listen, admin = bound.result()
        assert admin is not None  # it was asked for
        yield listen, admin
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)
