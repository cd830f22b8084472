"""Who says who is in?  One file per source; a file's name is the scheme of its URLs.

A ``Source`` watches a file, a zone, a registry, and tells complete memberships; ``Discovery`` makes
them the members of a balancer's pool. Routers that never talk to each other agree, because they
see the same membership: a name decides the routing, so each source states its identity rule, and
a new address under an old name moves no key.

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

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

from hashring.discovery._backoff import Backoff
from hashring.discovery._gate import GRACE, QUIET, Gate
from hashring.discovery._install import HOLDER
from hashring.discovery._membership import Entry, Finding, Membership, Source, gather, weight_from
from hashring.discovery._notices import Notice
from hashring.discovery._runner import WAIT, Discovery
from hashring.errors import ConfigError

__all__ = [
    "GRACE",
    "HOLDER",
    "QUIET",
    "WAIT",
    "Backoff",
    "Discovery",
    "Entry",
    "Finding",
    "Gate",
    "Membership",
    "Notice",
    "Source",
    "gather",
    "module",
    "names",
    "source",
    "weight_from",
]


def names() -> list[str]:
    """The sources there are, sorted. Cost: one directory listing.

    >>> "file" in names() and "static" in names()
    True
    """
    found = (entry.name for entry in pkgutil.iter_modules(__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def module(name: str) -> ModuleType:
    """The module of the source ``name``; ``ConfigError`` lists the known ones.

    >>> module("static").__name__
    'hashring.discovery.static'
    """
    if name not in names():
        raise ConfigError(
            f"there is no source {name!r}; a source's URL begins with one of "
            f"{', '.join(f'{known}:' for known in names())}",
            option="source",
        )
    return import_module(f"{__name__}.{name.replace('-', '_')}")


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
