"""How busy is each host? Requests in flight, outstanding work, latency, and the least loaded host.

Every lease counts on one host, a known client's too, so that a strategy sees the whole load of
this process. All changes happen under the tracker's one short lock.
"""

from __future__ import annotations

import math
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from weakref import WeakSet

from hashring.forks import watch
from hashring.hosts import Host, total_weight
from hashring.keys import Key
from hashring.listeners import Listeners
from hashring.locks import GUARD

OutcomeCallback = Callable[[Host, bool, str | None, float], object]


class UnreachableReason(str):
    """Why a request failed, where no connection to the host could be made.

    Such a host cannot serve even its known clients.
    """

    __slots__ = ()


"""Called at the end of a lease with host, whether it failed, why, and after how many seconds."""

DECAY = 10.0
"""Seconds in which a latency loses all but 1/e of its weight: Finagle's default for peak EWMA."""

FAILED = 1.0
"""Seconds that a failure counts for at least: longer than an answer that a person waits for.
With ``DECAY``, ``PeakEwma`` tries a host that fails again after some 50 s beside hosts of 5 ms."""

GROUP_SECONDS = 300.0
"""Seconds for which a host counts as warm for a group that it served: the time in which the caches
of the Mooncake trace (8 hosts of 2,048 blocks) are overwritten."""

_GROUPS = 100_000  # groups remembered: some 40 MB; the least recently served go
_SEEN_MOST = 200  # requests over which the mean cost is taken: it follows a change within minutes
_SEEN_LEAST = 20  # requests before a cost is capped: before that the mean may be far off
_CAP = 100  # a cost counts as at most 100 times the mean: one wrong number must not block a host

