"""One redis-py client over several servers: each key belongs to one of them, or to some.

::

    servers = {name: redis.Redis(host=name) for name in ("cache1", "cache2", "cache3")}
    client = ShardedRedis(servers)
    client.set("user:42", "ann")  # goes to the owner of the key
    client.mget(["user:42", "user:43"])  # is split, and joined in order

For caches and sessions on plain servers. Redis Cluster moves data by itself and needs its own
client. Needs redis-py 6 (the extra ``redis``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import redis
from redis import cluster
from redis.commands import CoreCommands

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import create
from hashring.validators import COUNT, SECONDS, choice

_LOST = (redis.ConnectionError, redis.TimeoutError)
_SUMMED = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH"})
_TWO_KEYS = frozenset({"RENAME", "RENAMENX", "COPY", "SMOVE", "RPOPLPUSH", "LMOVE"})
_ALL_KEYS = frozenset(
    {"SINTER", "SUNION", "SDIFF", "SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "PFCOUNT", "PFMERGE"}
)
_COUNTED_KEYS = {"EVAL": 2, "EVALSHA": 2, "ZUNION": 1, "ZINTER": 1, "ZDIFF": 1, "SINTERCARD": 1}
"""Commands with the number of their keys, and where that stands."""
_EVERYWHERE: Mapping[str, Callable[[list[Any]], Any]] = {
    "PING": all,
    "DBSIZE": sum,
    "FLUSHDB": all,
    "FLUSHALL": all,
    "SCRIPT LOAD": lambda found: found[0],
    "SCRIPT FLUSH": all,
}
_KEYLESS = frozenset(
    {
        *("KEYS", "SCAN", "RANDOMKEY", "INFO", "CONFIG", "CLIENT", "MULTI", "EXEC", "WATCH"),
        *("SUBSCRIBE", "PSUBSCRIBE", "PUBLISH", "XREAD", "XREADGROUP", "BLPOP", "BRPOP", "BLMOVE"),
        *("MSETNX", "SWAPDB", "SELECT", "WAIT", "SAVE", "BGSAVE", "SHUTDOWN", "SCRIPT"),
    }
)
_READS: frozenset[str] = frozenset(cluster.READ_COMMANDS)  # type: ignore[attr-defined]  # public there


class ShardedRedis(CoreCommands):
    """The commands of redis-py, each on the server that owns its key.

    servers: a client for each server, by name. The name decides where keys go, so that a server
        keeps its keys under another address.
    copies: how many servers have each key: its owner, and those after it in the ring. Writes go to
        all of them that answer, reads to the first that does.
    on_failure: what happens when a server does not answer and no copy does. ``"raise"`` raises
        redis-py's error. ``"next"`` goes on along the ring, as a cache may: what is read there is
        missing, and what is written there is found there until the server is back.
    pause: seconds for which a server that did not answer is not asked again.
    on_return: what happens to a server that answers again. ``"keep"`` uses what it has, which may
        be older than what was written elsewhere meanwhile. ``"flush"`` empties its database first,
        so that nothing stale is read; only for caches.
    placement, options: where keys go, as in ``hashring.placement.create``.

    A key with a hash tag (``{user:42}.name``) goes where the tag goes, as in Redis Cluster.
    MGET, MSET, DEL, UNLINK, EXISTS and TOUCH are split by server; they are not atomic then. Other
    commands with several keys need one tag in all of them. PING, DBSIZE, FLUSHDB, FLUSHALL and
    SCRIPT LOAD ask every server. What has no key (KEYS, INFO, PUBLISH) is refused: use
    ``server_of(key)`` or ``servers``; so are pipelines. Any number of threads may use it. Raises
    ``ConfigError`` for bad options and for what is refused. Cost: about 2 us beside the client.
    """

    _is_async_client: Literal[False] = False  # what redis-py's types tell its clients by
    _event_dispatcher: Any = None

    def __init__(
        self,
        servers: Mapping[str, redis.Redis],
        *,
        copies: int = 1,
        on_failure: Literal["raise", "next"] = "raise",
        on_return: Literal["keep", "flush"] = "keep",
        pause: float = 1.0,
        placement: str = "ring",
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        if not isinstance(servers, Mapping) or not servers:
            raise ConfigError("servers must be clients by name, at least one", option="servers")
        self.servers = dict(servers)
        self._copies = COUNT(copies, "copies")
        if copies > len(servers):
            raise ConfigError(
                f"copies is {copies}, and there are {len(servers)} servers", option="copies"
            )
        self._goes_on = choice("raise", "next")(on_failure, "on_failure") == "next"
        self._flushes = choice("keep", "flush")(on_return, "on_return") == "flush"
        self._pause = SECONDS(pause, "pause")
        self._clock = clock
        self._table = create(placement, [Host(name) for name in servers], **options)
        self._lost: dict[str, float] = {}  # when a lost server is asked again
        self.stats = {"lost": 0, "returned": 0}

    def server_of(self, key: str | bytes) -> redis.Redis:
        """The client of the server that owns ``key``."""
        return self.servers[next(iter(self._table.walk(_placed_part(key))))]

    def names_of(self, key: str | bytes) -> list[str]:
        """The names of the servers that have ``key``, its owner first."""
        return list(islice(self._table.walk(_placed_part(key)), self._copies))

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command; the methods of redis-py end here."""
        name, *rest = args
        name = str(name).upper()
        if name in _EVERYWHERE:
            clients: list[Any] = list(self.servers.values())
            found = [each.execute_command(*args, **options) for each in clients]
            return _EVERYWHERE[name](found)
        if name == "MGET":
            return self._get_many(rest, options)
        if name.partition(" ")[0] in _KEYLESS or not rest:
            raise ConfigError(
                f"{name} has no key by which its server could be chosen: use client.server_of(key) "
                "or client.servers[name]"
            )
        if name in _SUMMED:
            return sum(self._split(name, [(key,) for key in rest], options))
        if name == "MSET":
            pairs = list(zip(rest[::2], rest[1::2], strict=True))
            return all(self._split(name, pairs, options))
        keys = _keys_of(name, rest)
        self._check_together(name, keys)
        return self._run(keys[0], args, options, reads=name in _READS)

    def scan_iter(self, *args: Any, **options: Any) -> Iterator[Any]:
        """The keys of all servers; with copies a key comes more than once."""
        for each in self.servers.values():
            yield from each.scan_iter(*args, **options)

    def get_encoder(self) -> Any:
        """The encoder of the first server, for scripts."""
        return next(iter(self.servers.values())).get_encoder()

    def pipeline(self, *_: Any, **__: Any) -> Any:
        """Refused: raises ``ConfigError``."""
        raise ConfigError("a pipeline is of one server: use client.server_of(key).pipeline()")

    def close(self) -> None:
        """Close all clients."""
        for each in self.servers.values():
            each.close()

    # -- one key ----------------------------------------------------------------------------------

    def _run(self, key: Any, args: Sequence[Any], options: Any, *, reads: bool) -> Any:
        """Run a command where ``key`` is: a read on the first copy, a write on all."""
        walk = list(self._table.walk(_placed_part(key)))
        wanted, rest = walk[: self._copies], walk[self._copies :]
        found: list[Any] = []
        error: Exception | None = None
        for name in [*wanted, *(rest if self._goes_on else ())]:
            try:
                found.append(self._ask(name, args, options))
            except _LOST as lost:
                error = error or lost
                continue
            if reads or len(found) == self._copies:
                break
        if not found:
            assert error is not None
            raise error
        return found[0]

    def _ask(self, name: str, args: Sequence[Any], options: Any) -> Any:
        server: Any = self.servers[name]
        until = self._lost.get(name)
        if until is not None:
            now = self._clock()
            if now < until:
                raise redis.ConnectionError(f"{name} did not answer {self._pause:g} s ago or less")
            self._lost[name] = now + self._pause  # others wait while this call tries
        try:
            if until is not None and self._flushes:
                server.flushdb()
            answer = server.execute_command(*args, **options)
        except _LOST:
            self.stats["lost"] += until is None
            self._lost[name] = self._clock() + self._pause
            raise
        if until is not None:
            self._lost.pop(name, None)
            self.stats["returned"] += 1
        return answer

    # -- several keys -----------------------------------------------------------------------------

    def _groups(self, keys: Sequence[Any]) -> list[list[int]]:
        """The places of the keys that take one way, also when a server is lost."""
        ways: dict[tuple[str, ...], list[int]] = {}
        for place, key in enumerate(keys):
            walk = self._table.walk(_placed_part(key))
            way = tuple(walk if self._goes_on else islice(walk, self._copies))
            ways.setdefault(way, []).append(place)
        return list(ways.values())

    def _split(self, name: str, parts: list[tuple[Any, ...]], options: Any) -> list[Any]:
        """The results of ``name`` on each server, for what belongs there; parts begin by keys."""
        options.pop("keys", None)
        reads, results = name in _READS, []
        for places in self._groups([part[0] for part in parts]):
            share = [each for place in places for each in parts[place]]
            results.append(self._run(share[0], (name, *share), options, reads=reads))
        return results

    def _get_many(self, keys: list[Any], options: Any) -> list[Any]:
        options.pop("keys", None)
        values: list[Any] = [None] * len(keys)
        for places in self._groups(keys):
            share = [keys[place] for place in places]
            found = self._run(share[0], ("MGET", *share), options, reads=True)
            for place, value in zip(places, found, strict=True):
                values[place] = value
        return values

    def _check_together(self, name: str, keys: Sequence[Any]) -> None:
        owner = self.names_of(keys[0])
        for key in keys[1:]:
            if self.names_of(key) != owner:
                raise ConfigError(
                    f"{name} needs its keys on one server, and {keys[0]!r} and {key!r} are not: "
                    "give them one hash tag, such as {user:42}.a and {user:42}.b"
                )


