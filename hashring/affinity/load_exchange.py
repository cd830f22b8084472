"""Outstanding work that several routers exchange through one Redis.

Each router writes one hash, ``prefix`` and its name, with the outstanding work of its hosts, and
reads those of the others. A script does both in one round trip. A hash expires, so that the load of
a router that died does not stay, and the index of routers loses it by the same time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hashring.affinity.redis_pins import redis_module, reply_text
from hashring.balancer import LoadBalancer
from hashring.balancer.pin_table import PinTable
from hashring.errors import ConfigError
from hashring.keys import text_bytes
from hashring.service import Service
from hashring.validators import SECONDS

if TYPE_CHECKING:
    import redis.asyncio

PREFIX = "hashring:load:"
INTERVAL = 0.5
"""Seconds between two exchanges. With four routers on a public trace at 1.4 times its rate the mean
time to the first token is 2.02 s with this, 1.83 s with 0.1 s, and 2.95 s without an exchange."""

_LIFETIME = 4  # intervals after which a silent router counts as dead: one exchange may be lost
_MOST_ROUTERS = 1_000  # that are read in one exchange

# own hash and index; returns name, fields, name, fields, ... of the others
_EXCHANGE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('DEL', KEYS[1])
if #ARGV > 4 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 5))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local found = {}
for _, name in ipairs(redis.call('ZREVRANGE', KEYS[2], 0, ARGV[4])) do
  if name ~= ARGV[2] then
    found[#found + 1] = name
    found[#found + 1] = redis.call('HGETALL', ARGV[1] .. name)
  end
end
return found
"""

_log = logging.getLogger("hashring")


class LoadExchange(Service):
    """Reports the outstanding work of ``lb`` to other routers, and theirs to ``lb``.

    ``with`` exchanges in a thread, ``async with`` in the running event loop, every ``interval``
    seconds; entering waits for the first exchange, at most ``deadline`` seconds. ``client`` is a
    URL, or a ``redis.asyncio.Redis`` of the same loop. ``router`` names this router, by default at
    random. All routers use the same ``prefix`` and interval. While Redis does not answer within
    ``deadline`` seconds, each router sees its own load only: that costs latency and no session.

    Routers that place by load must share what they remember: with pins in the memory of each
    router, two of them would send one session to two hosts. Raises ``ConfigError`` for such a
    balancer, for bad options and without the ``redis`` package.

    Cost: one round trip an interval, O(hosts x routers).

    >>> from hashring.affinity import BlockingRedisPins
    >>> pins = BlockingRedisPins("redis://127.0.0.1:6379/0")
    >>> lb = LoadBalancer(["web1", "web2"], pins=pins, new_clients="fallback")
    >>> LoadExchange(lb, "redis://127.0.0.1:6379/0", router="router-1")
    <LoadExchange of 'router-1'>
    """

    TITLE = "load exchange"
    FORK_WARNING = "a forked child inherits no LoadExchange: start a new one in the child"

    def __init__(
        self,
        lb: LoadBalancer,
        client: str | redis.asyncio.Redis,
        *,
        interval: float = INTERVAL,
        router: str | None = None,
        prefix: str = PREFIX,
        deadline: float = 0.25,
    ) -> None:
        if isinstance(lb.pins, PinTable):
            raise ConfigError(
                "routers that exchange loads must share their pins, and a PinTable is known to one "
                "process only: use RedisPins, BlockingRedisPins or tokens",
                option="pins",
            )
        self._module = redis_module("an exchange of loads")
        self._interval = SECONDS(interval, "interval")
        self._deadline = SECONDS(deadline, "deadline")
        super().__init__(start_timeout=self._deadline * 2)
        self._lb, self._client = lb, client
        self.router = router if router is not None else secrets.token_hex(8)
        self._prefix = text_bytes(prefix)
        self._known: set[str] = set()
        self._lost = False
        self._stats = {"exchanges": 0, "failures": 0, "routers": 0}

    @property
    def stats(self) -> Mapping[str, int]:
        """``exchanges`` that succeeded, ``failures``, and the other ``routers`` seen last."""
        return MappingProxyType(self._stats)

    async def _run(self, started: Callable[[], object]) -> None:
        client: Any = self._client
        if isinstance(client, str):
            client = import_module("redis.asyncio").Redis.from_url(
                client, socket_timeout=self._deadline, socket_connect_timeout=self._deadline
            )
        try:
            while True:
                await self._exchange(client)
                started()
                await asyncio.sleep(self._interval)
        finally:
            if client is not self._client:
                await client.aclose()

    async def _exchange(self, client: Any) -> None:
        lifetime = self._interval * _LIFETIME
        own = [
            part
            for name, load in self._lb.outstanding().items()
            for part in (text_bytes(name), repr(load))
        ]
        name = text_bytes(self.router)
        keys = self._prefix + b"router:" + name, self._prefix + b"routers"
        given = self._prefix + b"router:", name, round(lifetime * 1000), _MOST_ROUTERS
        try:
            async with asyncio.timeout(self._deadline):
                reply = await client.eval(_EXCHANGE, 2, *keys, *given, *own)
        except (self._module.RedisError, OSError) as error:
            self._stats["failures"] += 1
            if not self._lost:
                self._lost = True
                why = f"{type(error).__name__}: {error}".rstrip(": ")
                _log.warning("loads: Redis does not answer, so each router sees its own (%s)", why)
            return
        if self._lost:
            self._lost = False
            _log.warning("loads: Redis answers again")
        self._stats["exchanges"] += 1
        self._take(reply, lifetime)

    def _take(self, reply: list[Any], lifetime: float) -> None:
        members = self._lb.snapshot.members
        reports = {
            _name(router): _loads(fields, members)
            for router, fields in zip(reply[::2], reply[1::2], strict=True)
        }
        for router in self._known - reports.keys():
            self._lb.set_remote_load(router, {}, expires=lifetime)
        for router, loads in reports.items():
            self._lb.set_remote_load(router, loads, expires=lifetime)
        self._known = set(reports)
        self._stats["routers"] = len(reports)

    def __repr__(self) -> str:
        return f"<LoadExchange of {self.router!r}>"


def _loads(fields: list[Any], members: Mapping[str, object]) -> dict[str, float]:
    """The loads of hosts that are members here; what is not a load is left out."""
    found = {}
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        try:
            load = float(value)
        except ValueError:
            continue
        if math.isfinite(load) and load > 0 and _name(name) in members:
            found[_name(name)] = load
    return found


def _name(reply: Any) -> str:
    return reply_text(reply) or ""
