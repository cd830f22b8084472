"""Checks that several placements share: what weights a program accepts."""

from __future__ import annotations

from collections.abc import Iterable

from hashring.errors import ConfigError
from hashring.hosts import Host

_HIGHEST = (1 << 31) - 1  # nginx, libmemcached and twemproxy keep a weight in a C int


def whole_weights(
    hosts: Iterable[Host], program: str, *, highest: int = _HIGHEST
) -> tuple[int, ...]:
    """The weights as ints; ``ConfigError`` names the first host whose weight ``program`` refuses.

    >>> whole_weights([Host("a"), Host("b", 3)], "nginx")
    (1, 3)
    >>> whole_weights([Host("a", 0.5)], "nginx")
    Traceback (most recent call last):
    hashring.errors.ConfigError: host 'a': a weight of nginx is a whole number from 1 to \
2147483647, got 0.5
    """
    weights = []
    for host in hosts:
        if not host.weight.is_integer() or host.weight > highest:
            raise ConfigError(
                f"host {host.name!r}: a weight of {program} is a whole number from 1 to {highest}, "
                f"got {host.weight:g}",
                option="weight",
            )
        weights.append(int(host.weight))
    return tuple(weights)
