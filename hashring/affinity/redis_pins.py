"""Pins shared by several routers through one Redis.

A pin is one key, ``prefix`` and the client ID's bytes, whose value is the host's name and whose
expiry is renewed by each ``get``. Every operation is one round trip: ``GETEX``, ``SET NX GET PX``
and a script that compares and sets. Each may be sent twice without harm, so a connection that
turns out to be dead costs one more attempt and nothing else. ``count`` and ``items`` scan the
database, so that a ``get`` maintains no index. One Redis, not a cluster: 7.0 or newer, or Valkey.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hashring.affinity._breaker import Breaker
from hashring.affinity._counters import Counters
from hashring.balancer.pin_table import IDLE
from hashring.errors import ConfigError, requires_extra
from hashring.keys import Key, key_bytes, text_bytes
from hashring.validators import SECONDS

if TYPE_CHECKING:
    import redis
    import redis.asyncio

PREFIX = "hashring:pin:"

DEADLINE = 0.05
"""Seconds for one answer: a hundred times what a Redis near by takes, and short enough that a
person does not notice the one request that waits for it in vain."""

PAUSE = 0.5
"""Seconds before a Redis that failed is asked again, by one request alone: ten deadlines, so that
a dead one takes a tenth of one caller's time, while a hiccup leaves pinned clients to the ring
for half a second only."""

# what a client's connections are made with: where to, who, and how replies are decoded
_TAKEN = frozenset(
    {
        "client_name",
        "credential_provider",
        "db",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "host",
        "password",
        "path",
        "port",
        "username",
    }
)

_CONNECTIONS = 64  # at 0.2 ms a round trip they carry 300,000 requests a second

# replies with the host that holds the client; an empty ARGV[2] forgets it
_REPLACE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) return false end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return ARGV[2]
"""

# one page of the keyspace: the next cursor, and the keys of host ARGV[4] with their PTTL
_PAGE = """
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local found = {}
if #page[2] > 0 then
  local held = redis.call('MGET', unpack(page[2]))
  for i, key in ipairs(page[2]) do
    if held[i] == ARGV[4] then
      found[#found + 1] = key
      found[#found + 1] = redis.call('PTTL', key)
    end
  end
end
return {page[1], found}
"""
_PAGE_KEYS = 500  # keys a page: some 0.3 ms of Redis' time, in which it serves no other request

_log = logging.getLogger("hashring")


