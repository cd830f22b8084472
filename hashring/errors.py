"""Exceptions: one tree, each with its data as attributes.

::

    HashringError
    ├── NoHostsError        (LookupError)      no host can serve this request
    │   ├── NoCapacityError                    every host that could is at its max_in_flight
    │   └── SessionUnavailableError            the client's own host is down, and no other may serve
    ├── UnknownHostError    (KeyError)         a name that is not in the pool or ring
    ├── DuplicateHostError  (ValueError)       a name that is registered already
    ├── PoolFullError       (RuntimeError)     the pool's capacity is reached
    ├── InvalidKeyError     (TypeError)        a client ID of a type with no stable text
    ├── InvalidWeightError  (ValueError)       a weight that is not finite and above 0
    ├── ConfigError         (ValueError)       an option, a name or a shape that cannot work
    ├── DiscoveryError      (ConnectionError)  a source of hosts that cannot be read
    └── TokenError          (ValueError)       a token that is forged, expired or malformed

Each message has what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

from hashring.text import plural


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
        listing = f": {shown}{tail}" if shown else ""
        return f"none of the pool's {plural(self.total, 'host')} can serve{listing}"


class NoCapacityError(NoHostsError):
    """Every host that could take the request is at its ``max_in_flight``.

    ``host`` is the host of a known client, None for a client that any host could take.

    >>> str(NoCapacityError(host="web1"))
    'host web1 of this client is at its max_in_flight: retry later, or wait for room with aacquire'
    """

    def __init__(self, message: str | None = None, *, host: str | None = None) -> None:
        what = "every usable host" if host is None else f"host {host} of this client"
        super().__init__(
            message
            or f"{what} is at its max_in_flight: retry later, or wait for room with aacquire"
        )
        self.host = host


class SessionUnavailableError(NoHostsError):
    """The host of a known client is down, and no other may serve it (``on_unavailable="refuse"``).

    ``host`` is its name.

    >>> str(SessionUnavailableError("web1", "probe", "timeout"))
    "the client's own host web1 cannot serve (probe: timeout): retry later"
    """

    def __init__(self, host: str, holder: str, why: str) -> None:
        super().__init__(
            f"the client's own host {host} cannot serve ({holder}: {why}): retry later",
            reasons=[(host, holder, why)],
            total=1,
        )
        self.host = host

    def __reduce__(self) -> tuple[type[SessionUnavailableError], tuple[str, str, str]]:
        return type(self), self.reasons[0]


class UnknownHostError(HashringError, KeyError):
    """A name that is not in the pool or ring; ``name`` is that name.

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
    """A name that is registered already; ``name`` is that name.

    >>> str(DuplicateHostError("web1"))
    "there is already a host 'web1': use another name, set_weight() or replace()"
    """

    def __init__(self, name: object = None, message: str | None = None) -> None:
        super().__init__(
            message
            or f"there is already a host {name!r}: use another name, set_weight() or replace()"
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
    """A weight that is not a finite number above 0; ``host`` and ``weight`` are the two.

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


class requires_extra:  # noqa: N801  # a context manager, read as a verb
    """Import what an extra installs; without it, ``ConfigError`` names the extra.

    >>> with requires_extra("redis", "pins in Redis", option="pins"):
    ...     import no_such_module
    Traceback (most recent call last):
    hashring.errors.ConfigError: pins in Redis need no_such_module: \
pip install "sticky-hashring[redis]"
    """

    def __init__(self, extra: str, purpose: str, *, option: str | None = None) -> None:
        self._extra, self._purpose, self._option = extra, purpose, option

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, ImportError):
            raise ConfigError(
                missing_extra(self._extra, self._purpose, error.name or str(error)),
                option=self._option or self._extra,
            ) from None


def missing_extra(extra: str, purpose: str, package: str) -> str:
    """The message for a missing extra; ``purpose`` is a plural noun.

    >>> missing_extra("cli", "commands", "click and rich")
    'commands need click and rich: pip install "sticky-hashring[cli]"'
    """
    return f'{purpose} need {package}: pip install "sticky-hashring[{extra}]"'


class DiscoveryError(HashringError, ConnectionError):
    """A source of hosts that cannot be read; ``source`` names it.

    >>> DiscoveryError("refused", source="dns:web").source
    'dns:web'
    """

    def __init__(self, message: str = "discovery failed", *, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source


class TokenError(HashringError, ValueError):
    """A token that is not accepted; ``reason`` is a short machine-readable word.

    >>> TokenError("the token has expired", reason="expired").reason
    'expired'
    """

    def __init__(self, message: str = "bad token", *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
