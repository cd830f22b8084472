"""What would sessions have lived through?  A log replayed in time against real balancers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hashring.analysis._replay import Pace, Replay
from hashring.analysis.arrivals import Arrivals
from hashring.analysis.change import Change
from hashring.analysis.outcomes import Outcome, Simulation
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.scenarios import SESSION_GAP, Scenario, ServiceTime
from hashring.analysis.scenarios import scenarios as usual
from hashring.errors import ConfigError

_SERVICE = ServiceTime()


def simulate(
    arrivals: Arrivals,
    membership: PlacedHosts,
    changes: Iterable[tuple[float, Change]] = (),
    *,
    scenarios: Iterable[Scenario] = usual(),
    service: ServiceTime = _SERVICE,
    session_gap: float = SESSION_GAP,
    bins: int = 120,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Replay ``arrivals`` against the pool of ``membership``, once for each scenario.

    ``changes`` are (seconds after the first request, change). Each scenario is a real
    ``LoadBalancer`` with a clock that the log drives: a request takes a lease when it arrives and
    gives it back when its service time is over. The hosts have no queue: a service time does not
    grow with load, so for a log of a quiet day a longer one stands for more traffic. ``progress``
    is called with the requests done. Cost: some 8 us a request and scenario.

    Raises ``ConfigError`` for what cannot be, and what the changes themselves raise.

    >>> who = Arrivals.of((float(i), f"client-{i % 40}") for i in range(400))
    >>> report = simulate(who, PlacedHosts.of(["a", "b"]), [(200.0, Change(add=["c"]))])
    >>> alone, remembered, *_ = report.outcomes
    >>> alone.broken > 0, remembered.broken
    (True, 0)
    """
    ways = tuple(scenarios)
    _check(ways, arrivals, session_gap, bins)
    timed = sorted(changes, key=lambda pair: pair[0])
    pace = Pace(arrivals, service.times(len(arrivals)), session_gap, bins)
    outcomes = []
    for way in ways:
        done = Replay(pace, membership, timed, _settings(way)).run(progress)
        outcomes.append(Outcome(scenario=way, requests=len(arrivals), **done))
    return Simulation(
        requests=len(arrivals),
        clients=len(arrivals.clients),
        seconds=arrivals.seconds,
        session_gap=session_gap,
        service=service,
        placement=membership.placement or "",
        hosts=tuple(host.name for host in membership.hosts),
        changes=tuple((at, str(change)) for at, change in timed),
        bin_seconds=pace.bin_seconds,
        outcomes=tuple(outcomes),
    )


def _check(ways: tuple[Scenario, ...], arrivals: Arrivals, gap: float, bins: int) -> None:
    if not ways:
        raise ConfigError("a simulation needs at least one scenario", option="scenarios")
    if not len(arrivals):
        raise ConfigError("there are no requests to replay", option="arrivals")
    if not gap > 0:
        raise ConfigError(f"session_gap is above 0 seconds, got {gap!r}", option="session_gap")
    if bins < 1:
        raise ConfigError(f"bins must be at least 1, got {bins!r}", option="bins")


def _settings(way: Scenario) -> dict[str, Any]:
    return {
        "remembers": way.remembers,
        "drain": way.drain,
        "load_factor": way.load_factor,
        "load_floor": way.load_floor,
    }
