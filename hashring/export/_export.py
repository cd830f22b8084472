"""Checks whether a proxy can have the routing of a pool, and writes its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from textwrap import wrap
from typing import Protocol

from hashring import placement as placements
from hashring.errors import ConfigError, HashringError
from hashring.export._routing import Routing
from hashring.registry import Registry
from hashring.text import plural

_WIDTH = 98  # of a comment, in columns
_SAMPLE = 2000  # keys: a measured fraction is off by about 1 %, which is enough to decide by
_REGISTRY = Registry(__name__.rpartition(".")[0], "proxy", plural="proxies")

_HINTS = {
    "json": "; have clients send it in a header too",
    "prompt": "; have clients send an ID of the conversation in a header",
    "token": "; without tokens (--without-tokens), clients that growth or a drain left elsewhere "
    "go to their owners",
}


class _Proxy(Protocol):
    """The contents of a proxy's module."""

    TITLE: str
    READS: frozenset[str]
    BRIDGE: bool
    notes: Callable[[Routing], Iterable[str]]
    config: Callable[[Routing], str]


def proxies() -> list[str]:
    """All proxies, those of other packages too, sorted.

    >>> proxies()
    ['caddy', 'envoy', 'haproxy', 'nginx', 'traefik']
    """
    return _REGISTRY.names()


def export(proxy: str, routing: Routing) -> str:
    """A complete configuration of ``proxy`` with this routing. Cost: that of its table.

    Raises ``ConfigError``, in one line, for what the proxy cannot do: a placement that it lacks,
    a keyed pool, an identity that it cannot read.

    >>> keyed = Routing(["10.0.0.1:80"], "ring", {"key_secret": b"0123456789abcdef"})
    >>> export("envoy", keyed)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hashring.errors.ConfigError: Envoy cannot route a keyed pool: ...
    """
    module: _Proxy = _REGISTRY.get(proxy)
    if routing.bridge is None:
        _check_placement(proxy, module, routing)
        _check_identity(module, routing)
    elif not module.BRIDGE:
        raise ConfigError(
            f"{module.TITLE} has no sticky cookie that a bridge could write: "
            "bridge to haproxy or nginx",
            option="bridge",
        )
    return "".join(_comments([_head(module.TITLE, routing), *module.notes(routing)])) + (
        module.config(routing)
    )


def _head(title: str, routing: Routing) -> str:
    hosts = plural(len(routing.pool), "host")
    if routing.bridge is not None:
        return f"{title}: {hosts}, by the cookie {routing.bridge.cookie}."
    by = ", then ".join(routing.identity)
    return (
        f"{title}: {hosts} under the placement {routing.placement}, by {by}.\n"
        f"Fingerprint {routing.table.fingerprint}: while that of the Python pool begins so, both "
        "give each client ID the same host."
    )


def _comments(notes: Iterable[str]) -> Iterator[str]:
    for number, note in enumerate(notes):
        if number:
            yield "#\n"
        for line in note.splitlines():
            yield from (f"# {part}\n" for part in wrap(line, _WIDTH, break_on_hyphens=False))
    yield "\n"


def _check_placement(proxy: str, module: _Proxy, routing: Routing) -> None:
    title = module.TITLE
    if getattr(routing.table, "key_check", None) is not None:
        raise ConfigError(
            f"{title} cannot route a keyed pool: no proxy's hash takes a secret; "
            + _instead(proxy, module, routing),
            option="key_secret",
        )
    if proxy not in getattr(placements.module(routing.placement), "EXPORTS", ()):
        raise ConfigError(
            f"{title} does not have the placement {routing.placement!r}; "
            + _instead(proxy, module, routing),
            option="placement",
        )


def _instead(proxy: str, module: _Proxy, routing: Routing) -> str:
    """The placements of the proxy, each with the share of clients that a change to it moves."""
    keys = _sample(routing)
    ours = [routing.table.lookup(key) for key in keys]
    choices = [
        f"{name} ({_count_moves(name, routing, keys, ours)})"
        for name in placements.names()
        if proxy in getattr(placements.module(name), "EXPORTS", ())
    ]
    bridge = "; a bridge by cookies moves no client" if module.BRIDGE else ""
    return f"it has {', '.join(choices)}{bridge}"


def _sample(routing: Routing) -> list[str]:
    if routing.identity == ("address",):
        return [f"10.{number % 7}.{number >> 3}.{number & 7}" for number in range(_SAMPLE)]
    return [f"session-{number}" for number in range(_SAMPLE)]


def _count_moves(name: str, routing: Routing, keys: list[str], ours: list[str | None]) -> str:
    try:
        other = placements.create(name, routing.pool)
    except HashringError as error:
        return f"not with these hosts: {error}"
    theirs = [other.lookup(key) for key in keys]
    if None in theirs:
        return "for client addresses only"
    moved = sum(our != their for our, their in zip(ours, theirs, strict=True))
    return f"changing to it moves {100 * moved / len(keys):.1f} % of the clients"


def _check_identity(module: _Proxy, routing: Routing) -> None:
    if not routing.identity:
        raise ConfigError(
            "requests have no client ID: give an identity, such as "
            "'header:x-session' or 'cookie:sid'",
            option="identity",
        )
    for place, (kind, name) in zip(routing.identity, routing.terms, strict=True):
        if kind not in module.READS or not _names(kind, name):
            raise ConfigError(
                f"{module.TITLE} cannot read a client ID from {place!r}; it reads "
                + ", ".join(_spell(kind) for kind in sorted(module.READS))
                + _HINTS.get(kind, ""),
                option="identity",
            )


def _names(kind: str, name: str) -> bool:
    """Whether the text after the colon can be a name of that kind."""
    if kind == "path":
        return re.fullmatch("-?[0-9]{1,3}", name) is not None
    return (kind == "address") != bool(name)


def _spell(kind: str) -> str:
    return {"address": "address", "path": "path:NUMBER"}.get(kind, f"{kind}:NAME")
