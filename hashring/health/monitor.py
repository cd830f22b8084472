"""Which hosts are up?  ``HealthMonitor``: one for all hosts of a balancer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from hashring.balancer import LoadBalancer
from hashring.health.outlier import OutlierRules, OutlierState
from hashring.health.probe_state import HealthChange, ProbeRules, ProbeState
from hashring.health.probes import Probe, TcpProbe
from hashring.health.runner import ProbeRunner
from hashring.health.table import HealthTable, WhenAllDown
from hashring.hosts import Host
from hashring.service import Service
from hashring.strategies import Rng


class HealthMonitor(Service):
    """Holds hosts down as ``probe`` and ``outlier`` while probes or leases fail.

    ``async with`` watches in the running event loop, ``with`` in a thread of its own; both follow
    the hosts of ``lb`` as they come, go and are replaced, and take all marks back at the end. A
    host is up until ``rules.fall`` probes fail. ``outliers`` judges by how leases end; None leaves
    that out. Others' marks and drains always count: when probes and outliers hold down every host
    that others leave in, ``when_all_down="route"`` lifts all their marks until one is up again,
    ``"refuse"`` lets requests fail; ``panic`` lifts them also while less than that fraction of
    those hosts would be left. A forked child has no monitor: it is warned, and must start its own.

    ``probe`` is any ``async (host) -> object`` that returns False or raises for a host that is not
    well. ``clock`` reads seconds that never run backwards; ``rng`` spreads the probes.

    Cost: a task and a timer a host, and the probes. Raises ``ConfigError`` for bad options.

    >>> import threading
    >>> lb = LoadBalancer(["a", "b"])
    >>> async def probe(host):
    ...     return host.name != "a"
    >>> seen = threading.Event()
    >>> with HealthMonitor(lb, probe, ProbeRules(0.02, 0.02, fast=0.01)) as monitor:
    ...     stop = monitor.subscribe(lambda change: seen.set())
    ...     seen.wait(10), lb.state("a"), monitor.health("a").why
    (True, 'down', 'the probe returned False (3 probes in a row)')
    >>> lb.state("a")
    'up'
    """

    TITLE = "health"
    FORK_WARNING = (
        "a forked child inherits no HealthMonitor, and the marks of its parent's stay as they "
        "are: start a new one in the child"
    )

    def __init__(
        self,
        lb: LoadBalancer,
        probe: Probe | None = None,
        rules: ProbeRules | None = None,
        *,
        outliers: OutlierRules | None = OutlierRules(),  # noqa: B008  # it is immutable
        when_all_down: WhenAllDown = "route",
        panic: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Rng | None = None,
    ) -> None:
        self._table = HealthTable(rules or ProbeRules(), outliers, when_all_down, panic)
        self._runner = ProbeRunner(lb, probe or TcpProbe(), self._table, clock, rng or random)
        super().__init__()

    # -- what it knows ----------------------------------------------------------------------------

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the beginning, as they are now.

        ``probes``, of which ``probes_failed``; ``probes_void`` (not made, because this process
        lacks a resource such as a file descriptor); ``went_down``, ``came_up``; ``ejections``,
        ``returned``, ``ejections_refused`` (over the limit, or the last host); ``panic`` and
        ``restored``: how often too few hosts were left, and how often that ended.
        """
        return MappingProxyType(dict(self._table.stats))

    @property
    def panic_reason(self) -> str | None:
        """Why all hosts are routed to, whatever their health; None while health counts."""
        return self._table.panic_reason

    def health(self, name: str | Host) -> ProbeState:
        """The probe state of a host, in panic mode too. Raises ``UnknownHostError``."""
        return self._table.of(self._table.health, name)

    def state(self, name: str | Host) -> OutlierState:
        """What leases say of a host. Raises ``UnknownHostError``."""
        return self._table.of(self._table.outlier_states, name)

    def subscribe(self, callback: Callable[[HealthChange], object]) -> Callable[[], None]:
        """Call ``callback(change)`` after each later change of health; the answer ends that.

        It is called in the monitor's event loop, once the pool has the change: keep it short.
        What it raises is logged under ``hashring``. Raises ``ConfigError`` for a callback that must
        be awaited.
        """
        return self._runner.listeners.subscribe(callback)

    async def _run(self, started: Callable[[], object]) -> None:
        await self._runner.run(started)

    def after_fork(self) -> None:
        """In a child process: events of its balancer concern no monitor any more."""
        super().after_fork()
        self._runner.forked = True
