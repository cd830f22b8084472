"""Pins for **one** router process: which host does this client have?  Several share a store.

Two router processes that each keep a table of their own disagree after the pool has grown: from 4
to 5 hosts, one client in ten goes to and fro between two hosts. ``RedisPins`` or tokens are for
that.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from types import MappingProxyType

from hashring.forks import watch
from hashring.keys import Key, key_bytes
from hashring.validators import COUNT, SECONDS

__all__ = ["IDLE", "SIZE", "PinTable"]

SIZE = 1_000_000
"""Pins at most by default: a table filled with IDs of 32 letters takes 0.25 GB."""

IDLE = 3600.0
"""Seconds without a request before a pin may go: twice the 30 minutes after which an application
server ends an idle session (the default of Tomcat and WildFly), so that no living one loses it."""

_STEP = 64  # pins by which a table grows between two looks for idle ones ...
_GROWTH = 1 / 16  # ... and this part of it: so a table that grows pays one look for 64 claims


class PinTable:
    """A client's host, for one router process: at most ``size`` pins, the least recently used go.

    A pin that was not asked for in ``idle`` seconds is forgotten. Any number of threads may use it;
    its one lock is held for some 0.2 us. ``clock`` reads seconds that never run backwards. Raises
    ``ConfigError`` for a bad size or idle time, ``InvalidKeyError`` for a value that is not a
    client ID.

    >>> pins = PinTable(size=2)
    >>> pins.claim("x", "web1"), pins.claim("x", "web2"), pins.get(b"x")
    ('web1', 'web1', 'web1')
    >>> pins.replace("x", "web1", "web3"), pins.replace("x", "web1", "web2")
    ('web3', 'web3')
    """

    __slots__ = (
        "__weakref__",
        "_acquire",
        "_clock",
        "_counts",
        "_hits",
        "_idle",
        "_lock",
        "_pins",
        "_release",
        "_room",
        "_size",
        "_used",
    )

    def __init__(
        self, size: int = SIZE, *, idle: float = IDLE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = COUNT(size, "size")
        self._idle = SECONDS(idle, "idle")
        self._clock = clock
        self.after_fork()
        # Two dicts, not one of pairs: the garbage collector visits each pair, and a million of
        # them add some 80 ms to its pause.
        self._pins: OrderedDict[bytes, str] = OrderedDict()  # the least recently used first
        self._used: dict[bytes, float] = {}
        self._room = min(size, _STEP)  # one pin more than this is a reason to look for idle ones
        self._hits = 0
        self._counts = {"replaced": 0, "forgotten": 0, "evicted": 0, "idle": 0}
        watch(self)

    def after_fork(self) -> None:
        """In a child: a lock that no lost thread holds."""
        self._lock = Lock()
        self._acquire, self._release = self._lock.acquire, self._lock.release

    def get(self, client_id: Key, /) -> str | None:
        """The host that holds the client; None when it has no pin. Cost: some 0.35 us."""
        key = client_id if client_id.__class__ is bytes else key_bytes(client_id)
        host = self._pins.get(key)  # atomic by itself: who has no pin pays for no lock
        if host is None:
            return None
        now = self._clock()
        self._acquire()  # "with" costs 80 ns more on Python 3.11, a fifth of it all
        try:
            if now - self._used[key] >= self._idle:
                return None
            self._used[key] = now
            self._hits += 1
            self._pins.move_to_end(key)
        except KeyError:  # it went meanwhile, but it was there when this call began
            pass
        finally:
            self._release()
        return host

    def claim(self, client_id: Key, host: str, /) -> str:
        """Pin a client that has no pin; the host that holds it now. Cost: some 0.4 us."""
        key = client_id if client_id.__class__ is bytes else key_bytes(client_id)
        now = self._clock()
        self._acquire()
        try:
            pins, used = self._pins, self._used
            if key in used:
                return self._claimed(key, host, now)
            pins[key] = host
            used[key] = now
            if len(used) > self._room:
                self._make_room(now)
            return host
        finally:
            self._release()

    def replace(self, client_id: Key, old: str, new: str | None, /) -> str | None:
        """Compare and set: ``new`` instead of ``old``; None forgets. The host of the client now."""
        key = key_bytes(client_id)
        now = self._clock()
        with self._lock:
            self._sweep(now)
            held = self._pins.get(key)
            if held is not None and held != old:
                return self._touched(key, held, now)
            if new is None:
                if held is not None:
                    self._drop(key, "forgotten")
                return None
            self._counts["replaced"] += held is not None
            self._touched(key, new, now)
            if len(self._pins) > self._room:
                self._make_room(now)
            return new

    def _claimed(self, key: bytes, host: str, now: float) -> str:
        if now - self._used[key] < self._idle:
            host = self._pins[key]
        else:
            self._counts["idle"] += 1
        return self._touched(key, host, now)

    def _touched(self, key: bytes, host: str, now: float) -> str:
        self._pins[key] = host
        self._pins.move_to_end(key)
        self._used[key] = now
        return host

    def _drop(self, key: bytes, why: str) -> None:
        del self._pins[key], self._used[key]
        self._counts[why] += 1

    def _make_room(self, now: float) -> None:
        self._sweep(now)
        while len(self._pins) > self._size:
            self._drop(next(iter(self._pins)), "evicted")
        grown = len(self._pins) + _STEP + int(len(self._pins) * _GROWTH)
        self._room = min(self._size, grown)

    def _sweep(self, now: float) -> None:
        """Clear out the idle pins. Cost: O(1) for each of them."""
        latest = now - self._idle
        while self._pins:
            key = next(iter(self._pins))
            if self._used[key] > latest:
                break
            self._drop(key, "idle")

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the start, and the ``pins`` there are.

        ``hits`` of ``get``; pins that were ``new``, ``replaced``, ``forgotten`` by hand,
        ``evicted`` because the table was full, and ``idle`` for too long.

        >>> dict(PinTable().stats)
        {'hits': 0, 'new': 0, 'replaced': 0, 'forgotten': 0, 'evicted': 0, 'idle': 0, 'pins': 0}
        """
        now = self._clock()
        with self._lock:
            self._sweep(now)
            counts, pins, hits = dict(self._counts), len(self._pins), self._hits
        # each pin that was ever new is still there, or went in one of three ways
        new = pins + counts["forgotten"] + counts["evicted"] + counts["idle"]
        return MappingProxyType({"hits": hits, "new": new, **counts, "pins": pins})

    def __len__(self) -> int:
        return len(self._pins)

    def __repr__(self) -> str:
        return f"<PinTable of {len(self)} pins, at most {self._size}>"
