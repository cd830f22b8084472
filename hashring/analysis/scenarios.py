"""How might a pool be run?  Scenarios to replay a log under, and how long requests take."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hashring.balancer.options import check_load_factor
from hashring.errors import ConfigError
from hashring.validators import COUNT, SECONDS_OR_ZERO

SESSION_GAP = 1800.0
"""Seconds without a request after which a client's session is over: the half hour of web
analytics, and what session stores commonly expire after."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to run the pool.

    ``remembers``: a pin or token names the client's last host for as long as its session lives.
    ``drain``: for how many seconds a host that is to leave keeps its known clients first (that
    needs ``remembers``: only memory distinguishes known clients from new ones). ``load_factor`` and
    ``load_floor`` bound the requests in flight, as ``LoadBalancer`` does.
    """

    name: str
    remembers: bool = False
    drain: float = 0.0
    load_factor: float | None = None
    load_floor: int = 1

    def __post_init__(self) -> None:
        check_load_factor(self.load_factor)
        COUNT(self.load_floor, "load_floor")
        SECONDS_OR_ZERO(self.drain, "drain")
        if self.drain and not self.remembers:
            raise ConfigError(
                f"scenario {self.name!r}: a drain keeps only sessions that are remembered",
                option="drain",
            )


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long a request is in flight: ``mean`` seconds, ``constant`` or ``exponential``.

    The times are drawn once, in the order of arrival: every scenario serves the same ones.

    >>> ServiceTime(0.2, "constant").times(2)
    [0.2, 0.2]
    """

    mean: float = 0.1
    kind: Literal["constant", "exponential"] = "exponential"
    seed: int = 0

    def times(self, requests: int) -> list[float]:
        """The seconds of each of ``requests`` requests. Raises ``ConfigError``."""
        if not 0 < self.mean < float("inf") or self.kind not in ("constant", "exponential"):
            raise ConfigError(
                "a service time is a mean above 0 seconds, constant or exponential; got "
                f"{self.mean!r} and {self.kind!r}",
                option="service",
            )
        if self.kind == "constant":
            return [self.mean] * requests
        draw = random.Random(self.seed).expovariate
        return [draw(1 / self.mean) for _ in range(requests)]

    def __str__(self) -> str:
        return f"{self.kind}, mean {self.mean:g} s"


def scenarios(
    load_factor: float = 1.25, floors: Iterable[int] = (1, 8, 32), drain: float = SESSION_GAP
) -> tuple[Scenario, ...]:
    """What is usually asked: nothing remembered; remembered; drained too; bounded, per floor.

    >>> [scenario.name for scenario in scenarios(floors=[8])]
    ['placement alone', 'remembered', 'remembered, drained', 'bounded 1.25, floor 8']
    """
    return (
        Scenario("placement alone"),
        Scenario("remembered", remembers=True),
        Scenario("remembered, drained", remembers=True, drain=drain),
        *(
            Scenario(
                f"bounded {load_factor:g}, floor {floor}", load_factor=load_factor, load_floor=floor
            )
            for floor in floors
        ),
    )