_OUTDATED = 4  # entries a host in the order before the outdated ones are removed ...
_SLACK = 64  # ... and some more, so that a small pool does not remove them all the time
_NEVER = -(1 << 62)  # stamps of hosts that were never chosen begin here, below all others


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one host in this process.

    ``in_flight`` counts open leases, ``pending`` those whose response has not begun, and
    ``outstanding`` is the work of the pending ones in average requests. ``ok`` and ``failed`` count
    ended leases. ``latency`` is in seconds.

    >>> Load(in_flight=2).in_flight
    2
    """

    in_flight: int = 0
    ok: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    latency: float = 0.0
    pending: int = 0
    outstanding: float = 0.0


def decay_latency(latency: float, age: float, decay: float = DECAY) -> float:
    """A latency measured ``age`` seconds ago, on its way to 0: an unused host gets tried again.

    >>> decay_latency(1.0, 0.0), round(decay_latency(1.0, 10.0), 3)
    (1.0, 0.368)
    """
    return latency * math.exp(-age / decay) if age > 0 else latency


_is_held, _deferred = GUARD.is_held, GUARD.deferred


def peak_ewma(latency: float, age: float, seconds: float, decay: float = DECAY) -> float:
    """The latency after an answer that took ``seconds``, ``age`` seconds after the last one.

    A slower answer counts immediately, a faster one gradually. Source: Finagle's ``PeakEwma``.

    >>> peak_ewma(0.1, 1.0, 2.0), round(peak_ewma(1.0, 10.0, 0.0), 3)
    (2.0, 0.368)
    """
    if seconds >= latency:
        return seconds
    weight = math.exp(-age / decay) if age > 0 else 1.0
    return latency * weight + seconds * (1 - weight)


class HostLoad:
    """The load of one host for as long as it is registered under its address.

    A lease keeps this object, never a name: a host that is registered again has a new one, and a
    late release changes the old one.
    """

    __slots__ = (
        "chosen",
        "failed",
        "failed_in_a_row",
        "host",
        "in_flight",
        "latency",
        "ok",
        "outstanding",
        "pending",
        "remote",
        "stamp",
        "turns",
        "usable",
    )

    def __init__(self, host: Host) -> None:
        self.host = host
        self.in_flight = 0
        self.pending = 0
        self.outstanding = 0.0
        self.remote = 0.0  # outstanding at other routers, as far as they report it
        self.ok = 0
        self.failed = 0
        self.failed_in_a_row = 0
        self.latency = 0.0  # seconds, as it was at ``stamp``
        self.stamp = 0.0
        self.chosen = _NEVER  # when a request last went here, as a count of requests
        self.turns = [-1, -1]  # which entry of each order is the present one
        self.usable = 0  # 1 if the host may be chosen

    def idle_copy(self) -> HostLoad:
        """The history of the host without a request in flight."""
        copy = HostLoad(self.host)
        copy.ok, copy.failed, copy.failed_in_a_row = self.ok, self.failed, self.failed_in_a_row
        copy.latency, copy.stamp = self.latency, self.stamp
        return copy


class TrackedRequest:
    """One request as it counts on a host; a lease has one while it is open.

    A lease that is collected without a release drops its request, which then counts no more. An
    ended request is used again, so that its ``__del__`` does not run for each lease: it would
    swallow the exceptions of signal handlers.
    """

    __slots__ = ("__weakref__", "began", "client_id", "is_pending", "load", "size", "tracker")

    def __init__(self, tracker: LoadTracker) -> None:
        self.load: HostLoad | None = (
            None  # where it counts; None before it begins and after its end
        )
        self.is_pending = False  # the response has not begun
        self.size = 1.0  # in average requests
        self.began = 0.0
        self.client_id: Key | None = None
        self.tracker = tracker
        tracker.requests.add(self)  # rare, because ended requests are used again

    def __del__(self) -> None:
        load: HostLoad | None = getattr(self, "load", None)  # missing if __init__ was interrupted
        if load is None:
            return
        tracker = self.tracker
        try:
            # a child process that drops its parent's lease has load objects of its own
            if tracker.loads.get(load.host.name) is load:
                message = f"a lease on {load.host} was not released"
                warnings.warn(message, ResourceWarning, source=self, stacklevel=1)
        finally:
            tracker.leave(self, None)


class _LoadOrder:
    """The usable hosts by load: a heap in which only a host's newest entry is valid.

    An entry is (level, in flight per weight, last chosen, turn, load); turns are unique, so two
    loads are never compared. Outdated entries are dropped when they come up. ``is_torn``: an
    exception struck in the middle of an operation, and the order must be made again.
    """

    def __init__(self, slot: int, by_work: bool, loads: list[HostLoad]) -> None:
        self._slot = slot
        self._by_work = by_work
        self._turns = count()
        self.is_torn = False
        self._most = _OUTDATED * len(loads) + _SLACK
        self.entries: list[tuple[float, float, int, int, HostLoad]] = []
        for load in loads:
            load.turns[slot] = -1
            self.update(load)

    def update(self, load: HostLoad) -> None:
        """Put ``load`` where it belongs now, if it may be chosen. Cost: O(log n)."""
        if not load.usable:
            return
        self.is_torn = True
        entries, slot, turns, weight = self.entries, self._slot, load.turns, load.host.weight
        before = turns[slot]
        turn = turns[slot] = next(self._turns)
        level = few = load.in_flight / weight
        if self._by_work:
            level = (load.outstanding + load.remote + 1.0) / weight
        entry = level, few, load.chosen, turn, load
        if entries and entries[0][3] == before:  # the one just chosen: replaced in one step
            heapreplace(entries, entry)
        else:
            heappush(entries, entry)
            if len(entries) > self._most:
                entries[:] = [each for each in entries if each[3] == each[4].turns[slot]]
                heapify(entries)
        self.is_torn = False

    def least(self, exclude: frozenset[str]) -> HostLoad | None:
        """The first load whose host is not in ``exclude``. Cost: O(log n) for each excluded one."""
        entries, slot = self.entries, self._slot
        if entries and not exclude and entries[0][3] == entries[0][4].turns[slot]:
            return entries[0][4]
        self.is_torn, skipped, found = True, [], None
        while entries:
            _, _, _, turn, load = entries[0]
            if turn != load.turns[slot]:
                heappop(entries)
            elif load.host.name in exclude:
                skipped.append(heappop(entries))
            else:
                found = load
                break
        for entry in skipped:
            heappush(entries, entry)
        self.is_torn = False
        return found


class LoadTracker:
    """All load of one balancer: what is in flight, and which usable host has the least.

    An order by load is kept from the first time that a strategy asks for it. Then a choice, a
    start and a release cost O(log n); before that, O(1).

    >>> a, b = HostLoad(Host("a")), HostLoad(Host("b"))
    >>> tracker = LoadTracker(clock=lambda: 0.0)
    >>> tracker.synchronize({"a": a, "b": b}, (a.host, b.host))
    >>> with tracker.lock:
    ...     request = TrackedRequest(tracker)
    ...     tracker.enter(request, a)
    >>> tracker.least_loaded().name
    'b'
    >>> tracker.leave(request, None)
    """

    def __init__(
        self, clock: Callable[[], float], randrange: Callable[[int], int] = random.randrange
    ) -> None:
        self._randrange = randrange
        self.lock = GUARD.lock
        self.clock = clock
        self.in_flight = 0  # of the usable hosts
        self.weight = 0.0
        self.loads: Mapping[str, HostLoad] = {}  # by host name, as of the last synchronize()
        self._usable: tuple[HostLoad, ...] = ()
        self._by_count: _LoadOrder | None = None
        self._by_work: _LoadOrder | None = None
        self._shown: HostLoad | None = None  # the last choice, if no request has entered it
        self._stamps = count()
        # router -> (when its report expires, host name -> outstanding)
        self._remote: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._seen = 0  # requests with a cost
        self._mean = 0.0
        self._groups: OrderedDict[str | bytes, dict[str, float]] = OrderedDict()
        self._outcomes: Listeners[Host, bool, str | None, float] = Listeners()
        self.free: list[TrackedRequest] = []  # ended requests, to use again
        self.requests: WeakSet[TrackedRequest] = WeakSet()  # open and ended ones
        self.on_room: Callable[[str | None], None] | None = None  # called while requests wait
        self.sessions: Callable[[], Mapping[str, int]] = dict  # pinned clients by host name
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        """In a child process: an order with its own start."""
        for load in self._usable:
            load.chosen = _NEVER
        self._by_count = self._by_work = self._shown = None

    def synchronize(self, loads: Mapping[str, HostLoad], usable: tuple[Host, ...]) -> None:
        """Make ``usable`` the hosts that may be chosen. Cost: O(n).

        After an interrupt it can be repeated.
        """
        with self.lock:
            chosen = tuple([loads[host.name] for host in usable])
            for load in self._usable:
                load.usable = 0
            self._usable = chosen
            for load, host in zip(chosen, usable, strict=True):
                load.host = host
                load.usable = 1
            self.in_flight = sum(load.in_flight for load in chosen)
            self.weight = total_weight(usable)
            if self._shown is not None:
                self._shown.chosen = next(self._stamps)
            self._by_count = self._by_work = self._shown = None
            self.loads = loads
            if self._remote:
                self._add_up_remote()
        if self.on_room is not None:
            self.on_room(None)

    # -- one request ------------------------------------------------------------------------------

    def size_of(self, cost: float) -> float:
        """The size of a request in average requests. The caller holds the lock. O(1).

        ``(1 + cost / mean) / 2``: half by number and half by work, because a host works on several
        requests at the same time. The mean follows the last 200 costs.

        >>> tracker = LoadTracker(clock=lambda: 0.0)
        >>> with tracker.lock:
        ...     tracker.size_of(100.0), tracker.size_of(300.0)
        (1.0, 1.25)
        """
        if self._seen >= _SEEN_LEAST:
            cost = min(cost, _CAP * self._mean)
        seen = self._seen + 1
        mean = self._mean + (cost - self._mean) / min(seen, _SEEN_MOST)
        self._seen, self._mean = seen, mean
        return (1 + (cost / mean if mean else 1.0)) / 2

    def enter(self, request: TrackedRequest, load: HostLoad) -> None:
        """Count ``request`` on ``load``. The caller holds the lock. Cost: O(log n)."""
        work, total = load.outstanding + request.size, self.in_flight + load.usable
        counts = load, True, load.in_flight + 1, load.pending + 1, work, total
        # One statement without a call: no signal handler and no finalizer runs inside it, so a
        # request is counted everywhere or nowhere.
        r, t = request, self
        r.load, r.is_pending, load.in_flight, load.pending, load.outstanding, t.in_flight = counts
        load.chosen = next(self._stamps)
        if load is self._shown:
            self._shown = None
        if self._by_count is not None:
            self._by_count.update(load)
        if self._by_work is not None:
            self._by_work.update(load)

    def withdraw(self, request: TrackedRequest) -> None:
        """Count ``request`` no more. The caller holds the lock. A second call does nothing."""
        load = request.load
        if load is None:
            return
        pending, work = load.pending, load.outstanding
        if request.is_pending:
            pending -= 1
            # exactly 0 on an idle host: what rounding leaves would break ties for ever
            work = work - request.size if pending else 0.0
        counts = None, False, load.in_flight - 1, pending, work, self.in_flight - load.usable
        r, t = request, self  # as in enter()
        r.load, r.is_pending, load.in_flight, load.pending, load.outstanding, t.in_flight = counts
        if self._by_count is not None:
            self._by_count.update(load)
        if self._by_work is not None:
            self._by_work.update(load)

    def start(self, request: TrackedRequest) -> None:
        """The response has begun: the request is in flight and no longer outstanding."""
        if not request.is_pending:
            return
        if _is_held():  # called by a signal handler or a finalizer
            GUARD.defer(self.start, request)
            return
        try:
            with self.lock:
                load = request.load
                if load is not None and request.is_pending:
                    pending = load.pending - 1
                    counts = False, pending, load.outstanding - request.size if pending else 0.0
                    request.is_pending, load.pending, load.outstanding = counts  # as in enter()
                    if self._by_work is not None:
                        self._by_work.update(load)
        finally:
            if _deferred:
                GUARD.run_deferred()

    def leave(self, request: TrackedRequest, failed: bool | None, why: str | None = None) -> None:
        """The request has ended; ``failed`` None: no outcome. Cost: O(log n)."""
        if _is_held():  # called by a signal handler or a finalizer
            GUARD.defer(self.leave, request, failed, why)
            return
        now = 0.0
        try:
            if failed is not None:
                now = self.clock()
            with self.lock:
                load = request.load
                if load is None:
                    return
                if failed is not None:
                    seconds = now - request.began
                    if failed:
                        load.failed += 1
                        load.failed_in_a_row += 1
                        # a host that fails fast must not look quick, nor quicker while it is not
                        # asked
                        seconds = max(seconds, load.latency, FAILED)
                    else:
                        load.ok += 1
                        load.failed_in_a_row = 0
                    before, age = load.latency, now - load.stamp
                    load.latency = seconds if seconds >= before else peak_ewma(before, age, seconds)
                    load.stamp = now
                self.withdraw(request)
        except BaseException:  # the clock failed, or an interrupt
            with self.lock:
                self.withdraw(request)
            raise
        finally:
            if _deferred:
                GUARD.run_deferred()
        if self.on_room is not None:
            self.on_room(load.host.name)
        if (
            failed is not None
            and self._outcomes.callbacks
            and self.loads.get(load.host.name) is load
        ):
            self._outcomes.notify(load.host, failed, why, now - request.began)

    def open_requests(self) -> list[TrackedRequest]:
        """The requests that count now. Cost: O(most that were ever open at the same time)."""
        while True:
            try:
                return [request for request in self.requests if request.load is not None]
            except RuntimeError:  # another thread added one: again
                continue

    # -- outcomes ---------------------------------------------------------------------------------

    def on_outcome(self, callback: OutcomeCallback) -> Callable[[], None]:
        """Call ``callback`` at the end of each lease with an outcome; the result ends that.

        It is called outside the lock, by the thread that ends the lease. What it raises is logged.
        There is no call for a lease on a host that was removed or replaced since. Cost without a
        callback: one truth test.

        >>> tracker, load, seen = LoadTracker(clock=lambda: 0.0), HostLoad(Host("a")), []
        >>> tracker.synchronize({"a": load}, (load.host,))
        >>> stop = tracker.on_outcome(lambda *outcome: seen.append(outcome))
        >>> request = TrackedRequest(tracker)
        >>> tracker.enter(request, load); tracker.leave(request, True, "timeout"); stop()
        >>> tracker.enter(request, load); tracker.leave(request, False)
        >>> seen
        [(Host('a'), True, 'timeout', 0.0)]
        """
        return self._outcomes.subscribe(callback)

    # -- several routers --------------------------------------------------------------------------

    def outstanding(self) -> dict[str, float]:
        """The outstanding work of this router by host name, without idle hosts."""
        return GUARD.run(
            lambda: {name: each.outstanding for name, each in self.loads.items() if each.pending}
        )

    def set_remote(self, router: str, outstanding: Mapping[str, float], seconds: float) -> None:
        """Add what another router reports, in the place of its last report. Cost: O(n)."""
        try:
            with self.lock:
                self._remote[router] = self.clock() + seconds, dict(outstanding)
                self._add_up_remote()
        finally:
            if _deferred:
                GUARD.run_deferred()

    def _expire_remote(self) -> None:
        now = self.clock()
        expired = [router for router, (end, _) in self._remote.items() if end <= now]
        for router in expired:
            del self._remote[router]
        if expired:
            self._add_up_remote()

    def _add_up_remote(self) -> None:
        reports = [outstanding for _, outstanding in self._remote.values()]
        for name, load in self.loads.items():
            load.remote = math.fsum(report.get(name, 0.0) for report in reports)
        self._by_work = None

    # -- the least loaded -------------------------------------------------------------------------

    def least_loaded(self, exclude: frozenset[str] = frozenset()) -> Host | None:
        """The usable host with the least in flight per weight; None if all are in ``exclude``.

        Equal hosts are taken in rotation. Cost: O(log n), and O(log n) for each host excluded.
        """
        if not _is_held():
            return GUARD.run(self.least_loaded, exclude)
        if self._shown is not None:
            self._settle_shown(self._shown)
        if self._by_count is None or self._by_count.is_torn:
            self._by_count = _LoadOrder(0, False, self._in_rotation())
        load = self._shown = self._by_count.least(exclude)
        return None if load is None else load.host

    def least_outstanding(
        self,
        exclude: frozenset[str] = frozenset(),
        group: str | bytes | None = None,
        *,
        takes_turn: bool = True,
    ) -> Host | None:
        """The usable host with the least ``(outstanding + 1) / weight``; None without one.

        Equal hosts: the one with the fewest in flight per weight, then in rotation. A host that
        served ``group`` in the last 300 s counts 1/2 instead of 1. Without ``takes_turn`` the
        answer is a comparison only, after which the rotation is as before. Cost: O(log n), O(log n)
        for each host excluded, and O(1) for each host that served the group.
        """
        if not _is_held():
            return GUARD.run(self.least_outstanding, exclude, group, takes_turn=takes_turn)
        if self._remote:
            self._expire_remote()
        if self._shown is not None:
            self._settle_shown(self._shown)
        if self._by_work is None or self._by_work.is_torn:
            self._by_work = _LoadOrder(1, True, self._in_rotation())
        best = self._by_work.least(exclude)
        if best is not None and group is not None and group in self._groups:
            best = self._warmest(best, self._groups[group], exclude)
        if takes_turn:
            self._shown = best
        return None if best is None else best.host

    def _warmest(
        self, best: HostLoad, served: dict[str, float], exclude: frozenset[str]
    ) -> HostLoad:
        now = self.clock()
        weight = best.host.weight
        least = (best.outstanding + best.remote + 1.0) / weight, best.in_flight / weight
        rank = (*least, best.chosen)
        for name, at in served.items():
            load = self.loads.get(name)
            if load is None or not load.usable or name in exclude or now - at >= GROUP_SECONDS:
                continue
            weight = load.host.weight
            level = (load.outstanding + load.remote + 0.5) / weight
            mine = level, load.in_flight / weight, load.chosen
            if mine < rank:
                best, rank = load, mine
        return best

    def serve_group(self, group: str | bytes, host: str, now: float) -> None:
        """Remember that ``host`` served ``group``. The caller holds the lock. Cost: O(1)."""
        groups = self._groups
        served = groups.get(group)
        if served is None:
            served = groups[group] = {}
            if len(groups) > _GROUPS:
                groups.popitem(last=False)
        else:
            groups.move_to_end(group)
        served[host] = now

    def _settle_shown(self, shown: HostLoad) -> None:
        """No request entered the last choice: it goes behind its equals all the same."""
        self._shown = None
        shown.chosen = next(self._stamps)
        if self._by_count is not None:
            self._by_count.update(shown)
        if self._by_work is not None:
            self._by_work.update(shown)

    def _in_rotation(self) -> list[HostLoad]:
        # the first rotation starts at a random host: routers that start together must not all
        # begin with the same one
        loads = self._usable
        start = self._randrange(len(loads)) if loads else 0
        for place, load in enumerate(loads[start:] + loads[:start]):
            if load.chosen < 0:
                load.chosen = _NEVER + place
        return list(loads)

    def read(self, load: HostLoad) -> Load:
        """One host's load as it is now."""
        return GUARD.run(self._read, load)

    def _read(self, load: HostLoad) -> Load:
        latency = decay_latency(load.latency, self.clock() - load.stamp)
        return Load(
            load.in_flight,
            load.ok,
            load.failed,
            load.failed_in_a_row,
            latency,
            load.pending,
            load.outstanding,
        )


