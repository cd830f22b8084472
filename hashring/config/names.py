"""Which words name a placement, a strategy, a source of client IDs?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hashring import discovery, placement, strategies
from hashring.affinity.identity import (
    Source,
    TrustedProxies,
    client_address,
    cookie,
    first_of,
    header,
    json_field,
    path_part,
    prompt_prefix,
    query,
)
from hashring.config.kinds import LIST, Kind, suggestion
from hashring.errors import ConfigError

__all__ = ["NO_PLACEMENT", "PLACEMENT", "SOURCES", "SOURCE_URL", "STRATEGY", "identity"]

NO_PLACEMENT = "none"
"""The name of no placement: every request goes to the strategy."""


def _placement(value: Any) -> str:
    known = [*placement.names(), NO_PLACEMENT]
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"there is no placement {value!r}: {suggestion(value, known)}")
    return value


def _strategy(value: Any) -> str:
    known = strategies.names()
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"there is no strategy {value!r}: {suggestion(value, known)}")
    return value


def _path_part(number: str) -> Source:
    try:
        return path_part(int(number))
    except ValueError:
        raise ConfigError(f"path takes the number of a part, from 0, got {number!r}") from None


_NAMED: Mapping[str, Callable[[str], Source]] = {
    "cookie": cookie,
    "header": header,
    "query": query,
    "path": _path_part,
    "json": json_field,
}
_BARE = ("address", "prompt")


def _source(text: str, proxies: TrustedProxies) -> Source:
    word, _, name = text.partition(":")
    if word in _NAMED and name:
        return _NAMED[word](name)
    if text == "address":
        return client_address(proxies)
    if text == "prompt":
        return prompt_prefix()
    if word in _NAMED:
        raise ConfigError(f"{text!r} names nothing: write it as '{word}:NAME'")
    known = [*_NAMED, *_BARE]
    raise ConfigError(f"there is no source {text!r}: {suggestion(word, known)}")


def identity(sources: tuple[str, ...], proxies: TrustedProxies) -> Source | None:
    """What reads client IDs, in the order of ``sources``; None for nothing.

    Raises ``ConfigError``.

    >>> identity(("header:x-user", "address"), TrustedProxies([]))
    first_of(header('x-user'), client_address(TrustedProxies([])))
    """
    made = [_source(text, proxies) for text in sources]
    return first_of(*made) if made else None


def _sources(value: Any) -> tuple[str, ...]:
    texts: tuple[str, ...] = LIST(value)
    identity(texts, TrustedProxies(()))
    return texts


def _source_url(value: Any) -> str:
    if not isinstance(value, str) or ":" not in value:
        raise ConfigError(f"must be a URL such as 'file:hosts.toml', got {value!r}")
    scheme, known = value.partition(":")[0].lower(), discovery.names()
    if scheme not in known:
        raise ConfigError(f"there is no source {scheme!r}: {suggestion(scheme, known)}")
    discovery.source(value)  # its own words for what is wrong behind the scheme
    return value


PLACEMENT = Kind("the name of a placement, or 'none'", _placement)
STRATEGY = Kind("the name of a strategy", _strategy)
SOURCES = Kind("a list of sources", _sources)
SOURCE_URL = Kind("the URL of a source", _source_url)
