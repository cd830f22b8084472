"""New settings for a running gateway: valid ones, between two requests.

If only the hosts differ, the balancer takes the new ones, unless a source lists them. Any
other change makes a second gateway, which takes over the marks and drains of the first; requests
that have begun end where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hashring.affinity import TokenAffinity
from hashring.balancer import LoadBalancer
from hashring.config import Settings
from hashring.config.factory import update_hosts
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery
from hashring.errors import HashringError
from hashring.gateway.app import Gateway
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.factory import (
    build_gateway,
    carry_over,
    keeps_hosts,
    only_hosts_differ,
    same_hosts,
)
from hashring.health import HealthMonitor
from hashring.text import plural

_LOOK = 0.5
"""Seconds between two looks at the file: a change is taken at the second look that sees it, when
writing has ended."""

_AFTERMATH = 0.1  # seconds between two looks at whether an old gateway's requests are over

_FIXED = {  # what the server takes when it begins
    "gateway": ("listen", "admin", "shutdown_grace", "linger", "watch"),
    "timeouts": ("head", "client_idle"),
    "limits": ("head", "headers", "message"),
}

_log = logging.getLogger("hashring")

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class Reloadable:
    """An ASGI application that is the gateway of ``settings``, and later that of newer ones.

    ``read`` gives the settings as they are now, or raises ``ConfigError``: the old ones then stay,
    and the reason is logged. ``reload()`` calls it, and so does a change of one of ``files``, which
    are checked while it is open. It can stand where ``run`` takes a ``Gateway``.
    """

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], files: Iterable[str] = ()
    ) -> None:
        self.settings = settings
        self.gateway = build_gateway(settings)
        self._read = read
        self._files = tuple(files)
        self._taken = _stamp(self._files)
        self._old: list[Gateway] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._stopped = False

    # -- what a server and the admin pages ask of a gateway ---------------------------------------

    @property
    def lb(self) -> LoadBalancer:
        """The balancer now."""
        return self.gateway.lb

    @property
    def health(self) -> HealthMonitor | None:
        """The health monitor now."""
        return self.gateway.health

    @property
    def discovery(self) -> Discovery | None:
        """The discovery now."""
        return self.gateway.discovery

    @property
    def placement(self) -> tuple[str, Mapping[str, Any]] | None:
        """The placement's name and options now."""
        return self.gateway.placement

    @property
    def tokens(self) -> TokenAffinity | None:
        """The token affinity now."""
        return self.gateway.tokens

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts now."""
        return self.gateway.timeouts

    @property
    def limits(self) -> Limits:
        """The limits now."""
        return self.gateway.limits

    @property
    def stats(self) -> dict[str, int]:
        """Counts since another gateway took over."""
        return self.gateway.stats

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self.gateway.ready

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended, under whatever settings."""
        return self.gateway.in_flight + sum(old.in_flight for old in self._old)

    def stop(self) -> None:
        """Report not ready from now on; requests are still served."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        self.gateway.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "lifespan":
            await self.gateway(scope, receive, send)
            return
        await receive()
        await self.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def open(self) -> None:
        """Begin, and watch the files."""
        await self.gateway.open()
        if self._files:
            self._spawn(self._watch())

    async def aclose(self) -> None:
        """End."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for gateway in (*self._old, self.gateway):
            await gateway.aclose()

    # -- other settings ---------------------------------------------------------------------------

    def reload(self) -> None:
        """Read and apply the settings soon. For the loop's own thread.

        Not after ``stop``: a new gateway would report that it is ready.
        """
        if not self._stopped:
            self._spawn(self._reload())

    async def _reload(self) -> None:
        async with self._turn:
            try:
                new = await asyncio.to_thread(self._read)
                await self._take(new)
            except HashringError as error:
                _log.error(
                    "the settings stay as they were: %s", error
                )  # an expected end: no traceback
            except Exception:
                _log.exception("the settings stay as they were")

    async def _take(self, new: Settings) -> None:
        old = self.settings
        if new == old and same_hosts(old, new):
            _log.info("the settings are as they were")
            return
        fixed = list(_fixed(old, new))
        discovery = self.gateway.discovery
        known = discovery is not None and discovery.membership is not None
        if not only_hosts_differ(old, new):
            await self._replace(new, hosts=keeps_hosts(old, new, known))
        elif discovery is None:
            await asyncio.to_thread(update_hosts, self.lb, new.pool)
        elif known:
            _log.info("%s lists the hosts: those of the file apply at a start", discovery.source)
        else:  # its first answer may come at any moment, and must not be overwritten
            await self._replace(new, hosts=False)
        self.settings = new
        _log.info("new settings: %s, %s", plural(len(self.lb), "host"), self.lb.fingerprint)
        if fixed:
            _log.warning("at a restart only: a new %s", ", ".join(fixed))

    async def _replace(self, settings: Settings, *, hosts: bool) -> None:
        old = self.gateway
        new = await asyncio.to_thread(build_gateway, settings)
        await asyncio.to_thread(
            carry_over,
            old.lb,
            new.lb,
            time.monotonic(),
            watched=new.health is not None,
            followed=new.discovery is not None,
            hosts=hosts,
        )
        await new.open()
        self.gateway = new  # the one assignment that requests see
        self._old.append(old)
        old.stop()
        self._spawn(self._retire(old))

    async def _retire(self, old: Gateway) -> None:
        while old.in_flight:  # noqa: ASYNC110  # a counter, without a signal at 0
            await asyncio.sleep(_AFTERMATH)
        await old.aclose()
        self._old.remove(old)

    async def _watch(self) -> None:
        seen = self._taken
        while True:
            await asyncio.sleep(_LOOK)
            now = _stamp(self._files)
            if now == seen != self._taken:
                self._taken = now
                await self._reload()
            seen = now

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fixed(old: Settings, new: Settings) -> Iterator[str]:
    """The keys that differ and that a running server cannot change."""
    for table, keys in _FIXED.items():
        before, after = getattr(old, table), getattr(new, table)
        yield from (f"{table}.{k}" for k in keys if getattr(before, k) != getattr(after, k))


def _stamp(files: Iterable[str]) -> Stamp:
    """What changes when a file does, or when a link leads to another; None for what is not there.

    >>> _stamp(["/no/such/file"])
    (None,)
    """
    found: list[tuple[int, int, int] | None] = []
    for file in files:
        stat = None
        with contextlib.suppress(OSError):
            stat = Path(file).stat()
        found.append(None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