class LoadView:
    """What a strategy sees: the usable hosts of one snapshot, sorted by name, and their load.

    >>> loads = {"a": HostLoad(Host("a"))}
    >>> LoadView((Host("a"),), loads, LoadTracker(clock=lambda: 0.0)).in_flight(Host("a"))
    0
    """

    __slots__ = ("_loads", "_tracker", "excluded", "group", "hosts")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        loads: Mapping[str, HostLoad],
        tracker: LoadTracker,
        excluded: frozenset[str] = frozenset(),
        group: str | bytes | None = None,
    ) -> None:
        self.hosts = hosts
        self._loads = loads
        self._tracker = tracker
        self.excluded = excluded
        self.group = group

    def in_flight(self, host: Host) -> int:
        """How many leases ``host`` serves now. Cost: O(1)."""
        return self._loads[host.name].in_flight

    def outstanding(self, host: Host) -> float:
        """The work on ``host`` whose response has not begun, in average requests. Cost: O(1)."""
        return self._loads[host.name].outstanding

    def sessions(self, host: Host) -> int:
        """How many clients are pinned to ``host``; 0 without a store that counts. Cost: O(1)."""
        return self._tracker.sessions().get(host.name, 0)

    def latency(self, host: Host) -> float:
        """The host's peak EWMA latency in seconds, decayed to now; 0.0 before the first answer."""
        load = self._loads[host.name]
        return decay_latency(load.latency, self._tracker.clock() - load.stamp)

    def least_loaded(self) -> Host:
        """The host with the least in flight per weight; equals in rotation. Cost: O(log n)."""
        host = self._tracker.least_loaded(self.excluded)
        if host is None or host.name not in self._loads:
            # the pool changed since this view was made: choose among the view's own hosts
            host = min(self.hosts, key=lambda host: self.in_flight(host) / host.weight)
        return host

    def least_outstanding(self) -> Host:
        """The host with the least outstanding work per weight. Cost: O(log n)."""
        host = self._tracker.least_outstanding(self.excluded, self.group)
        if host is None or host.name not in self._loads:  # as in least_loaded()
            host = min(self.hosts, key=lambda host: (self.outstanding(host) + 1) / host.weight)
        return host

    def excluding(self, names: frozenset[str]) -> LoadView:
        """The view without some hosts. Cost: O(n)."""
        left = tuple(host for host in self.hosts if host.name not in names)
        return LoadView(left, self._loads, self._tracker, self.excluded | names, self.group)

    def for_group(self, group: str | bytes) -> LoadView:
        """The view for a request of ``group``. Cost: O(1)."""
        return LoadView(self.hosts, self._loads, self._tracker, self.excluded, group)
