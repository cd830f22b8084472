"""How long, how much and how often?  What may be set of a gateway, each number argued."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hashring.errors import ConfigError

__all__ = ["Limits", "Timeouts"]


@dataclass(frozen=True)
class Timeouts:
    """Seconds; None is for ever. Raises ``ConfigError``.

    ``connect`` to a host: in one network it takes a millisecond, so 2 s is a host that is away.
    ``first_byte``: from the end of the request to the beginning of the answer. ``idle``: without a
    byte in either direction, once it flows; nginx has 60 s for both. ``total``: for all of it,
    none by default, because a stream may last for days. ``keep_alive``: how long an unused
    connection to a host is kept; below the 5 s of uvicorn and Node, for who asks on a connection
    that the host is closing gets an error. Our own server also takes ``head``, for a client to
    send a whole head, because a slow drip holds a descriptor, and ``client_idle``, for which a
    client's connection may wait for its next request.

    >>> Timeouts(connect=0)
    Traceback (most recent call last):
    hashring.errors.ConfigError: connect must be seconds above 0, got 0
    """

    connect: float = 2.0
    first_byte: float | None = 60.0
    idle: float | None = 60.0
    total: float | None = None
    keep_alive: float = 4.0
    head: float = 10.0
    client_idle: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name in ("first_byte", "idle", "total"):
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise ConfigError(
                    f"{field.name} must be seconds above 0, got {value!r}", option=field.name
                )


@dataclass(frozen=True)
class Limits:
    """How much is taken; None is without end. Raises ``ConfigError``.

    ``body`` in bytes of a request; it streams, so none is needed for the gateway's own sake.
    ``message`` in bytes of one WebSocket message, which is held whole: 4 MiB. ``retries`` of one
    request: after two hosts that failed it, a third is rarely the answer. ``retry_share`` and
    ``retry_rate`` make the budget of all retries: 20 % of the requests and 10 a second (Finagle's
    defaults), so that a pool that fails as a whole is not asked twice as much.
    Our own server also takes ``head``, the bytes of a head, eight times what browsers send, and
    ``headers``, its fields: the 100 of Apache.

    >>> Limits(retries=-1)
    Traceback (most recent call last):
    hashring.errors.ConfigError: retries must be 0 or more, got -1
    """

    body: int | None = None
    message: int = 4 * 1024 * 1024
    retries: int = 2
    retry_share: float = 0.2
    retry_rate: float = 10.0
    head: int = 64 * 1024
    headers: int = 100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "body":
                continue
            kinds = (int, float) if field.name in ("retry_share", "retry_rate") else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value < math.inf:
                raise ConfigError(
                    f"{field.name} must be 0 or more, got {value!r}", option=field.name
                )