class _Shared:
    """What the two clients share: keys and values, the pause after a failure, the counts."""

    def __init__(
        self, prefix: str, idle: float, deadline: float, pause: float, clock: Callable[[], float]
    ) -> None:
        self._module = redis_module("pins in Redis")
        self._prefix = text_bytes(prefix)
        self._idle_ms = max(1, round(SECONDS(idle, "idle") * 1000))
        self._deadline = SECONDS(deadline, "deadline")
        self._breaker = Breaker(SECONDS(pause, "pause"), clock)
        self._counters = Counters(
            "hits", "misses", "new", "lost", "replaced", "failures", "not_asked"
        )
        self._errors = (self._module.RedisError, OSError)

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the start, live.

        ``hits`` and ``misses`` of ``get``; ``claim`` that made a ``new`` pin or ``lost`` to one
        that was there; pins ``replaced``; ``failures`` of Redis, and how often it was
        ``not_asked`` in the pause after one.
        """
        return self._counters.stats

    def _options(self, retry: Any) -> dict[str, Any]:
        return {
            "max_connections": _CONNECTIONS,
            "timeout": self._deadline,  # for a free connection
            "socket_timeout": self._deadline,
            "socket_connect_timeout": self._deadline,
            "retry": retry,
            "protocol": 2,  # no greeting to wait for on a new connection ...
            "driver_info": None,  # ... of either kind
        }

    def _key(self, client_id: Key) -> bytes:
        return self._prefix + key_bytes(client_id)

    def _script(self, key: bytes, old: str, new: str | None) -> tuple[Any, ...]:
        return _REPLACE, 1, key, text_bytes(old), text_bytes(new or ""), self._idle_ms

    def _page(self, cursor: int, host: str) -> tuple[Any, ...]:
        special = b"\\*?["
        escaped = b"".join(
            b"\\" + bytes((byte,)) if byte in special else bytes((byte,)) for byte in self._prefix
        )
        return _PAGE, 0, cursor, escaped + b"*", _PAGE_KEYS, text_bytes(host)

    def _page_result(self, reply: Any, seen: set[int]) -> tuple[int, list[tuple[bytes, float]]]:
        """The next cursor, and what is new on the page: a scan may return a key twice."""
        cursor, flat = reply
        found = []
        for key, left in zip(flat[::2], flat[1::2], strict=True):
            whole = text_bytes(key) if isinstance(key, str) else bytes(key)
            client = whole[len(self._prefix) :]
            if hash(client) not in seen and left > 0:
                seen.add(hash(client))
                found.append((client, max(0, self._idle_ms - left) / 1000))
        return int(cursor), found

    def _admit(self) -> None:
        if not self._breaker.admits():
            self._counters.add("not_asked")
            raise ConnectionError("Redis did not answer a moment ago: it is not asked for a while")

    def _fail(self, error: BaseException) -> ConnectionError:
        self._counters.add("failures")
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        if not self._breaker.is_open:
            _log.warning("pins: Redis does not answer, so the placement does (%s)", why)
        self._breaker.record_failure()
        return ConnectionError(f"Redis gave no answer within {self._deadline:g} s ({why})")

    def _take_answer(self) -> None:
        if self._breaker.is_open:
            _log.warning("pins: Redis answers again")
        self._breaker.record_success()

    def _got(self, reply: Any) -> str | None:
        held = reply_text(reply)
        self._counters.add("misses" if held is None else "hits")
        return held

    def _claim_result(self, reply: Any, host: str) -> str:
        held = reply_text(reply)
        self._counters.add("new" if held is None else "lost")
        return host if held is None else held

    def _replace_result(self, reply: Any, new: str | None) -> str | None:
        held = reply_text(reply)
        if held == new:
            self._counters.add("replaced")
        return held

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix.decode('utf-8', 'replace')!r}>"


class RedisPins(_Shared):
    """Pins in Redis for ``await lb.apick(...)`` and ``async with lb.lease(...)``.

    ``client`` is a URL or a ``redis.asyncio.Redis``; both belong to one event loop. A pin expires
    ``idle`` seconds after its last ``get``. When Redis gives no answer within ``deadline`` seconds,
    or an error, a method raises ``ConnectionError``, on which a balancer lets its placement answer,
    and no method asks for ``pause`` seconds. Cost: one round trip. Raises ``ConfigError`` without
    the ``redis`` package, for a client of the other kind and for bad options.

    >>> RedisPins("redis://127.0.0.1:6379/0")
    <RedisPins 'hashring:pin:'>
    """

    def __init__(
        self,
        client: str | redis.asyncio.Redis,
        *,
        prefix: str = PREFIX,
        idle: float = IDLE,
        deadline: float = DEADLINE,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(prefix, idle, deadline, pause, clock)
        aio: Any = import_module("redis.asyncio")
        self._client: Any = client
        if isinstance(client, str):
            options = self._options(_retry("redis.asyncio.retry"))
            self._client = aio.Redis.from_pool(
                aio.BlockingConnectionPool.from_url(client, **options)
            )
        elif not asyncio.iscoroutinefunction(getattr(client, "execute_command", None)):
            raise _wrong_client(client, "redis.asyncio.Redis", "BlockingRedisPins")

    async def get(self, client_id: Key, /) -> str | None:
        """The host that holds the client, for ``idle`` seconds more; None without a pin."""
        return self._got(await self._ask("getex", self._key(client_id), px=self._idle_ms))

    async def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that holds it now. The first writer wins."""
        key, name = self._key(client_id), text_bytes(host)
        return self._claim_result(
            await self._ask("set", key, name, nx=True, get=True, px=self._idle_ms), host
        )

    async def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; None forgets. The host of the client now."""
        script = self._script(self._key(client_id), old, new)
        return self._replace_result(await self._ask("eval", *script), new)

    async def count(self, host: str, /) -> int:
        """The number of clients that are pinned to ``host``, by any router.

        Cost: a scan of the whole Redis database, a round trip for some 500 keys.
        """
        count = 0
        async for _ in self.items(host):
            count += 1
        return count

    async def items(self, host: str, /) -> AsyncIterator[tuple[bytes, float]]:
        """The clients that are pinned to ``host`` with their idle seconds, in any order.

        Pins that are made or moved meanwhile may be missing. Memory: a number for each client of
        the host. Cost: as ``count``.
        """
        cursor, seen = -1, set[int]()
        while cursor:
            reply = await self._ask("eval", *self._page(max(0, cursor), host))
            cursor, found = self._page_result(reply, seen)
            for each in found:
                yield each

    async def _ask(self, method: str, *given: Any, **options: Any) -> Any:
        self._admit()
        try:
            async with asyncio.timeout(self._deadline):
                reply = await getattr(self._client, method)(*given, **options)
        except self._errors as error:
            raise self._fail(error) from error
        self._take_answer()
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class BlockingRedisPins(_Shared):
    """Pins in Redis for ``lb.pick(...)`` and ``with lb.lease(...)``: the calling thread waits.

    As ``RedisPins``; ``client`` is a URL or a ``redis.Redis``. Of a client its settings are taken
    for connections of our own, because its own timeouts and retries, by default several seconds,
    would be the deadline. A client whose pool makes connections in another way (Sentinel) is used
    as it is, and is a ``ConfigError`` where its timeouts or retries exceed ``deadline``.

    >>> BlockingRedisPins("redis://127.0.0.1:6379/0", prefix="shop:")
    <BlockingRedisPins 'shop:'>
    """

    def __init__(
        self,
        client: str | redis.Redis,
        *,
        prefix: str = PREFIX,
        idle: float = IDLE,
        deadline: float = DEADLINE,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(prefix, idle, deadline, pause, clock)
        self._client: Any = client
        if isinstance(client, str):
            pool = self._module.BlockingConnectionPool.from_url(
                client, **self._options(_retry("redis.retry"))
            )
            self._client = self._module.Redis.from_pool(pool)
        elif not isinstance(client, self._module.Redis):
            raise _wrong_client(client, "redis.Redis", "RedisPins")
        elif type(client.connection_pool).__name__ in ("ConnectionPool", "BlockingConnectionPool"):
            theirs = client.connection_pool
            options = {
                name: value
                for name, value in theirs.connection_kwargs.items()
                if name in _TAKEN or name.startswith("ssl_")
            }
            options |= self._options(_retry("redis.retry"))
            options["connection_class"] = theirs.connection_class
            self._client = self._module.Redis.from_pool(
                self._module.BlockingConnectionPool(**options)
            )
        else:
            _check_limits(client, self._deadline)

    def get(self, client_id: Key, /) -> str | None:
        """The host that holds the client, for ``idle`` seconds more; None without a pin."""
        return self._got(self._ask("getex", self._key(client_id), px=self._idle_ms))

    def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that holds it now. The first writer wins."""
        key, name = self._key(client_id), text_bytes(host)
        return self._claim_result(
            self._ask("set", key, name, nx=True, get=True, px=self._idle_ms), host
        )

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; None forgets. The host of the client now."""
        script = self._script(self._key(client_id), old, new)
        return self._replace_result(self._ask("eval", *script), new)

    def count(self, host: str, /) -> int:
        """As ``RedisPins.count``."""
        return sum(1 for _ in self.items(host))

    def items(self, host: str, /) -> Iterator[tuple[bytes, float]]:
        """As ``RedisPins.items``."""
        cursor, seen = -1, set[int]()
        while cursor:
            reply = self._ask("eval", *self._page(max(0, cursor), host))
            cursor, found = self._page_result(reply, seen)
            yield from found

    def _ask(self, method: str, *given: Any, **options: Any) -> Any:
        self._admit()
        try:
            reply = getattr(self._client, method)(*given, **options)
        except self._errors as error:
            raise self._fail(error) from error
        self._take_answer()
        return reply

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def redis_module(purpose: str) -> Any:
    """The ``redis`` package. Raises ``ConfigError`` with what to install for ``purpose``."""
    with requires_extra("redis", purpose, option="pins"):
        return import_module("redis")


def _retry(module: str) -> Any:
    """Once more, at once, on a connection that turned out to be dead; never after a timeout."""
    no_wait = import_module("redis.backoff").NoBackoff()
    dead = import_module("redis").ConnectionError
    return import_module(module).Retry(no_wait, retries=1, supported_errors=(dead,))


def _check_limits(client: Any, deadline: float) -> None:
    """Raise ``ConfigError`` for a client that may wait for longer than ``deadline``."""
    sentinels = getattr(getattr(client.connection_pool, "sentinel_manager", None), "sentinels", ())
    for each in (client, *sentinels):
        what = "this redis.Redis" if each is client else "a sentinel's client"
        given = each.connection_pool.connection_kwargs
        for option in ("socket_timeout", "socket_connect_timeout"):
            value = given.get(option)
            if value is None or value > deadline:
                raise ConfigError(
                    f"{what} has {option}={value!r}, more than the deadline of {deadline:g} s: "
                    f"give it a {option} of at most that, or a larger deadline",
                    option="client",
                )
        retry = each.get_retry()
        if retry is not None and retry.get_retries() > 1:
            raise ConfigError(
                f"{what} tries {retry.get_retries()} times more after a failure, beyond the "
                "deadline: give it retry=Retry(NoBackoff(), 1), or give the URL",
                option="client",
            )


def _wrong_client(client: object, wanted: str, other: str) -> ConfigError:
    return ConfigError(
        f"client must be a URL or a {wanted}, got a {type(client).__module__}."
        f"{type(client).__name__}: for that there is {other}",
        option="client",
    )


def reply_text(reply: Any) -> str | None:
    """A host's name as Redis gives it: bytes, or str from a client that decodes."""
    if reply is None or isinstance(reply, str):
        return reply
    try:
        return bytes(reply).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # not written by us, and the name of no host
        return bytes(reply).decode("latin-1")
