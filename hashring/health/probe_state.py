"""The probe state of one host, as a pure function: state, result, time -> state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from hashring.errors import ConfigError
from hashring.validators import COUNT, SECONDS, check_options, number, option

Kind = Literal["down", "up", "ejected", "lost", "returned", "panic", "restored"]


@dataclass(frozen=True, slots=True)
class HealthChange:
    """One thing that changed: ``kind``, for which host (None: for all), why, and when.

    ``down`` and ``up`` come from probes, ``ejected`` and ``returned`` from outlier detection;
    ``panic`` means that too few hosts are left, so all get requests; ``restored`` ends it. ``at``
    is a reading of the monitor's clock.
    """

    kind: Kind
    host: str | None
    why: str
    at: float

    def __str__(self) -> str:
        return f"{self.kind} {self.host}: {self.why}" if self.host else f"{self.kind}: {self.why}"


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """When probes run and how many make a verdict; all times in seconds.

    A host goes down after ``fall`` failures in a row and up after ``rise`` successes. Probes start
    every ``interval``, and every ``fast`` while a verdict is in the making; each takes at most
    ``timeout``. ``jitter`` is the fraction of a delay that chance may take off, so that the
    monitors of many routers do not meet; it never adds any, and ``timeout`` is at most
    ``interval``, so that a host that falls silent is down within ``interval * fall + timeout``.

    The defaults are those of HAProxy (fall 3, rise 2) with a longer interval, 5 s for 2 s: every
    router probes every host. Raises ``ConfigError``.

    >>> ProbeRules(timeout=9)
    Traceback (most recent call last):
    hashring.errors.ConfigError: timeout must be at most interval, got 9 and 5 seconds
    """

    interval: float = option(5.0, check=SECONDS, help="Seconds between two probes of a host.")
    timeout: float = option(2.0, check=SECONDS, help="Maximum duration of a probe in seconds.")
    fall: int = option(3, check=COUNT, help="Failed probes in a row after which a host is down.")
    rise: int = option(2, check=COUNT, help="Passed probes in a row after which a host is up.")
    fast: float = option(
        1.0,
        check=SECONDS,
        help="Seconds between two probes of a host whose last probe differs from its state.",
    )
    jitter: float = option(
        0.1,
        check=number("a fraction from 0 to less than 1", 0, math.nextafter(1.0, 0.0)),
        help="Largest fraction of an interval by which a probe comes earlier, at random.",
    )

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("timeout", "fast"):
            if getattr(self, name) > self.interval:
                raise ConfigError(
                    f"{name} must be at most interval, got {getattr(self, name):g} and "
                    f"{self.interval:g} seconds",
                    option=name,
                )

    def delay(self, health: ProbeState, lot: float) -> float:
        """Seconds from the start of one probe to that of the next; ``lot`` is random in 0..1.

        >>> rules = ProbeRules()
        >>> rules.delay(ProbeState("a", run=1), 0.0), rules.delay(ProbeState("a"), 1.0)
        (1.0, 4.5)
        """
        return (self.fast if health.run else self.interval) * (1 - self.jitter * lot)


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What probes say of one host.

    ``run`` counts the results in a row that contradict ``up``; ``proven`` is whether a probe
    has ever passed; ``why`` is the last failure's text; ``since`` is when the
    verdict was given.
    """

    host: str
    up: bool = True
    proven: bool = False
    run: int = 0
    why: str = ""
    since: float = 0.0


def judge_probe(
    health: ProbeState, why: str | None, now: float, rules: ProbeRules
) -> tuple[ProbeState, tuple[HealthChange, ...]]:
    """The health after one probe, and what changed; ``why`` is None if it passed.

    A host is up until ``fall`` probes fail. One that was down before any probe passed needs a
    single success: it is starting, not flapping. Source: HAProxy's ``fall`` and ``rise``, Envoy's
    first pass. Cost: O(1).

    >>> health = ProbeState("a", run=2)
    >>> health, changes = judge_probe(health, "refused", 7.0, ProbeRules())
    >>> health.up, str(changes[0])
    (False, 'down a: refused (3 probes in a row)')
    >>> judge_probe(health, None, 8.0, ProbeRules())[0].up
    True
    """
    passed = why is None
    settled = replace(
        health, proven=health.proven or passed, why=health.why if why is None else why
    )
    if passed == health.up:
        return replace(settled, run=0), ()
    run = health.run + 1
    needed = rules.fall if health.up else rules.rise if health.proven else 1
    if run < needed:
        return replace(settled, run=run), ()
    kind: Kind = "up" if passed else "down"
    probes = "1 probe" if run == 1 else f"{run} probes in a row"
    text = f"{probes} passed" if why is None else f"{why} ({probes})"
    turned = replace(settled, up=passed, run=0, why=text if why is not None else "", since=now)
    return turned, (HealthChange(kind, health.host, text, now),)
