"""``hashring serve`` with several workers: the supervisor's process, and that of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from hashring.affinity import PinTable
from hashring.config import Settings
from hashring.config.factory import session_store
from hashring.config.settings import Limits, Timeouts
from hashring.errors import ConfigError
from hashring.gateway.api import state
from hashring.gateway.app import Gateway
from hashring.gateway.http.app_request import AppService
from hashring.gateway.http.listener import HttpListener
from hashring.gateway.operator_marks import DeferredActions, action_of
from hashring.gateway.server import open_admin, open_socket, run_loop, serve, shown_address
from hashring.gateway.systemd import passed_socket
from hashring.gateway.workers import Supervisor, WorkerOrders, follow_orders, worker_command
from hashring.gateway.workers_admin import WorkersAdmin

_SPARE = 5.0  # seconds that an ending worker has beyond linger and grace


def supervise(
    settings: Settings,
    arguments: Sequence[str],
    count: int,
    *,
    front: socket.socket | None = None,
    started: Callable[[str, str | None], object],
) -> None:
    """Run ``count`` workers until SIGTERM or SIGINT; ``arguments`` are those of the command.

    ``front`` is a listening socket that all share; without it each has its own on the address of
    the settings. Raises ``OSError`` for an address that is taken, and ``ConfigError`` where workers
    would disagree on the hosts of sessions.
    """
    store = session_store(settings)
    by_load = settings.placement.new_clients == "least-outstanding"
    if isinstance(store, PinTable) or (by_load and store is None and not settings.tokens.enabled):
        raise ConfigError(
            "several workers do not share sessions in memory: use tokens or "
            'sessions.store = "redis://...", or one worker',
            option="gateway.workers",
        )
    asyncio.run(_supervise(settings, arguments, count, front or passed_socket(), started))


async def _supervise(
    settings: Settings,
    arguments: Sequence[str],
    count: int,
    front: socket.socket | None,
    started: Callable[[str, str | None], object],
) -> None:
    gateway = settings.gateway
    address = gateway.listen

    def next_socket() -> socket.socket:
        nonlocal address
        if front is not None:
            return front
        sock = open_socket(address, reuse_port=True)
        address = shown_address(sock)  # the port that was free
        return sock

    tokens = settings.tokens.secrets
    supervisor = Supervisor(
        worker_command(arguments),
        next_socket,
        count,
        shared=front is not None or address.startswith("unix:"),
        secret=tokens[0] if tokens else secrets.token_bytes(32),
        name=f"gateway-{secrets.token_hex(6)}",
        grace=gateway.linger + gateway.shutdown_grace + _SPARE,
        state_file=settings.admin.state_file,
    )
    operators: HttpListener | None = None
    shown: str | None = None
    if gateway.admin is not None:
        back = open_admin(gateway.admin, settings.admin.token)
        shown = shown_address(back)
        operators = HttpListener(AppService(WorkersAdmin(supervisor)), back, Limits(), Timeouts())
        await operators.start()
    try:
        await supervisor.run(lambda: started(shown_address(supervisor.sockets[0]), shown))
    finally:
        if operators is not None:
            operators.stop_accepting()
            await operators.finish(0.0, asyncio.Event())


def work(
    orders: WorkerOrders,
    read: Callable[[], Settings],
    files: Callable[[Settings], Sequence[str]],
) -> None:
    """Be a worker: serve until the supervisor ends it, then report what was counted."""

    def read_share() -> Settings:
        return divide_settings(read(), orders.count)

    settings = read_share()
    live = Gateway.from_settings(settings, read_share, files(settings))
    live.name_in_chain(orders.name)
    run_loop(_work(orders, live, settings))
    report = {"metrics": _metrics(live), "stats": state(live)["stats"] | live.total_stats}
    data = json.dumps(report).encode()
    with contextlib.suppress(OSError):  # the supervisor has gone
        while data:
            data = data[os.write(orders.report, data) :]


async def _work(orders: WorkerOrders, live: Gateway, settings: Settings) -> None:
    stop, retire = asyncio.Event(), asyncio.Event()
    gateway = settings.gateway
    marks = DeferredActions(live, map(action_of, orders.marks))
    await follow_orders(retire, stop, marks.act)
    await serve(
        live,
        admin_token=settings.admin.token,
        admin_public=settings.admin.public,
        tls=settings.tls if settings.tls.is_on else None,
        linger=gateway.linger,
        grace=gateway.shutdown_grace,
        reload=live.reload,
        opened=marks.begin,
        started=lambda listen, admin: os.write(orders.report, b"1"),
        stop=stop,
        retire=retire,
        front=socket.socket(fileno=orders.listen),
        back=socket.socket(fileno=orders.admin),
    )


def _metrics(live: Gateway) -> str:
    try:
        from hashring.gateway.metrics import exposition
    except ConfigError:  # the extra is missing
        return ""
    return exposition(live).decode()


def divide_settings(settings: Settings, count: int) -> Settings:
    """One worker's share of what is limited for the whole gateway.

    >>> divide_settings(Settings(), 4).limits.connections
    2500
    """
    limits, pool = settings.limits, settings.pool
    share = replace(
        limits,
        connections=math.ceil(limits.connections / count),
        retry_rate=limits.retry_rate / count,
    )
    if pool.max_in_flight is not None:
        pool = replace(pool, max_in_flight=max(1.0, pool.max_in_flight / count))
    return replace(settings, limits=share, pool=pool)
