"""How does a pool follow a source?  ``Discovery``: in the event loop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType

from hashring.balancer import LoadBalancer
from hashring.discovery._backoff import Backoff
from hashring.discovery._gate import GRACE, QUIET, Gate
from hashring.discovery._membership import Membership, Source
from hashring.discovery._notices import Notice
from hashring.discovery._pump import Pump
from hashring.errors import ConfigError, HashringError
from hashring.forks import watch as watch_forks
from hashring.loops import LoopThread
from hashring.strategies import Rng
from hashring.validators import SECONDS_OR_ZERO

__all__ = ["WAIT", "Discovery"]

WAIT = 5.0
"""Seconds that entering waits for the first answer: a program should not start with an empty pool
because it was a moment too quick, nor hang because a registry is away."""


class Discovery:
    """Keeps the pool of ``lb`` as ``source`` says: one snapshot for each change, or none.

    ``async with`` follows in the running event loop, ``with`` in a thread of its own. Entering
    waits for the first answer, at most ``wait`` seconds; leaving leaves the pool as it is. The
    source owns the list: a host that was registered by hand goes with the next answer. Hosts that
    it drains (weight 0, terminating) are drained as ``discovery``; everybody else's marks stay.

    A source that is down changes nothing: it is asked again with full jitter, and the last good
    pool serves. An answer with less than half of the hosts is held for ``grace`` seconds before it
    is believed; one that the pool refuses (above its capacity) changes nothing. ``subscribe``
    hears of each, ``stats`` counts them. ``quiet`` is the debounce, in seconds. ``clock`` reads
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
        quiet: float = QUIET,
        grace: float = GRACE,
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
        for option, value in (("quiet", quiet), ("grace", grace), ("wait", wait)):
            SECONDS_OR_ZERO(value, option)
        self._pump = Pump(
            source, lb, Gate(quiet, grace), backoff or Backoff(rng=rng or random), clock
        )
        self._wait = wait
        self._task: asyncio.Task[None] | None = None
        self._thread: LoopThread | None = None
        self._used = self._deaf = False
        watch_forks(self)

    # -- what it knows ----------------------------------------------------------------------------

    @property
    def source(self) -> Source:
        """Whom it asks."""
        return self._pump.source

    @property
    def membership(self) -> Membership | None:
        """The last answer that became the pool; None before the first."""
        return self._pump.membership

    @property
    def held(self) -> Membership | None:
        """The answer that is not believed yet, for it says that most hosts are gone."""
        return self._pump.gate.held

    @property
    def trouble(self) -> str | None:
        """Why the source cannot be read now; None while it can, or was not asked yet."""
        return self._pump.trouble

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the beginning, as they are now.

        ``memberships`` that the source told; of those that were believed, how many ``changed``
        something or left it ``unchanged``, and how many were ``refused``; how often one was
        ``held`` and a held one ``released``; how often the source was ``lost`` and ``back``.
        """
        return MappingProxyType(dict(self._pump.stats))

    def subscribe(self, callback: Callable[[Notice], object]) -> Callable[[], None]:
        """Call ``callback(notice)`` with each later notice; the answer ends that.

        It is called in the event loop of the discovery: keep it short. What it raises is logged
        under ``hashring``.
        """
        return self._pump.listeners.subscribe(callback)

    # -- its life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Discovery:
        if self._used:
            raise HashringError("this discovery has been entered before: make a new one")
        self._used = True
        settled = asyncio.Event()
        self._task = asyncio.create_task(self._pump.run(settled.set), name="hashring discovery")
        waiting = asyncio.create_task(settled.wait())
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
