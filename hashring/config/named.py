"""Validators of names: of placements, strategies, sources of hosts and sources of client IDs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hashring import discovery, placement, strategies
from hashring.affinity import learning
from hashring.affinity.identity import (
    IDENTITY_BODY,
    IdentitySource,
    TrustedProxies,
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    llm_session,
    path_part,
    prompt_prefix,
    query,
)
from hashring.errors import ConfigError
from hashring.text import bounded_repr, suggestion
from hashring.validators import TEXTS, Validator, choice

NO_PLACEMENT = "none"
"""The name that stands for no placement: every request goes to the strategy."""


def _placement(value: Any) -> str:
    if value != NO_PLACEMENT:
        placement.module(value)
    return str(value)


def _strategy(value: Any) -> str:
    strategies.find(value)
    return str(value)


def _path_part(number: str) -> IdentitySource:
    try:
        return path_part(int(number))
    except ValueError:
        raise ConfigError(f"path takes the number of a part, from 0, got {number!r}") from None


_NAMED: Mapping[str, Callable[[str], IdentitySource]] = {
    "cookie": cookie,
    "header": header,
    "query": query,
    "path": _path_part,
    "json": json_field,
}
_PAGES = ("healthz", "readyz", "metrics")
_BARE = ("address", "prompt", "llm")
_LONGEST = 65536  # bytes of a prefix


def _source(text: str, proxies: TrustedProxies, limit: int = IDENTITY_BODY) -> IdentitySource:
    word, _, name = text.partition(":")
    if word == "json" and name:
        return json_field(name, limit=limit)
    if text == "llm":
        return llm_session(limit=limit)
    if word in _NAMED and name:
        return _NAMED[word](name)
    if text == "address":
        return client_address(proxies)
    if text == "prompt":
        return prompt_prefix()
    if word in _NAMED:
        raise ConfigError(f"{text!r} needs a name: write '{word}:NAME'")
    raise ConfigError(f"there is no source {text!r}: {suggestion(word, [*_NAMED, *_BARE])}")


def identity(
    sources: tuple[str, ...], proxies: TrustedProxies, limit: int = IDENTITY_BODY
) -> IdentitySource | None:
    """A reader of client IDs that tries ``sources`` in order; None without sources.

    ``limit`` is how many bytes of a body it looks into. Raises ``ConfigError``.

    >>> identity(("header:x-user", "address"), TrustedProxies([]))
    first_of(header('x-user'), client_address(TrustedProxies([])))
    """
    made = [_source(text, proxies, limit) for text in sources]
    return first_of(*made) if made else None


def _sources(value: Any) -> tuple[str, ...]:
    texts = TEXTS(value)
    identity(texts, TrustedProxies(()))
    return texts


def _source_url(value: Any) -> str:
    if not isinstance(value, str) or ":" not in value:
        raise ConfigError(f"must be a URL such as 'file:hosts.toml', got {bounded_repr(value)}")
    discovery.source(value)
    return value


def _cost(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    kind, _, name = value.partition(":")
    if value in ("requests", "bytes"):
        return value
    if kind not in ("header", "json") or not name:
        raise ValueError
    _NAMED[kind](name)
    return value


def _group(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    kind, _, name = value.partition(":")
    if kind == "prefix" and name.isascii() and name.isdigit() and 0 < int(name[:8]) <= _LONGEST:
        return value
    if kind not in ("header", "json") or not name:
        raise ValueError
    _NAMED[kind](name)
    return value


COST = Validator("requests, bytes, header:NAME or json:FIELD", _cost)
GROUP = Validator("header:NAME, json:FIELD or prefix:BYTES (at most 65536)", _group)


def _pages(value: Any) -> tuple[str, ...]:
    texts = TEXTS(value)
    for text in texts:
        choice(*_PAGES)(text)
    return texts


def _redis_url(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError
    return value


REDIS_URL = Validator("the URL of a Redis, such as 'redis://10.0.0.1:6379/0'", _redis_url)
PAGES = Validator("a list of pages", _pages)
PLACEMENT = Validator("the name of a placement, or 'none'", _placement)
STRATEGY = Validator("the name of a strategy", _strategy)
SOURCES = Validator("a list of sources", _sources)
SOURCE_URL = Validator("the URL of a source", _source_url)


def _store(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if value != "memory" and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError
    return value


def learn_rules(
    values: tuple[Any, ...],
    limit: int = IDENTITY_BODY,
) -> Iterator[tuple[learning.LearnRule, tuple[IdentitySource, ...]]]:
    """Each rule of ``sessions.learn``, with the sources that read its IDs in a request.

    Raises ``ConfigError``.

    >>> [rule.mode for rule, _ in learn_rules(("mcp", {"preset": "socketio"}))]
    ['table', 'table']
    """
    for value in values:
        rule = _learn_rule(value)
        yield rule, tuple(_source(place, TrustedProxies(()), limit) for place in rule.places)


_LEARN_KEYS = ("preset", "from", "find", "mode", "forget_on")


def _learn_rule(value: Any) -> learning.LearnRule:
    if isinstance(value, str):
        return learning.preset(value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"a rule is a preset or a table, got {bounded_repr(value)}")
    for key in value:
        if key not in _LEARN_KEYS:
            raise ConfigError(f"a rule has no key {key!r}: {suggestion(key, list(_LEARN_KEYS))}")
    mode = value.get("mode", "table")
    if "preset" in value:
        if "from" in value or "find" in value:
            raise ConfigError("a rule has a preset, or from and find, not both")
        rule = learning.preset(value["preset"], mode)
    else:
        rule = learning.LearnRule(_as_texts(value, "from"), _as_texts(value, "find"), mode)
    if "forget_on" in value:
        rule = replace(rule, forget_on=tuple(value["forget_on"]))
    return rule


def _as_texts(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = value.get(key, ())
    return TEXTS([found] if isinstance(found, str) else found)


def _learn(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError
    for _ in learn_rules(tuple(value)):
        pass
    return tuple(value)


STORE = Validator("memory or the URL of a Redis", _store)
LEARN = Validator("a list of presets or tables", _learn)
