"""The cost of a request and the group of its session, for placement by outstanding work."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

from hashring.affinity.identity import IdentitySource, header, json_field
from hashring.gateway.headers import RequestHead

_JSON_LIMIT = 64 * 1024  # bytes of a body that is parsed for its cost: as for a client ID

Scope: TypeAlias = Mapping[str, Any]
Cost: TypeAlias = Callable[[Scope, RequestHead, bytes, bool], float | None]


class RequestCost:
    """Reads cost and group as the settings name them: ``bytes``, ``header:NAME``, ``json:FIELD``.

    A cost that is missing or invalid is None, which counts as average. A cost header counts only
    from a trusted proxy. ``body_limit`` is how many bytes of the body are read for both.

    >>> RequestCost("json:max_tokens").cost({}, None, b'{"max_tokens": 20}', False)
    20.0
    """

    def __init__(self, source: str = "requests", group: str | None = None) -> None:
        kind, _, name = source.partition(":")
        self.body_limit = _JSON_LIMIT if kind == "json" else 0
        self.cost: Cost = _no_cost
        if kind == "bytes":
            self.cost = _length
        elif kind == "header":
            self.cost = _header_cost(header(name))
        elif kind == "json":
            self.cost = _json_cost(name)
        self._group: IdentitySource | None = None
        self._prefix = 0
        kind, _, name = (group or "").partition(":")
        if kind == "prefix":
            self._prefix = int(name)
            self.body_limit = max(self.body_limit, self._prefix)
        elif kind:
            self._group = header(name) if kind == "header" else json_field(name)
            self.body_limit = max(self.body_limit, self._group.body_limit)

    def group(self, scope: Scope, body: bytes) -> str | bytes | None:
        """What the session shares with others; None for nothing."""
        if self._prefix:
            return blake2b(body[: self._prefix], digest_size=16).digest() if body else None
        return None if self._group is None else self._group(scope, body)


def _no_cost(scope: Scope, head: Any, body: bytes, trusted: bool) -> float | None:
    return None


def _length(scope: Scope, head: Any, body: bytes, trusted: bool) -> float | None:
    if head.chunked:
        return None
    return float(head.length or 0)


def _header_cost(source: IdentitySource) -> Cost:
    def cost(scope: Scope, head: Any, body: bytes, trusted: bool) -> float | None:
        return _number(source(scope)) if trusted else None

    return cost


def _json_cost(path: str) -> Cost:
    names = path.split(".")

    def cost(scope: Scope, head: Any, body: bytes, trusted: bool) -> float | None:
        if not body or len(body) > _JSON_LIMIT:
            return None
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            return None
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return _number(found)

    return cost


def _number(value: Any) -> float | None:
    """``value`` as a finite number of at least 0, else None.

    >>> _number("12"), _number(-1), _number("nan"), _number(True), _number("9" * 5000)
    (12.0, None, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None
