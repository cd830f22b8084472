"""The host of an anonymous or new client. One file per strategy, of the strategy's name.

A strategy is anything with ``choose(view) -> Host``, or a plain callable of that form. To add one,
add a file ``my_own.py`` with one public ``Strategy`` subclass; it is then known as ``"my-own"``.

>>> from types import SimpleNamespace
>>> from hashring.hosts import as_hosts
>>> create("round-robin").choose(SimpleNamespace(hosts=as_hosts(["web1"])))
Host('web1')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from hashring.errors import ConfigError
from hashring.registry import Registry, check_known, keyword_options
from hashring.strategies._base import Rng, Strategy, View
from hashring.strategies.fewest_sessions import FewestSessions
from hashring.strategies.least_connections import LeastConnections
from hashring.strategies.least_outstanding import LeastOutstanding
from hashring.strategies.peak_ewma import PeakEwma
from hashring.strategies.power_of_two_choices import PowerOfTwoChoices
from hashring.strategies.random import Random
from hashring.strategies.round_robin import RoundRobin
from hashring.strategies.smooth_weighted_round_robin import SmoothWeightedRoundRobin
from hashring.strategies.weighted_random import WeightedRandom
from hashring.strategies.weighted_round_robin import WeightedRoundRobin

__all__ = [
    "FewestSessions",
    "LeastConnections",
    "LeastOutstanding",
    "PeakEwma",
    "PowerOfTwoChoices",
    "Random",
    "Rng",
    "RoundRobin",
    "SmoothWeightedRoundRobin",
    "Strategy",
    "View",
    "WeightedRandom",
    "WeightedRoundRobin",
    "create",
    "find",
    "names",
    "options",
]


_REGISTRY = Registry(__name__, "strategy", plural="strategies", option="fallback")


def names() -> list[str]:
    """All strategies, those of other packages too, sorted.

    >>> "round-robin" in names() and "peak-ewma" in names()
    True
    """
    return _REGISTRY.names()


def find(name: str) -> type[Strategy]:
    """The class of the strategy ``name``. Raises ``ConfigError`` for an unknown name.

    >>> find("least-connections").__name__
    'LeastConnections'
    >>> find("fastest")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hashring.errors.ConfigError: there is no strategy 'fastest': the strategies are fewes...
    """
    module = _REGISTRY.get(name)
    found: list[type[Strategy]] = [
        each for each in vars(module).values() if _is_defined_in(module.__name__, each)
    ]
    if len(found) != 1:
        raise ConfigError(
            f"{module.__name__} must define one public Strategy subclass, it defines {len(found)}",
            option="fallback",
        )
    return found[0]


def options(name: str) -> Mapping[str, Any]:
    """The options of the strategy ``name`` with their defaults.

    >>> dict(options("round-robin"))
    {'rng': None}
    """
    return keyword_options(find(name))


def create(name: str, **given: Any) -> Strategy:
    """A new strategy of that name, for one balancer.

    Raises ``ConfigError`` for an unknown name or option, with the known ones.

    >>> create("weighted-random").USES_WEIGHT
    True
    >>> create("random", seed=1)
    Traceback (most recent call last):
    hashring.errors.ConfigError: strategy 'random' has no option 'seed'; its options are rng=None
    """
    found = find(name)
    check_known(f"strategy {name!r}", given, keyword_options(found))
    return found(**given)


def _is_defined_in(module: str, each: object) -> TypeGuard[type[Strategy]]:
    return (
        isinstance(each, type)
        and issubclass(each, Strategy)
        and each.__module__ == module
        and not each.__name__.startswith("_")
    )
