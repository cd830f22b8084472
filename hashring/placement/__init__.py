"""Who owns this key, otherwise?  One file per algorithm; a file's name is the placement's name.

A placement freezes a list of hosts into a ``Table``. To add one, add a file ``my_own.py`` with a
function ``build(hosts, *, option=default, ...) -> Table``; it is then known as ``"my-own"``.

>>> create("ring", ["web1", "web2", "web3"]).lookup("session-42")
'web3'
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from hashring.errors import ConfigError
from hashring.hosts import Host, HostsLike, as_hosts
from hashring.keys import Key

__all__ = ["SECRETS", "Recipe", "Table", "create", "module", "names", "options", "recipe"]


class Table(Protocol):
    """A placement frozen for one membership: immutable, safe for any number of threads.

    Laws, for every key: ``lookup(key)`` is None or ``next(walk(key))``; ``walk`` gives each host
    once; ``lookup(key, unavailable=d)`` equals ``without(d).lookup(key)`` and is never in ``d``.
    """

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of its hosts."""

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean an equal walk for every key."""

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``; None where the program that this follows would not hash."""

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts for ``key``, owner first, each once, lazily."""

    def without(self, names: Iterable[str]) -> Table:
        """The table as this program has it while ``names`` are down."""


SECRETS = frozenset({"key_secret"})
"""The options that no listing shows, no report prints and no file of settings holds."""

Recipe: TypeAlias = Callable[[tuple[Host, ...]], Table]
"""What makes a table of the hosts that are in: any callable of this form is a placement."""


def names() -> list[str]:
    """The placements there are, sorted. Cost: one directory listing.

    >>> "ring" in names() and "modulo" in names()
    True
    """
    found = (entry.name for entry in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def module(name: str) -> ModuleType:
    """The module of the placement ``name``; ``ConfigError`` lists the known ones.

    >>> module("modulo").__name__
    'hashring.placement.modulo'
    """
    if not isinstance(name, str) or name not in names():
        raise ConfigError(
            f"there is no placement {name!r}; the placements are {', '.join(names())}",
            option="placement",
        )
    return import_module(f"{__name__}.{name.replace('-', '_')}")


def options(name: str) -> Mapping[str, Any]:
    """The options of the placement ``name`` with their defaults, but for secrets.

    What is listed here is shown to people, which a secret never is; ``recipe`` takes it all the
    same.

    >>> dict(options("ring"))
    {'vnodes': 512, 'seed': 0}
    """
    return {k: v for k, v in _parameters(module(name)).items() if k not in SECRETS}


def _parameters(found: ModuleType) -> dict[str, Any]:
    parameters = inspect.signature(found.build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def recipe(name: str, **given: Any) -> Recipe:
    """The recipe ``hosts -> table`` of the placement ``name`` with the options ``given``.

    A placement that can patch its last table instead of building anew defines ``recipe`` itself.

    >>> recipe("ring", vnodes=64)((Host("a"), Host("b"))).hosts
    ('a', 'b')
    """
    found = module(name)
    known = options(name)
    for option in given:
        if option not in _parameters(found):
            listing = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "none"
            raise ConfigError(
                f"placement {name!r} has no option {option!r}; its options are {listing}",
                option=option,
            )
    made: Recipe = getattr(found, "recipe", partial(partial, found.build))(**given)
    return made


def create(name: str, hosts: HostsLike, **options: Any) -> Table:
    """The table of the placement ``name`` over ``hosts``.

    Raises ``ConfigError`` for an unknown name or option, and what ``as_hosts`` raises.

    >>> create("modulo", ["a", "b", "c"]).lookup("session-42")
    'a'
    """
    return recipe(name, **options)(as_hosts(hosts))
