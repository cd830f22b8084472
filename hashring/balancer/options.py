"""What may a balancer be made with?  Each option checked, or one clear ConfigError."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import Recipe, recipe
from hashring.placement.ring import RingRecipe
from hashring.ring import HashRing
from hashring.strategies import Rng, RoundRobin, Strategy, View
from hashring.validators import COUNT, SECONDS_OR_ZERO, choice, is_number, number, option, optional

__all__ = [
    "Fallback",
    "Placement",
    "bound_fallback",
    "by_strategy",
    "clock_of_seconds",
    "failure_types",
    "load_bound",
    "placed_by",
    "seconds_from_now",
    "source_of_chance",
]

Fallback: TypeAlias = Strategy | Callable[[View], Host]
Placement: TypeAlias = str | Recipe | HashRing | None

LOAD_FACTOR = number("a number above 1 (1.25 allows 25 % more than the fair share)", 1, above=True)


@dataclass(frozen=True)
class BalancerOptions:
    """The options of a balancer that a configuration file can set."""

    capacity: int | None = option(
        None,
        check=optional(COUNT, 0, "no limit"),
        help="Maximum number of hosts. 0 means no limit.",
    )
    load_factor: float | None = option(
        None,
        check=optional(LOAD_FACTOR, 0, "no limit"),
        help="Limit of a host's requests in flight, as a multiple of its fair share. 0 means no "
        "limit.",
    )
    load_floor: int = option(
        1,
        check=COUNT,
        help="Concurrent requests per host below which load_factor never applies.",
    )
    new_clients: str = option(
        "walk",
        check=choice("walk", "fallback"),
        help="Who places a client that has no host yet: walk is the placement, the same in all "
        "routers; fallback is the strategy, by load.",
    )


def placed_by(placement: Placement) -> Recipe | None:
    """The recipe of a placement's name, of an empty ring's options, or as given; None for none.

    >>> placed_by(HashRing(["a"]))
    Traceback (most recent call last):
    hashring.errors.ConfigError: placement takes an empty HashRing, for its options, and this one \
has 1 host: give the hosts to the balancer
    """
    if placement is None:
        return None
    if isinstance(placement, str):
        return recipe(placement)
    if isinstance(placement, HashRing):
        if len(placement):
            hosts = "1 host" if len(placement) == 1 else f"{len(placement)} hosts"
            raise ConfigError(
                f"placement takes an empty HashRing, for its options, and this one has {hosts}: "
                "give the hosts to the balancer",
                option="placement",
            )
        return RingRecipe(placement.copy())
    if callable(placement):
        return placement
    raise ConfigError(
        "placement must be a name, a recipe hosts -> table, an empty HashRing or None, got "
        f"{placement!r}",
        option="placement",
    )


def bound_fallback(fallback: Fallback | None, rng: Rng | None) -> Callable[[View], Host]:
    """What chooses for anonymous requests; a strategy object is bound to this balancer.

    >>> bound_fallback("round-robin", None)
    Traceback (most recent call last):
    hashring.errors.ConfigError: fallback must be a strategy object or a callable view -> Host, \
got 'round-robin'
    """
    strategy = RoundRobin() if fallback is None else fallback
    if isinstance(strategy, Strategy):
        strategy.bind(rng)
    choose: Any = getattr(strategy, "choose", strategy)
    if isinstance(strategy, type) or not callable(choose):
        raise ConfigError(
            f"fallback must be a strategy object or a callable view -> Host, got {fallback!r}",
            option="fallback",
        )
    if type(strategy).__module__.startswith("hashring.strategies."):
        return choose  # type: ignore[no-any-return]  # ours choose from the view, the contract tests say
    return _checked(choose)


def _checked(choose: Callable[[View], Any]) -> Callable[[View], Host]:
    def chosen(view: View) -> Host:
        host = choose(view)
        for usable in view.hosts:
            if host == usable:
                return usable  # not the one that was given: it may remember an old address
        raise ConfigError(
            f"the fallback chose {host!r}, which is none of view.hosts", option="fallback"
        )

    return chosen


def load_bound(load_factor: float | None) -> float | None:
    """``load_factor`` if it is None or a finite number above 1.

    >>> load_bound(1.25)
    1.25
    """
    return None if load_factor is None else LOAD_FACTOR(load_factor, "load_factor")


def failure_types(failures: tuple[type[BaseException], ...]) -> tuple[type[BaseException], ...]:
    """``failures`` as a tuple of exception types; one type alone is taken too.

    >>> failure_types(OSError)
    (<class 'OSError'>,)
    """
    given: Any = (failures,) if isinstance(failures, type) else failures
    if not isinstance(given, (tuple, list)) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in given
    ):
        raise ConfigError(
            f"failures must be a tuple of exception types, got {failures!r}", option="failures"
        )
    return tuple(given)


def source_of_chance(rng: Any) -> Any:
    """``rng`` if it has ``random`` and ``randrange``; for None the ``random`` module itself.

    >>> source_of_chance(None).__name__
    'random'
    """
    if rng is None:
        return random
    if not all(callable(getattr(rng, name, None)) for name in ("random", "randrange")):
        raise ConfigError(f"rng must be as random.Random(), got {rng!r}", option="rng")
    return rng


def clock_of_seconds(clock: Callable[[], float]) -> Callable[[], float]:
    """``clock`` if it can be called and answers a number.

    >>> clock_of_seconds(lambda: 1.5)()
    1.5
    """
    if not callable(clock) or not is_number(clock()):
        raise ConfigError(
            f"clock must be a function that answers seconds, got {clock!r}", option="clock"
        )
    return clock


def by_strategy(new_clients: str) -> bool:
    """Whether ``new_clients`` is ``"fallback"`` rather than ``"walk"``.

    >>> by_strategy("random")
    Traceback (most recent call last):
    hashring.errors.ConfigError: new_clients must be 'walk' (the placement says where, alike in \
all routers) or 'fallback' (the strategy does, by load), got 'random'
    """
    if new_clients not in ("walk", "fallback"):
        raise ConfigError(
            "new_clients must be 'walk' (the placement says where, alike in all routers) or "
            f"'fallback' (the strategy does, by load), got {new_clients!r}",
            option="new_clients",
        )
    return new_clients == "fallback"


def seconds_from_now(deadline: float | None) -> float | None:
    """``deadline`` if it is None or a finite number of at least 0 seconds.

    >>> seconds_from_now(30)
    30.0
    """
    return None if deadline is None else SECONDS_OR_ZERO(deadline, "deadline")
