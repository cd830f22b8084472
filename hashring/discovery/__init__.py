"""Sources of hosts: one file each, named after the scheme of its URLs.

A ``Source`` watches a file, a zone or a registry and yields complete memberships; ``Discovery``
makes them the members of a balancer's pool. Routers that never talk to each other agree, because
they see the same membership: a name decides the routing, so each source states its identity rule,
and a new address under an old name moves no key.

To add a source, add a file ``my_own.py`` with a class that has ``watch()`` (see ``Source``), a pure
``parse(payload) -> Membership`` and ``from_url(url, **options)``; it is then known by URLs that
begin with ``my-own:``. Files that begin with an underscore are shared parts.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer()
>>> with Discovery(source("static:web1@10.0.0.1:80,web2=2"), lb):
...     lb.hosts
(Host('web1', address='10.0.0.1:80'), Host('web2', 2.0))
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from hashring.discovery._backoff import Backoff
from hashring.discovery._membership import Entry, Finding, Membership, Source, gather, weight_from
from hashring.discovery.change_filter import DEBOUNCE, HOLD, ChangeFilter
from hashring.discovery.reconciler import HOLDER, Notice
from hashring.discovery.runner import WAIT, Discovery
from hashring.errors import ConfigError
from hashring.registry import Registry

__all__ = [
    "DEBOUNCE",
    "HOLD",
    "HOLDER",
    "WAIT",
    "Backoff",
    "ChangeFilter",
    "Discovery",
    "Entry",
    "Finding",
    "Membership",
    "Notice",
    "Source",
    "gather",
    "module",
    "names",
    "source",
    "weight_from",
]


_REGISTRY = Registry(__name__, "source")


def names() -> list[str]:
    """All sources, those of other packages too, sorted.

    >>> "file" in names() and "static" in names()
    True
    """
    return _REGISTRY.names()


def module(name: str) -> ModuleType:
    """The module of the source ``name``. Raises ``ConfigError`` for an unknown name.

    >>> module("static").__name__
    'hashring.discovery.static'
    """
    found: ModuleType = _REGISTRY.get(name)
    return found


def source(url: str, **options: Any) -> Source:
    """The source that ``url`` names by its scheme; ``options`` overrule those of its query.

    Raises ``ConfigError`` for an unknown scheme or option and for a missing extra. Nothing is
    read yet.

    >>> str(source("static:a,b"))
    'static:a,b'
    """
    scheme, colon, _ = url.partition(":") if isinstance(url, str) else ("", "", "")
    if not colon:
        raise ConfigError(
            f"a source is a URL such as file:hosts.toml or dns:web.internal, got {url!r}",
            option="source",
        )
    made: Source = module(scheme.lower()).from_url(url, **options)
    return made
