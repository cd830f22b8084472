"""How busy is each host?  Load cells, an order of the usable ones by load, and peak EWMA.

Every lease counts in one cell, sticky ones too, so that a strategy sees the whole load of this
process. All changes happen under the ledger's one short lock.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count

from hashring.forks import watch
from hashring.hosts import Host, total_weight

__all__ = ["DECAY", "Ledger", "Load", "LoadCell", "LoadView", "Outcome", "decayed", "peak_ewma"]

Outcome = Callable[[Host, bool, str | None, float], object]
"""Who hears how a lease ended: host, whether it failed, why, and after how many seconds."""

_log = logging.getLogger("hashring")

DECAY = 10.0
"""Seconds in which a latency loses all but 1/e of its weight: Finagle's default for peak EWMA."""

FAILED = 1.0
"""Seconds that a failure counts for at least: more than an answer takes that somebody waits for.
With ``DECAY``, ``PeakEwma`` tries a host that fails again after some 50 s beside hosts of 5 ms."""

_OUTDATED = 4  # entries a host in the order before the outdated ones are cleared out ...
_SLACK = 64  # ... and some more, so that a small pool does not clear out all the time


@dataclass(frozen=True, slots=True)
class Load:
    """What one host does and did in this process: counts of leases, and ``latency`` in seconds.

    >>> Load(in_flight=2).in_flight
    2
    """

    in_flight: int = 0
    ok: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    latency: float = 0.0


def decayed(latency: float, age: float, decay: float = DECAY) -> float:
    """A latency measured ``age`` seconds ago, on its way to 0: an unused host gets tried again.

    >>> decayed(1.0, 0.0), round(decayed(1.0, 10.0), 3)
    (1.0, 0.368)
    """
    return latency * math.exp(-age / decay) if age > 0 else latency


def peak_ewma(latency: float, age: float, seconds: float, decay: float = DECAY) -> float:
    """The latency after an answer that took ``seconds``, ``age`` seconds after the last one.

    A slower answer counts at once, a faster one by and by. Source: Finagle's ``PeakEwma``.

    >>> peak_ewma(0.1, 1.0, 2.0), round(peak_ewma(1.0, 10.0, 0.0), 3)
    (2.0, 0.368)
    """
    if seconds >= latency:
        return seconds
    weight = math.exp(-age / decay) if age > 0 else 1.0
    return latency * weight + seconds * (1 - weight)


class LoadCell:
    """The load of one host for as long as it is registered under its address.

    A lease holds its cell, never a name: a host that is registered anew has a new cell, and a
    late release touches the old one.
    """

    __slots__ = (
        "current",
        "failed",
        "failed_in_a_row",
        "host",
        "in_flight",
        "latency",
        "ok",
        "stamp",
        "turn",
        "usable",
    )

    def __init__(self, host: Host) -> None:
        self.host = host
        self.in_flight = 0
        self.ok = 0
        self.failed = 0
        self.failed_in_a_row = 0
        self.latency = 0.0  # seconds, as it was at ``stamp``
        self.stamp = 0.0
        self.turn = -1  # which entry of the order is this cell's present one
        self.usable = False
        self.current = True  # False once the host is gone or another machine has its name

    def idle(self) -> LoadCell:
        """A cell that knows of the host what this one does, without a request in flight."""
        cell = LoadCell(self.host)
        cell.ok, cell.failed, cell.failed_in_a_row = self.ok, self.failed, self.failed_in_a_row
        cell.latency, cell.stamp = self.latency, self.stamp
        return cell


_Entry = tuple[float, int, LoadCell]
"""(in flight per weight, turn, cell); turns are unique, so cells are never compared."""


