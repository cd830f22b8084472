"""``Discovery``: a pool follows a source, in the event loop or in a thread of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from hashring.balancer import LoadBalancer
from hashring.discovery._backoff import Backoff
from hashring.discovery._membership import Membership, Source
from hashring.discovery.change_filter import DEBOUNCE, HOLD, ChangeFilter
from hashring.discovery.reconciler import Notice, Reconciler
from hashring.errors import ConfigError
from hashring.service import Service
from hashring.strategies import Rng
from hashring.validators import SECONDS_OR_ZERO

WAIT = 5.0
"""Seconds that entering waits for the first answer: a program should not start with an empty pool
because it was a moment too quick, nor hang because a registry is away."""


class Discovery(Service):
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

    TITLE = "discovery"
    FORK_WARNING = (
        "a forked child inherits no Discovery, and its pool stays as it is: start a new one in "
        "the child"
    )

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
        super().__init__(start_timeout=wait)

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
        under ``hashring``. Raises ``ConfigError`` for a callback that must be awaited.
        """
        return self._reconciler.listeners.subscribe(callback)

    async def _run(self, started: Callable[[], object]) -> None:
        await self._reconciler.run(started)
