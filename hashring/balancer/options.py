"""The options of a balancer: each checked, or one clear ``ConfigError``."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.placement import Recipe, recipe
from hashring.placement.ring import RingRecipe
from hashring.ring import HashRing, RingTable
from hashring.strategies import LeastOutstanding, Rng, RoundRobin, Strategy, View
from hashring.validators import (
    COUNT,
    FLAG,
    SECONDS_OR_ZERO,
    choice,
    is_number,
    number,
    option,
    optional,
)

Fallback: TypeAlias = Strategy | Callable[[View], Host]
PlacementLike: TypeAlias = str | Callable[[tuple[Host, ...]], Any] | HashRing | None
"""A callable makes a table, an object with ``lookup`` and ``walk``, or a function of a key."""

LOAD_FACTOR = number("a number above 1 (1.25 allows 25 % more than the fair share)", 1, above=True)


COST = number("a finite number of at least 0", 0)
PATIENCE = number("a number of at least 0 (5 is a good value)", 0)


MAX_IN_FLIGHT = number("a number of at least 1", 1)


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
    max_in_flight: float | None = option(
        None,
        check=optional(MAX_IN_FLIGHT, 0, "no limit"),
        help="Maximum concurrent requests of a host of weight 1. 0 means no limit.",
    )
    on_unavailable: str = option(
        "move",
        check=choice("move", "refuse"),
        help="What happens to a known client whose host is down: move to another host, or refuse "
        "its requests with status 503, for state that must not be forked.",
    )
    return_home: bool = option(
        False,
        check=FLAG,
        help="Whether a known client that another host served while its own was down goes back.",
    )
    new_clients: str = option(
        "walk",
        check=choice("walk", "fallback"),
        help="Who places a client that has no host yet: walk is the placement, the same in all "
        "routers; fallback is the strategy, by load.",
    )


def as_recipe(placement: PlacementLike) -> Recipe | None:
    """The recipe of a placement's name, of an empty ring's options, or as given; None for none.

    >>> as_recipe(HashRing(["a"]))
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


def bind_fallback(fallback: Fallback | None, rng: Rng | None) -> Callable[[View], Host]:
    """What chooses for anonymous requests; a strategy object is bound to this balancer.

    >>> bind_fallback("round-robin", None)
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
    return _check_choices(choose)


def _check_choices(choose: Callable[[View], Any]) -> Callable[[View], Host]:
    def choose_checked(view: View) -> Host:
        host = choose(view)
        for usable in view.hosts:
            if host == usable:
                return usable  # not the one that was given: it may remember an old address
        raise ConfigError(
            f"the fallback chose {host!r}, which is not one of view.hosts", option="fallback"
        )

    return choose_checked


def check_load_factor(load_factor: float | None) -> float | None:
    """``load_factor`` if it is None or a finite number above 1.

    >>> check_load_factor(1.25)
    1.25
    """
    return None if load_factor is None else LOAD_FACTOR(load_factor, "load_factor")


def as_failures(
    failures: tuple[type[BaseException], ...] | type[BaseException],
) -> tuple[type[BaseException], ...]:
    """``failures`` as a tuple of exception types; one type alone is taken too.

    >>> as_failures(OSError)
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


def as_rng(rng: Any) -> Any:
    """``rng`` if it has ``random`` and ``randrange``; for None the ``random`` module itself.

    >>> as_rng(None).__name__
    'random'
    """
    if rng is None:
        return random
    if not all(callable(getattr(rng, name, None)) for name in ("random", "randrange")):
        raise ConfigError(f"rng must be as random.Random(), got {rng!r}", option="rng")
    return rng


def check_clock(clock: Callable[[], float]) -> Callable[[], float]:
    """``clock`` if it can be called and answers a number.

    >>> check_clock(lambda: 1.5)()
    1.5
    """
    if not callable(clock) or not is_number(clock()):
        raise ConfigError(
            f"clock must be a function that answers seconds, got {clock!r}", option="clock"
        )
    return clock


def prefers_strategy(new_clients: str) -> bool:
    """Whether ``new_clients`` is ``"fallback"`` rather than ``"walk"``.

    >>> prefers_strategy("random")
    Traceback (most recent call last):
    hashring.errors.ConfigError: new_clients must be 'walk' (by the placement, the same in all \
routers) or 'fallback' (by the strategy), got 'random'
    """
    if new_clients not in ("walk", "fallback"):
        raise ConfigError(
            "new_clients must be 'walk' (by the placement, the same in all routers) or "
            f"'fallback' (by the strategy), got {new_clients!r}",
            option="new_clients",
        )
    return new_clients == "fallback"


def check_deadline(deadline: float | None) -> float | None:
    """``deadline`` if it is None or a finite number of at least 0 seconds.

    >>> check_deadline(30)
    30.0
    """
    return None if deadline is None else SECONDS_OR_ZERO(deadline, "deadline")


def check_ring_options(hosts: object, table: object) -> None:
    """Refuse hosts from a ring whose options are not those of ``table``: keys would move.

    >>> check_ring_options(HashRing(["a"], vnodes=64), HashRing(["a"]).table)
    Traceback (most recent call last):
    hashring.errors.ConfigError: these hosts come from a ring with other options (64 vnodes, seed \
0): give them as ring.weights, and the options as placement=HashRing(vnodes=64, seed=0)
    """
    if not isinstance(hosts, HashRing) or not isinstance(table, RingTable):
        return
    ring = hosts.table
    if (ring.vnodes, ring.seed, ring.key_check) != (table.vnodes, table.seed, table.key_check):
        secret = "" if ring.key_check is None else ", key_secret=..."
        raise ConfigError(
            f"these hosts come from a ring with other options ({ring.vnodes} vnodes, seed "
            f"{ring.seed}): give them as ring.weights, and the options as "
            f"placement=HashRing(vnodes={ring.vnodes}, seed={ring.seed}{secret})",
            option="hosts",
        )


def check_patience(
    patience: float | None,
    fallback: Fallback | None,
    new_clients: str,
    load_factor: float | None,
) -> float | None:
    """``patience``, where the other options let known clients leave a queue.

    >>> check_patience(5, None, "walk", None)
    Traceback (most recent call last):
    hashring.errors.ConfigError: patience needs fallback=LeastOutstanding() and \
new_clients="fallback": it compares outstanding work
    """
    if patience is None:
        return None
    if not isinstance(fallback, LeastOutstanding) or new_clients != "fallback":
        raise ConfigError(
            'patience needs fallback=LeastOutstanding() and new_clients="fallback": it compares '
            "outstanding work",
            option="patience",
        )
    if load_factor is not None:
        raise ConfigError(
            "load_factor does not go with patience: both move requests from busy hosts, and the "
            "walk that load_factor follows undoes the choice by outstanding work",
            option="load_factor",
        )
    return PATIENCE(patience, "patience")