class Ledger:
    """All load of one balancer: who is usable, how much is in flight, who has the least.

    The order is a heap of (in-flight per weight, turn, cell) in which a cell's newest entry alone
    counts; outdated ones are dropped when they come up. A choice and a release cost O(log n), and
    a balancer that never asks for the least loaded host pays nothing for the order.

    >>> a, b = LoadCell(Host("a")), LoadCell(Host("b"))
    >>> ledger = Ledger(clock=lambda: 0.0)
    >>> ledger.publish([a, b])
    >>> with ledger.lock:
    ...     ledger.enter(a)
    >>> ledger.least_loaded().name
    'b'
    """

    def __init__(
        self, clock: Callable[[], float], randrange: Callable[[int], int] = random.randrange
    ) -> None:
        self._randrange = randrange
        self.lock = threading.RLock()  # a strategy asks for the least loaded inside a lease
        self.clock = clock
        self.in_flight = 0  # of the usable hosts
        self.weight = 0.0
        self._cells: tuple[LoadCell, ...] = ()
        self._heap: list[_Entry] | None = None  # None until somebody asks
        self._shown: LoadCell | None = None  # the last answer of least_loaded
        self._turns = count()
        self._watchers: dict[object, Outcome] = {}
        watch(self)

    def after_fork(self) -> None:
        """In a child: a lock that no lost thread holds, and an order with a start of its own."""
        self.lock = threading.RLock()
        for cell in self._cells:
            cell.turn = -1
        self._heap = self._shown = None

    def publish(self, usable: Iterable[LoadCell]) -> None:
        """Make ``usable`` the hosts that may be chosen. Cost: O(n)."""
        with self.lock:
            for cell in self._cells:
                cell.usable = False
            self._cells = tuple(usable)
            for cell in self._cells:
                cell.usable = True
            self.in_flight = sum(cell.in_flight for cell in self._cells)
            self.weight = total_weight(cell.host for cell in self._cells)
            if self._shown is not None:
                self._shown.turn = next(self._turns)  # it had its turn
            self._heap = self._shown = None

    def enter(self, cell: LoadCell) -> None:
        """One request more; the caller holds the lock. Cost: O(log n)."""
        cell.in_flight += 1
        if cell.usable:
            self.in_flight += 1
            if self._heap is not None:
                self._reorder(cell, self._heap)

    def withdraw(self, cell: LoadCell) -> None:
        """One request less, for it never went there; the caller holds the lock. O(log n)."""
        cell.in_flight -= 1
        if cell.usable:
            self.in_flight -= 1
            if self._heap is not None:
                self._reorder(cell, self._heap)

    def leave(
        self, cell: LoadCell, failed: bool | None, began: float, why: str | None = None
    ) -> None:
        """One request less; ``failed`` None says nothing about the host. Cost: O(log n)."""
        now = self.clock()
        with self.lock:
            self.withdraw(cell)
            if failed is None:
                return
            seconds = now - began
            if failed:
                cell.failed += 1
                cell.failed_in_a_row += 1
                # who fails fast must not look quick, nor quicker and quicker while nobody comes
                seconds = max(seconds, cell.latency, FAILED)
            else:
                cell.ok += 1
                cell.failed_in_a_row = 0
            cell.latency = peak_ewma(cell.latency, now - cell.stamp, seconds)
            cell.stamp = now
        if self._watchers and cell.current:
            self._tell(cell.host, failed, why, now - began)

    def on_outcome(self, callback: Outcome) -> Callable[[], None]:
        """Call ``callback`` at the end of each lease that says something; the answer ends that.

        It is called outside the lock, by the thread that ends the lease; what it raises is logged.
        A lease on a host that is gone since, or on the machine that had its name before, is not
        told. Cost where nobody listens: one truth test.

        >>> ledger, cell, seen = Ledger(clock=lambda: 0.0), LoadCell(Host("a")), []
        >>> stop = ledger.on_outcome(lambda *outcome: seen.append(outcome))
        >>> ledger.enter(cell); ledger.leave(cell, True, 0.0, "timeout"); stop()
        >>> ledger.enter(cell); ledger.leave(cell, False, 0.0)
        >>> seen
        [(Host('a'), True, 'timeout', 0.0)]
        """
        ticket = object()
        self._watchers[ticket] = callback

        def stop() -> None:
            self._watchers.pop(ticket, None)

        return stop

    def _tell(self, host: Host, failed: bool, why: str | None, seconds: float) -> None:
        for callback in tuple(self._watchers.values()):
            try:
                callback(host, failed, why, seconds)
            except Exception:  # a listener's fault must not become the request's
                _log.exception("a listener failed on the outcome of a lease on %s", host)

    def least_loaded(self, exclude: frozenset[str] = frozenset()) -> Host | None:
        """The usable host with the least in flight per weight; None if all are in ``exclude``.

        Equals are taken in rotation. Cost: O(log n), and O(log n) for each host excluded.
        """
        with self.lock:
            heap = self._heap if self._heap is not None else self._ordered()
            if self._shown is not None:  # nobody entered it since: behind its equals
                self._reorder(self._shown, heap)
            skipped = []
            while heap:
                _, turn, cell = heap[0]
                if turn != cell.turn:
                    heappop(heap)
                elif cell.host.name in exclude:
                    skipped.append(heappop(heap))
                else:
                    self._shown = cell
                    break
            for entry in skipped:
                heappush(heap, entry)
            return None if self._shown is None else self._shown.host

    def _ordered(self) -> list[_Entry]:
        # by turn, so that a rotation goes on where it was; the first one starts at a random host,
        # for routers that start together must not all begin with the same
        start = self._randrange(len(self._cells)) if self._cells else 0
        heap = []
        for cell in sorted(self._cells[start:] + self._cells[:start], key=lambda cell: cell.turn):
            cell.turn = next(self._turns)
            heap.append((cell.in_flight / cell.host.weight, cell.turn, cell))
        heapify(heap)
        self._heap, self._shown = heap, None
        return heap

    def _reorder(self, cell: LoadCell, heap: list[_Entry]) -> None:
        turn = cell.turn
        cell.turn = next(self._turns)
        entry = (cell.in_flight / cell.host.weight, cell.turn, cell)
        if cell is self._shown:
            self._shown = None
        if heap and heap[0][1] == turn:  # the one just chosen: no outdated entry stays behind
            heapreplace(heap, entry)
            return
        heappush(heap, entry)
        if len(heap) > _OUTDATED * len(self._cells) + _SLACK:
            heap[:] = [entry for entry in heap if entry[1] == entry[2].turn]
            heapify(heap)

    def read(self, cell: LoadCell) -> Load:
        """One host's load as it is now."""
        with self.lock:
            latency = decayed(cell.latency, self.clock() - cell.stamp)
            return Load(cell.in_flight, cell.ok, cell.failed, cell.failed_in_a_row, latency)


