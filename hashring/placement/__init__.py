"""Who owns this key, otherwise?  One file per algorithm; a file's name is the placement's name.

A placement freezes a list of hosts into a ``Table``. To add one, add a file ``my_own.py`` with a
function ``build(hosts, *, option=default, ...) -> Table``; it is then known as ``"my-own"``.

>>> create("ring", ["web1", "web2", "web3"]).lookup("session-42")
'web3'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from hashring.errors import ConfigError
from hashring.hosts import Host, HostsLike, as_hosts
from hashring.keys import Key
from hashring.placement._adapted import adapt_table
from hashring.registry import Registry, check_known, keyword_options

__all__ = [
    "SECRETS",
    "Recipe",
    "Table",
    "adapt_table",
    "check_order",
    "create",
    "module",
    "names",
    "options",
    "recipe",
]


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


_REGISTRY = Registry(__name__, "placement")

SECRETS = frozenset({"key_secret"})
"""The options that no listing shows, no report prints and no file of settings holds."""

Recipe: TypeAlias = Callable[[tuple[Host, ...]], Table]
"""What makes a table of the hosts that are in: any callable of this form is a placement."""


def names() -> list[str]:
    """All placements, those of other packages too, sorted.

    >>> "ring" in names() and "modulo" in names()
    True
    """
    return _REGISTRY.names()


def module(name: str) -> ModuleType:
    """The module of the placement ``name``. Raises ``ConfigError`` for an unknown name.

    >>> module("modulo").__name__
    'hashring.placement.modulo'
    """
    found: ModuleType = _REGISTRY.get(name)
    return found


def options(name: str) -> Mapping[str, Any]:
    """The options of the placement ``name`` with their defaults, but for secrets.

    What is listed here is shown to people, which a secret never is; ``recipe`` takes it all the
    same.

    >>> dict(options("ring"))
    {'vnodes': 512, 'seed': 0}
    """
    found = keyword_options(module(name).build)
    return {option: default for option, default in found.items() if option not in SECRETS}


def recipe(name: str, **given: Any) -> Recipe:
    """The recipe ``hosts -> table`` of the placement ``name`` with the options ``given``.

    A placement that can patch its last table defines ``recipe`` itself.

    >>> recipe("ring", vnodes=64)((Host("a"), Host("b"))).hosts
    ('a', 'b')
    """
    found = module(name)
    hidden = SECRETS & keyword_options(found.build).keys()
    check_known(f"placement {name!r}", given, options(name), hidden=hidden)
    made: Recipe = getattr(found, "recipe", partial(partial, found.build))(**given)
    return made


def create(name: str, hosts: HostsLike, **options: Any) -> Table:
    """The table of the placement ``name`` over ``hosts``.

    Raises ``ConfigError`` for an unknown name or option, for hosts without an order where it counts
    (``check_order``), and what ``as_hosts`` raises.

    >>> create("modulo", ["a", "b", "c"]).lookup("session-42")
    'a'
    """
    check_order(name, hosts)
    return recipe(name, **options)(as_hosts(hosts))


def check_order(name: object, hosts: object) -> None:
    """Refuse a set of hosts for a placement that is not order-free: each process would differ.

    >>> check_order("ring", {"a", "b"})
    >>> check_order("nginx-hash", {"a", "b"})
    Traceback (most recent call last):
    hashring.errors.ConfigError: placement 'nginx-hash' counts the order of its hosts, and a set \
has none: give a list
    """
    if not isinstance(name, str):  # a recipe, which states no guarantees
        return
    if isinstance(hosts, (set, frozenset)) and "order_free" not in module(name).GUARANTEES:
        raise ConfigError(
            f"placement {name!r} counts the order of its hosts, and a set has none: give a list",
            option="hosts",
        )