def _keys_of(name: str, rest: Sequence[Any]) -> Sequence[Any]:
    """The keys among the arguments of a command.

    >>> _keys_of("GET", ["a"]), _keys_of("RENAME", ["a", "b"]), _keys_of("EVAL", ["x", 1, "a", 5])
    (['a'], ['a', 'b'], ['a'])
    """
    if name in _TWO_KEYS:
        return rest[:2]
    if name in _ALL_KEYS:
        return rest
    if name in _COUNTED_KEYS:
        at = _COUNTED_KEYS[name]
        keys = rest[at : at + int(rest[at - 1])]
        if not keys:
            raise ConfigError(f"{name} has no key by which its server could be chosen")
        return keys
    return rest[:1]


def _placed_part(key: Any) -> str | bytes:
    """The hash tag of a key, or all of it. Source: Redis Cluster's specification.

    >>> _placed_part("{user:42}.name"), _placed_part(b"a{}b"), _placed_part("{x")
    ('user:42', b'a{}b', '{x')
    """
    if isinstance(key, memoryview):
        key = bytes(key)
    opens, closes = ("{", "}") if isinstance(key, str) else (b"{", b"}")
    if isinstance(key, (str, bytes)):
        start = key.find(opens)  # type: ignore[arg-type]  # of one kind with the key
        if start >= 0:
            end = key.find(closes, start + 1)  # type: ignore[arg-type]  # as above
            if end > start + 1:
                return key[start + 1 : end]
        return key
    return repr(key)  # a number, as redis-py writes it
