"""``Discovery``: a pool follows a source, in the event loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType

from hashring.balancer import LoadBalancer
from hashring.discovery._backoff import Backoff
from hashring.discovery._membership import Membership, Source
from hashring.discovery.change_filter import DEBOUNCE, HOLD, ChangeFilter
from hashring.discovery.reconciler import Notice, Reconciler
from hashring.errors import ConfigError, HashringError
from hashring.forks import watch as watch_forks
from hashring.loops import LoopThread
from hashring.strategies import Rng
from hashring.validators import SECONDS_OR_ZERO

WAIT = 5.0
"""Seconds that entering waits for the first answer: a program should not start with an empty pool
because it was a moment too quick, nor hang because a registry is away."""


class Discovery:
    """Keeps the pool of ``lb`` equal to ``source``: one snapshot for each change, or none.

    ``async with`` follows in the running event loop, ``with`` in a thread of its own. Entering
    waits for the first answer, at most ``wait`` seconds; leaving leaves the pool as it is. The
    source owns the list: a host that was registered by hand goes with the next answer. Hosts that
    it drains (weight 0, terminating) are drained as ``discovery``; marks of other holders stay.

    A source that is down changes nothing: it is asked again with full jitter, and the last good
    pool serves. An answer with less than half of the hosts is held for ``hold`` seconds before it
    is accepted; one that the pool refuses (above its capacity) changes nothing. ``subscribe``
    reports each, ``stats`` counts them. ``debounce`` is in seconds. ``clock`` reads
    seconds that never run backwards; ``rng`` spreads the retries.

    A forked child has no discovery: it is warned, and must start its own. Raises ``ConfigError``
    for bad options.

    >>> from hashring.discovery.static import StaticSource
    >>> lb = LoadBalancer()
    >>> with Discovery(StaticSource({"a": 1, "b": 0}), lb) as discovery:
    ...     lb.hosts, lb.state("b"), discovery.stats["changed"]
    ((Host('a'), Host('b')), 'draining', 1)
    """

    def __init__(
        self,
        source: Source,
        lb: LoadBalancer,
        *,
        debounce: float = DEBOUNCE,
        hold: float = HOLD,
        wait: float = WAIT,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Rng | None = None,
    ) -> None:
        if not isinstance(source, Source):
            raise ConfigError(
                f"source must have watch(), got {source!r}: for a URL use "
                "hashring.discovery.source(url)",
                option="source",
            )
        for option, value in (("debounce", debounce), ("hold", hold), ("wait", wait)):
            SECONDS_OR_ZERO(value, option)
        self._reconciler = Reconciler(
            source, lb, ChangeFilter(debounce, hold), backoff or Backoff(rng=rng or random), clock
        )
        self._wait = wait
        self._task: asyncio.Task[None] | None = None
        self._thread: LoopThread | None = None
        self._used = self._deaf = False
        watch_forks(self)

    # -- state ----------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """The source that it reads."""
        return self._reconciler.source

    @property
    def membership(self) -> Membership | None:
        """The last answer that became the pool; None before the first."""
        return self._reconciler.membership

    @property
    def held(self) -> Membership | None:
        """The answer that is not accepted yet, because most hosts are missing in it."""
        return self._reconciler.changes.held

    @property
    def last_error(self) -> str | None:
        """Why the source cannot be read now; None while it can, or was not asked yet."""
        return self._reconciler.last_error

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the beginning, as they are now.

        ``memberships`` that the source gave; of those that were accepted, how many ``changed``
        something or left it ``unchanged``, and how many were ``refused``; how often one was
        ``held`` and a held one ``released``; how often the source was ``lost`` and ``back``.
        """
        return MappingProxyType(dict(self._reconciler.stats))

    def subscribe(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``callback(notice)`` with each later notice; the answer ends that.

        It is called in the event loop of the discovery: keep it short. What it raises is logged
        under ``hashring``.
        """
        return self._reconciler.listeners.subscribe(callback)

    # -- start and stop ---------------------------------------------------------------------------

    async def __aenter__(self) -> Discovery:
        if self._used:
            raise HashringError("this discovery has been entered before: make a new one")
        self._used = True
        answered = asyncio.Event()
        self._task = asyncio.create_task(
            self._reconciler.run(answered.set), name="hashring discovery"
        )
        waiting = asyncio.create_task(answered.wait())
        try:
            await asyncio.wait(
                (self._task, waiting), timeout=self._wait, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            await self._stop()
            raise
        finally:
            waiting.cancel()
        if self._task is not None and self._task.done():
            await self._task  # for its error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None and not self._deaf:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()  # for its error

    def __enter__(self) -> Discovery:
        self._thread = LoopThread(self, "hashring discovery")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and not self._deaf:
            thread.stop()

    def after_fork(self) -> None:
        """Called in a forked child: it has no thread and no event loop that would follow."""
        self._deaf = True
        if self._task is not None or self._thread is not None:
            warnings.warn(
                "a forked child inherits no Discovery, and its pool stays as it is: start a new "
                "one in the child",
                RuntimeWarning,
                stacklevel=2,
            )
