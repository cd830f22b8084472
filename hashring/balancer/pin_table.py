"""Pins for **one** router process: the host of each known client, in memory.

Two router processes that each keep their own table disagree after the pool has grown: from 4 to 5
hosts, one client in ten goes to and fro between two hosts. Use ``RedisPins`` or tokens there.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from hashring.keys import Key, key_bytes
from hashring.locks import GUARD
from hashring.validators import COUNT, SECONDS

SIZE = 1_000_000
"""Pins at most by default: a table filled with IDs of 32 letters takes 0.25 GB."""

IDLE = 3600.0
"""Seconds without a request before a pin may go: twice the 30 minutes after which an application
server ends an idle session (the default of Tomcat and WildFly), so that no active one loses it."""

_STEP = 64  # pins by which a table grows between two looks for idle ones ...
_GROWTH = 1 / 16  # ... and this part of it: so a table that grows pays one look for 64 claims
_is_held, _deferred = GUARD.is_held, GUARD.deferred

T = TypeVar("T")


def _copied(view: Iterable[T]) -> list[T]:
    """The items of a dict whose order ``get`` may change at any time."""
    while True:
        try:
            return list(view)
        except RuntimeError:  # it has, while a finalizer ran in the middle
            continue


class PinTable:
    """A client's host, for one router process: at most ``size`` pins, the least recently used go.

    A pin without a request in ``idle`` seconds is forgotten, and one that is older than
    ``lifetime`` seconds in any case (None: no limit). Any number of threads may use it; ``get``
    takes no lock, and the others one for some 0.2 us. A call by a signal handler or a finalizer
    inside an operation of its own thread takes effect after that operation. ``clock`` reads seconds
    that never run backwards. Raises ``ConfigError`` for a bad size or idle time,
    ``InvalidKeyError`` for what is not a client ID.

    >>> pins = PinTable(size=2)
    >>> pins.claim("x", "web1"), pins.claim("x", "web2"), pins.get(b"x")
    ('web1', 'web1', 'web1')
    >>> pins.replace("x", "web1", "web3"), pins.replace("x", "web1", "web2")
    ('web3', 'web3')
    """

    __slots__ = (
        "__weakref__",
        "_born",
        "_clock",
        "_counts",
        "_hits",
        "_idle",
        "_is_torn",
        "_lifetime",
        "_lock",
        "_pins",
        "_room",
        "_sessions",
        "_size",
        "_used",
    )

    def __init__(
        self,
        size: int = SIZE,
        *,
        idle: float = IDLE,
        lifetime: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size = COUNT(size, "size")
        self._idle = SECONDS(idle, "idle")
        self._lifetime = None if lifetime is None else SECONDS(lifetime, "lifetime")
        self._born: dict[bytes, float] = {}  # when each pin was made; only with a lifetime
        self._clock = clock
        self._lock = GUARD.lock
        # Two dicts, not one of pairs: the garbage collector visits each pair, and a million of
        # them add some 80 ms to its pause.
        self._pins: OrderedDict[bytes, str] = OrderedDict()  # the least recently used first
        self._used: dict[bytes, float] = {}
        self._sessions: dict[str, int] | None = None  # pins of each host; None until first asked
        self._room = min(size, _STEP)  # one pin more than this is a reason to look for idle ones
        self._hits = 0
        self._counts = {"replaced": 0, "forgotten": 0, "evicted": 0, "idle": 0}
        self._is_torn = False  # an exception struck in the middle of an operation

    def get(self, client_id: Key, /) -> str | None:
        """The host that has the client; None when it has no pin. Cost: some 0.25 us, no lock."""
        key = client_id if client_id.__class__ is bytes else key_bytes(client_id)
        pins = self._pins
        host = pins.get(key)
        if host is None:
            return None
        now, used = self._clock(), self._used
        try:
            # Up to move_to_end() there is no call and no jump back, so the GIL stays with this
            # thread: what is read is what is replaced. A lock would cost half as much again.
            if now - used[key] >= self._idle:
                return None
            if self._lifetime is not None and now - self._born[key] >= self._lifetime:
                return None
            used[key] = now
            self._hits += 1
            pins.move_to_end(key)
        except KeyError:  # it went meanwhile, but it was there when this call began
            pass
        return host

    def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that has it now. Cost: some 0.4 us."""
        key = client_id if client_id.__class__ is bytes else key_bytes(client_id)
        if _is_held():  # called by a signal handler or a finalizer
            GUARD.defer(self.claim, key, host)
            return self._pins.get(key, host)
        now = self._clock()
        try:
            with self._lock:
                if self._is_torn:
                    self._repair(now)
                pins = self._pins
                held = pins.get(key)
                if held is not None:
                    return self._claim_again(key, held, host, now)
                # _set() without calls, which would cost a quarter of it all
                pins[key] = host
                self._used[key] = now
                if self._sessions is not None:
                    self._move_session(self._sessions, None, host)
                if self._lifetime is not None:
                    self._born[key] = now
                if len(pins) > self._room:
                    self._make_room(now)
                return host
        except BaseException:
            self._is_torn = True
            raise
        finally:
            if _deferred:
                GUARD.run_deferred()

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """``new`` instead of ``old``, None to forget; the host that has the client now."""
        key = key_bytes(client_id)
        if GUARD.is_held():  # called by a signal handler or a finalizer
            held = self._pins.get(key)
            if held is not None and held != old:
                return held
            GUARD.defer(self.replace, key, old, new)
            return new
        now = self._clock()
        try:
            with self._lock:
                if self._is_torn:
                    self._repair(now)
                self._sweep(now)
                held = self._pins.get(key)
                if held is not None and held != old:
                    self._touch(key, now)
                    return held
                if new is None:
                    if held is not None:
                        self._drop(key, "forgotten")
                    return None
                self._counts["replaced"] += held is not None
                self._set(key, new, now)
                if len(self._pins) > self._room:
                    self._make_room(now)
                return new
        except BaseException:
            self._is_torn = True
            raise
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()

    # -- sessions per host ------------------------------------------------------------------------

    @property
    def sessions(self) -> Mapping[str, int]:
        """The number of pins of each host, live. Reading it takes no lock.

        A pin that is idle for too long counts until the next ``claim`` or ``count`` removes it.
        Cost: O(pins) for the first read, then O(1); from then on some 0.05 us for each change.
        """
        sessions = self._sessions
        return MappingProxyType(self._count_all() if sessions is None else sessions)

    def count(self, host: str) -> int:
        """The number of clients that are pinned to ``host``. Cost: O(1) after the first call.

        >>> pins = PinTable()
        >>> pins.claim("x", "web1"), pins.claim("y", "web1"), pins.count("web1")
        ('web1', 'web1', 2)
        """
        self._remove_idle()
        return self.sessions.get(host, 0)

    def items(self, host: str) -> Iterator[tuple[bytes, float]]:
        """The clients that are pinned to ``host`` with their idle seconds, longest idle first.

        They come from a copy that is made at the first step. Cost: O(pins).

        >>> pins = PinTable(clock=lambda: 0.0)
        >>> pins.claim("x", "web1"), pins.claim("y", "web2"), list(pins.items("web1"))
        ('web1', 'web2', [(b'x', 0.0)])
        """
        now = self._remove_idle()
        found = [key for key, held in self._all_pins() if held == host]
        for key in found:
            yield key, max(0.0, now - self._used.get(key, now))

    def _count_all(self) -> dict[str, int]:
        try:
            with self._lock:
                sessions: dict[str, int] = {}
                for host in _copied(self._pins.values()):
                    sessions[host] = sessions.get(host, 0) + 1
                self._sessions = sessions
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
        return sessions

    def _remove_idle(self) -> float:
        now = self._clock()
        if GUARD.is_held():  # called by a signal handler or a finalizer
            return now
        try:
            with self._lock:
                if self._is_torn:
                    self._repair(now)
                self._sweep(now)
        except BaseException:
            self._is_torn = True
            raise
        finally:
            if GUARD.deferred:
                GUARD.run_deferred()
        return now

    def _all_pins(self) -> list[tuple[bytes, str]]:
        """A copy, because ``get`` changes the order at any time."""
        return _copied(self._pins.items())

    def _oldest(self) -> bytes:
        """The least recently used pin."""
        while True:
            try:
                return next(iter(self._pins))
            except RuntimeError:  # between the two calls a hit has changed the order
                continue

    # -- under the lock ---------------------------------------------------------------------------

    def _restore(self, entries: list[tuple[bytes, str, float, float]], now: float) -> None:
        for key, host, idle, age in entries:
            old = self._lifetime is not None and age >= self._lifetime
            if key not in self._pins and idle < self._idle and not old:
                self._set(key, host, now - idle)
                if self._lifetime is not None:
                    self._born[key] = now - age
        self._room = min(self._size, len(self._pins) + _STEP)
        while len(self._pins) > self._size:
            self._drop(self._oldest(), "evicted")

    def _claim_again(self, key: bytes, held: str, host: str, now: float) -> str:
        old = self._lifetime is not None and now - self._born[key] >= self._lifetime
        if now - self._used[key] < self._idle and not old:
            self._touch(key, now)
            return held
        self._born.pop(key, None)
        self._counts["idle"] += 1
        self._set(key, host, now)
        return host

    def _set(self, key: bytes, host: str, now: float) -> None:
        if self._sessions is not None:
            self._move_session(self._sessions, self._pins.get(key), host)
        self._pins[key] = host
        self._touch(key, now)
        if self._lifetime is not None:
            self._born.setdefault(key, now)

    def _touch(self, key: bytes, now: float) -> None:
        self._pins.move_to_end(key)
        self._used[key] = now

    def _drop(self, key: bytes, why: str) -> None:
        if self._sessions is not None:
            self._move_session(self._sessions, self._pins[key], None)
        del self._pins[key], self._used[key]
        self._born.pop(key, None)
        self._counts[why] += 1

    @staticmethod
    def _move_session(sessions: dict[str, int], old: str | None, new: str | None) -> None:
        if old is not None:
            sessions[old] -= 1
            if not sessions[old]:
                del sessions[old]
        if new is not None:
            sessions[new] = sessions.get(new, 0) + 1

    def _make_room(self, now: float) -> None:
        self._sweep(now)
        while len(self._pins) > self._size:
            self._drop(self._oldest(), "evicted")
        grown = len(self._pins) + _STEP + int(len(self._pins) * _GROWTH)
        self._room = min(self._size, grown)

    def _sweep(self, now: float) -> None:
        """Remove the idle pins. Cost: O(1) for each of them."""
        latest = now - self._idle
        while self._pins:
            key = self._oldest()
            if self._used[key] > latest:
                break
            self._drop(key, "idle")

    def _repair(self, now: float) -> None:
        """Make the rest follow ``_pins`` after an operation that was interrupted. Cost: O(pins)."""
        used = self._used
        keys = _copied(self._pins)
        self._used = {key: used.get(key, now) for key in keys}
        born = self._born
        if self._lifetime is not None:
            self._born = {key: born.get(key, now) for key in keys}
        self._sessions = None
        self._room = min(self._size, len(self._pins) + _STEP)
        self._is_torn = False

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the start, and the number of ``pins`` now.

        ``hits`` of ``get``; pins that were ``new``, ``replaced``, ``forgotten`` by hand,
        ``evicted`` because the table was full, and ``idle`` for too long.

        >>> dict(PinTable().stats)
        {'hits': 0, 'new': 0, 'replaced': 0, 'forgotten': 0, 'evicted': 0, 'idle': 0, 'pins': 0}
        """
        self._remove_idle()
        counts, pins, hits = GUARD.run(lambda: (dict(self._counts), len(self._pins), self._hits))
        # each pin that was ever new is still there, or went in one of three ways
        new = pins + counts["forgotten"] + counts["evicted"] + counts["idle"]
        return MappingProxyType({"hits": hits, "new": new, **counts, "pins": pins})

    @property
    def limits(self) -> tuple[int, float, float | None]:
        """Size, idle time and lifetime."""
        return self._size, self._idle, self._lifetime

    def dump(self) -> list[tuple[bytes, str, float, float]]:
        """Each pin with its idle seconds and its age, least recently used first. Cost: O(pins).

        Without a ``lifetime`` no age is known, and it is that of the last request.
        """
        now = self._remove_idle()
        return GUARD.run(
            lambda: [
                (key, host, now - self._used[key], now - self._born.get(key, self._used[key]))
                for key, host in self._all_pins()
            ]
        )

    def restore(self, entries: Iterable[tuple[bytes, str, float, float]]) -> None:
        """Add what ``dump`` has returned; pins that are there stay. Cost: O(pins)."""
        GUARD.run(self._restore, list(entries), self._clock())

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has the pins with their idle seconds, and counts of its own."""
        now = self._remove_idle()
        pins, born = GUARD.run(
            lambda: (
                [(key, host, now - self._used[key]) for key, host in self._all_pins()],
                {key: now - then for key, then in self._born.items()},
            )
        )
        return _rebuild, (self._size, self._idle, self._clock, pins, self._lifetime, born)

    def __len__(self) -> int:
        return len(self._pins)

    def __repr__(self) -> str:
        return f"<PinTable of {len(self)} pins, at most {self._size}>"


def _rebuild(
    size: int,
    idle: float,
    clock: Callable[[], float],
    pins: list[tuple[bytes, str, float]],
    lifetime: float | None = None,
    born: Mapping[bytes, float] = MappingProxyType({}),
) -> PinTable:
    table = PinTable(size, idle=idle, lifetime=lifetime, clock=clock)
    now = clock()
    for key, host, age in pins:
        table._set(key, host, now - age)
    table._born = {key: now - age for key, age in born.items()}
    table._room = min(size, len(pins) + _STEP)
    return table
