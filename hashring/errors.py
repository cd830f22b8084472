"""What can go wrong: one tree of exceptions, each with its data as attributes.

::

    HashringError
    ├── NoHostsError        (LookupError)      nobody can serve this request
    ├── UnknownHostError    (KeyError)         a name that is not in the pool or ring
    ├── DuplicateHostError  (ValueError)       a name that is already in
    ├── PoolFullError       (RuntimeError)     the pool's capacity is reached
    ├── InvalidKeyError     (TypeError)        a client ID of a type with no stable text
    ├── InvalidWeightError  (ValueError)       a weight that is not finite and above 0
    ├── ConfigError         (ValueError)       an option, a name or a shape that cannot work
    ├── DiscoveryError      (ConnectionError)  a source of hosts cannot be read
    └── TokenError          (ValueError)       a token that is forged, expired or malformed

Each message says what was wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "ConfigError",
    "DiscoveryError",
    "DuplicateHostError",
    "HashringError",
    "InvalidKeyError",
    "InvalidWeightError",
    "NoHostsError",
    "PoolFullError",
    "TokenError",
    "UnknownHostError",
]


class HashringError(Exception):
    """The base of every error that hashring raises on purpose.

    >>> issubclass(NoHostsError, HashringError)
    True
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__


class NoHostsError(HashringError, LookupError):
    """No host can take the request.

    ``reasons`` holds at most five ``(host, holder, why)`` triples of names and texts, ``total`` how
    many hosts are in the pool.

    >>> raise NoHostsError(reasons=[("web1", "probe", "timeout")], total=1)
    Traceback (most recent call last):
    hashring.errors.NoHostsError: none of the pool's 1 host can serve: web1 (probe: timeout)
    """

    SHOWN = 5  # enough to recognise a pattern, short enough for one log line

    def __init__(
        self,
        message: str | None = None,
        *,
        reasons: Iterable[tuple[str, str, str]] = (),
        total: int = 0,
    ) -> None:
        self.reasons = tuple(reasons)[: self.SHOWN]
        self.total = total
        super().__init__(message or self._describe())

    def _describe(self) -> str:
        if not self.total:
            return "the pool is empty: register a host first"
        shown = ", ".join(f"{host} ({holder}: {why})" for host, holder, why in self.reasons)
        more = self.total - len(self.reasons)
        tail = f" and {more} more" if more > 0 and shown else ""
        hosts = "host" if self.total == 1 else "hosts"
        listing = f": {shown}{tail}" if shown else ""
        return f"none of the pool's {self.total} {hosts} can serve{listing}"


class UnknownHostError(HashringError, KeyError):
    """A name that is not there; ``name`` is that name.

    >>> str(UnknownHostError("web9", known=["web1", "web2"]))
    "there is no host 'web9'; the hosts are web1, web2"
    """

    def __init__(self, name: object = None, *, known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        if not self.known:
            return f"there is no host {self.name!r}; there are no hosts yet"
        shown = ", ".join(self.known[:10]) + (", ..." if len(self.known) > 10 else "")
        return f"there is no host {self.name!r}; the hosts are {shown}"


class DuplicateHostError(HashringError, ValueError):
    """A name that is already in; ``name`` is that name.

    >>> str(DuplicateHostError("web1"))
    "host 'web1' is already in: use another name, set_weight() or replace()"
    """

    def __init__(self, name: object = None, message: str | None = None) -> None:
        super().__init__(
            message or f"host {name!r} is already in: use another name, set_weight() or replace()"
        )
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.name, str(self))


class PoolFullError(HashringError, RuntimeError):
    """One host more than ``capacity`` allows.

    >>> PoolFullError("the pool is full", capacity=3).capacity
    3
    """

    def __init__(self, message: str = "the pool is full", *, capacity: int | None = None) -> None:
        super().__init__(message)
        self.capacity = capacity


class InvalidKeyError(HashringError, TypeError):
    """A client ID that has no stable text; ``key_type`` is the name of its type.

    >>> InvalidKeyError("no", key_type="float").key_type
    'float'
    """

    def __init__(self, message: str = "invalid key", *, key_type: str | None = None) -> None:
        super().__init__(message)
        self.key_type = key_type


class InvalidWeightError(HashringError, ValueError):
    """A weight that is not a finite number above 0; ``host`` and ``weight`` say which.

    >>> InvalidWeightError("no", host="web1", weight=-1).weight
    -1
    """

    def __init__(
        self, message: str = "invalid weight", *, host: str | None = None, weight: object = None
    ) -> None:
        super().__init__(message)
        self.host = host
        self.weight = weight


class ConfigError(HashringError, ValueError):
    """An option, a name or a shape that cannot work; ``option`` names it where there is one.

    >>> ConfigError("vnodes must be at least 1", option="vnodes").option
    'vnodes'
    """

    def __init__(self, message: str = "bad configuration", *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class DiscoveryError(HashringError, ConnectionError):
    """A source of hosts that cannot be read; ``source`` names it.

    >>> DiscoveryError("refused", source="dns:web").source
    'dns:web'
    """

    def __init__(self, message: str = "discovery failed", *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class TokenError(HashringError, ValueError):
    """A token that must not be believed; ``reason`` is a short machine-readable word.

    >>> TokenError("the token has expired", reason="expired").reason
    'expired'
    """

    def __init__(self, message: str = "bad token", *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
