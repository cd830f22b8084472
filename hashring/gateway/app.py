"""``Gateway``: the balancer as an ASGI application that sends each request to its host.

Settings may change while it serves. Where only the hosts differ, the balancer takes the new ones,
unless a source lists them. Any other change makes a second ``Generation``, which takes over marks
and drains of the first; requests that have begun end where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from hashring.affinity import IdentitySource, PinTable, TokenAffinity, TrustedProxies
from hashring.balancer import LoadBalancer
from hashring.config import Settings
from hashring.config.factory import update_hosts
from hashring.config.settings import Limits, Timeouts
from hashring.discovery import Discovery, Notice
from hashring.errors import HashringError
from hashring.gateway.access import AccessLog
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.client_side import ClientSide
from hashring.gateway.factory import (
    build_generation,
    carry_over,
    keeps_hosts,
    only_hosts_differ,
    same_hosts,
)
from hashring.gateway.generation import Generation
from hashring.gateway.headers import RequestHead
from hashring.gateway.proxy import ProxyRequest
from hashring.gateway.sessions import GatewaySessions
from hashring.health import HealthMonitor
from hashring.listeners import Listeners
from hashring.text import plural
from hashring.tls import HostTls

_LOOK = 0.5
"""Seconds between two looks at the file: a change is taken at the second look that sees it, when
writing has ended."""

_AFTERMATH = 0.1  # seconds between two looks at whether an old gateway's requests are over

_FIXED = {  # what the server takes when it begins
    "gateway": ("listen", "admin", "shutdown_grace", "linger", "workers", "watch"),
    "admin": ("token", "public", "state_file"),
    "tls": ("certificate", "key"),
    "log": ("format", "level", "levels", "repeats"),
    "timeouts": ("head", "client_idle"),
    "limits": ("head", "headers", "connections"),
}

_log = logging.getLogger("hashring")

Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class Gateway:
    """An ASGI application that sends each request to the host that ``lb`` chooses.

    ``identity`` reads the client ID, ``tokens`` keeps clients by a cookie that no host ever sees,
    ``health`` marks hosts down, and ``discovery`` keeps the pool equal to the list of a source;
    each may be left out. ``trusted`` are the proxies whose forwarding headers and request IDs are
    accepted. With ``keep_host`` a host gets the client's ``Host``, else its own address.
    ``access_log`` gets an entry for each request. ``placement`` has the name and the options of
    the placement of ``lb``, without a secret, for ``/state``. ``from_settings`` makes one that can
    be reloaded.

    Mounted in another application it forwards the path below its mount point. Such an application
    gets no lifespan: use ``async with gateway`` around it, or call ``open`` and ``aclose``.

    Under another server than ours (``hashring.gateway.server``), interim responses (1xx) and
    trailers are dropped because ASGI cannot express them, and that server parses the requests.

    >>> gateway = Gateway(LoadBalancer(["127.0.0.1:9001"]))
    >>> gateway.ready
    False
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
    ) -> None:
        self._begin(
            Generation(
                lb,
                identity=identity,
                tokens=tokens,
                health=health,
                discovery=discovery,
                trusted=trusted,
                timeouts=timeouts,
                limits=limits,
                tls=tls,
                keep_host=keep_host,
                access_log=access_log,
                placement=placement,
            )
        )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        read: Callable[[], Settings] | None = None,
        files: Iterable[str] = (),
    ) -> Gateway:
        """A gateway of ``settings``, which ``reload`` replaces by those that ``read`` returns.

        ``read`` may raise ``ConfigError``: the old settings then stay, and the reason is logged.
        A change of one of ``files``, which are checked while it is open, is a reload too.
        """
        made = cls.__new__(cls)
        made._begin(build_generation(settings))
        made.settings, made._read, made._files = settings, read, tuple(files)
        made._taken = _stamp(made._files)
        return made

    def _begin(self, generation: Generation) -> None:
        self.settings: Settings | None = None
        self._generation = generation
        self._read: Callable[[], Settings] | None = None
        self._files: tuple[str, ...] = ()
        self._taken: Stamp = ()
        self._watched = False
        self._old: list[Generation] = []
        self._ended: Counter[str] = Counter()  # counts of the generations that have ended
        self.counts = generation.counts
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._stopped = False
        self._weights: dict[str, float] = {}  # of hosts, set by hand
        self.reloaded: Listeners[LoadBalancer] = Listeners()
        self.settings_read: Listeners[Settings] = Listeners()  # at each reload, changed or not
        """Called with the new balancer when a reload has made another one."""
        self._follow_source(generation)

    # -- weights set by hand ----------------------------------------------------------------------

    def set_weight(self, name: str, weight: float) -> None:
        """Set a host's weight by hand, which stays through reloads and new lists of a source.

        Setting the weight of the settings ends that. Raises what ``LoadBalancer.set_weight`` does.
        """
        self.lb.set_weight(name, weight)
        listed = () if self.settings is None else self.settings.pool.hosts
        if any(host.name == name and host.weight == weight for host in listed):
            self._weights.pop(name, None)
        else:
            self._weights[name] = weight

    def _apply_weights(self, lb: LoadBalancer) -> None:
        for name, weight in list(self._weights.items()):
            if name in lb and lb.snapshot.members[name].host.weight != weight:
                lb.set_weight(name, weight)
                _log.warning("%s keeps the weight %g, which was set by hand", name, weight)

    def _follow_source(self, generation: Generation) -> None:
        def restore(notice: Notice) -> None:
            if notice.kind == "changed" and self._weights:
                self._spawn(asyncio.to_thread(self._apply_weights, generation.lb))

        if generation.discovery is not None:
            generation.discovery.subscribe(restore)

    # -- what it has now --------------------------------------------------------------------------

    @property
    def lb(self) -> LoadBalancer:
        """The balancer now."""
        return self._generation.lb

    @property
    def health(self) -> HealthMonitor | None:
        """The health monitor now."""
        return self._generation.health

    @property
    def discovery(self) -> Discovery | None:
        """The discovery now."""
        return self._generation.discovery

    @property
    def placement(self) -> tuple[str, Mapping[str, Any]] | None:
        """The placement's name and options now."""
        return self._generation.placement

    @property
    def tokens(self) -> TokenAffinity | None:
        """The token affinity now."""
        return self._generation.tokens

    @property
    def sessions(self) -> GatewaySessions | None:
        """The learned sessions now; None where no rule learns and no table keeps any."""
        return self._generation.sessions

    @property
    def access_log(self) -> AccessLog | None:
        """The access log now."""
        return self._generation.access_log

    @property
    def pins(self) -> PinTable | None:
        """The table of sessions now; None where tokens keep them."""
        return self._generation.pins

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts now."""
        return self._generation.timeouts

    @property
    def limits(self) -> Limits:
        """The limits now."""
        return self._generation.limits

    @property
    def stats(self) -> dict[str, int]:
        """Counts since the last change of settings other than hosts."""
        return self._generation.stats

    @property
    def total_stats(self) -> dict[str, int]:
        """Counts since the start."""
        total = Counter(self._ended)
        for generation in (*self._old, self._generation):
            total.update(generation.stats)
        return {name: total[name] for name in self.stats}

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: it is open and some host takes new clients."""
        return self._generation.ready

    @property
    def in_flight(self) -> int:
        """Requests that have begun and not ended, of all generations."""
        return self._generation.in_flight + sum(old.in_flight for old in self._old)

    # -- its life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start discovery, the health monitor, and the check of the files.

        Takes as long as the discovery waits for its first list.
        """
        await self._generation.open()
        if self._files and not self._watched:
            self._watched = True
            self._spawn(self._watch())

    def reopen_log(self) -> None:
        """Open the file of the access log again, after a rotation."""
        log = self._generation.access_log
        if log is not None:
            log.reopen()

    def stop(self) -> None:
        """Report not ready from now on; requests are still served."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        self._generation.stopping = True
        self._generation.stop()

    async def aclose(self) -> None:
        """Stop discovery and health monitor, and close all connections to hosts."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for generation in (*self._old, self._generation):
            await generation.aclose()

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

    def open_request(self, client: ClientSide, head: RequestHead) -> ProxyRequest:
        """The request of ``head``, which ``client`` drives: ``begin``, ``feed``, ``end_body``."""
        return ProxyRequest(self._generation, client, head)

    def name_in_chain(self, name: str) -> None:
        """Set the name in the header Via, which the workers of one gateway share."""
        self._generation.name_in_chain(name)

    @property
    def stopping(self) -> bool:
        """Whether each response is the last of its connection."""
        return self._generation.stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope of another ASGI server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            from hashring.gateway.asgi_client import serve_scope  # what our own server needs not

            await serve_scope(self, scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    # -- other settings ---------------------------------------------------------------------------

    def reload(self) -> None:
        """Read and apply the settings soon. For the loop's own thread.

        Not after ``stop``: a new generation would report that it is ready.
        """
        if not self._stopped and self._read is not None:
            self._spawn(self._reload(self._read))

    async def _reload(self, read: Callable[[], Settings]) -> None:
        async with self._turn:
            try:
                new = await asyncio.to_thread(read)
                self.settings_read.notify(new)
                await self._take(new)
            except HashringError as error:  # an expected end: no traceback
                _log.error("the settings stay as they were: %s", error)
            except Exception:
                _log.exception("the settings stay as they were")

    async def _take(self, new: Settings) -> None:
        old = self.settings
        assert old is not None, "only a gateway of settings is reloaded"
        if new == old and same_hosts(old, new):
            _log.info("the settings are as they were")
            return
        fixed = list(_fixed_keys(old, new))
        discovery = self.discovery
        known = discovery is not None and discovery.membership is not None
        if not only_hosts_differ(old, new):
            await self._replace(new, hosts=keeps_hosts(old, new, known))
        elif discovery is None:
            await asyncio.to_thread(update_hosts, self.lb, new.pool)
            await asyncio.to_thread(self._apply_weights, self.lb)
        elif known:
            _log.info("%s lists the hosts: those of the file apply at a start", discovery.source)
        else:  # its first list may come at any moment, and must not be overwritten
            await self._replace(new, hosts=False)
        self.settings = new
        _log.info("new settings: %s, %s", plural(len(self.lb), "host"), self.lb.fingerprint)
        if fixed:
            _log.warning("at a restart only: a new %s", ", ".join(fixed))

    async def _replace(self, settings: Settings, *, hosts: bool) -> None:
        old = self._generation
        new = await asyncio.to_thread(build_generation, settings, old)
        new.counts = old.counts
        new.name_in_chain(old.via.decode().partition(" ")[2])
        await asyncio.to_thread(
            carry_over,
            old.lb,
            new.lb,
            time.monotonic(),
            watched=new.health is not None,
            followed=new.discovery is not None,
            hosts=hosts,
        )
        await asyncio.to_thread(self._apply_weights, new.lb)
        self._follow_source(new)
        await new.open()
        old.successor = new
        self._generation = new  # the one assignment that requests see
        self.reloaded.notify(new.lb)
        self._old.append(old)
        old.stop()
        self._spawn(self._retire(old))

    async def _retire(self, old: Generation) -> None:
        while old.in_flight:  # noqa: ASYNC110  # a counter, without a signal at 0
            await asyncio.sleep(_AFTERMATH)
        await old.aclose()
        self._old.remove(old)
        self._ended.update(old.stats)

    async def _watch(self) -> None:
        seen = self._taken
        while True:
            await asyncio.sleep(_LOOK)
            now = _stamp(self._files)
            if now == seen != self._taken:
                self._taken = now
                if self._read is not None:
                    await self._reload(self._read)
            seen = now

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def __repr__(self) -> str:
        return f"<Gateway of {plural(len(self.lb), 'host')}, {self.in_flight} in flight>"


def _fixed_keys(old: Settings, new: Settings) -> Iterator[str]:
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