class LoadView:
    """What a strategy sees: the usable hosts of one snapshot, sorted by name, and their load.

    >>> cells = {"a": LoadCell(Host("a"))}
    >>> LoadView((Host("a"),), cells, Ledger(clock=lambda: 0.0)).in_flight(Host("a"))
    0
    """

    __slots__ = ("_cells", "_ledger", "excluded", "hosts")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        cells: Mapping[str, LoadCell],
        ledger: Ledger,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        self.hosts = hosts
        self._cells = cells
        self._ledger = ledger
        self.excluded = excluded

    def in_flight(self, host: Host) -> int:
        """How many leases ``host`` serves now. Cost: O(1)."""
        return self._cells[host.name].in_flight

    def latency(self, host: Host) -> float:
        """The host's peak EWMA latency in seconds, decayed to now; 0.0 before the first answer."""
        cell = self._cells[host.name]
        return decayed(cell.latency, self._ledger.clock() - cell.stamp)

    def least_loaded(self) -> Host:
        """The host with the least in flight per weight; equals in rotation. Cost: O(log n)."""
        host = self._ledger.least_loaded(self.excluded)
        if host is None or host.name not in self._cells:
            # the pool changed since this view was made, and it holds only what it was made with
            host = min(self.hosts, key=lambda host: self.in_flight(host) / host.weight)
        return host

    def excluding(self, names: frozenset[str]) -> LoadView:
        """The view without some hosts. Cost: O(n)."""
        left = tuple(host for host in self.hosts if host.name not in names)
        return LoadView(left, self._cells, self._ledger, self.excluded | names)
