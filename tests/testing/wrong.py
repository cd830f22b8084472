"""Which placement breaks this law?  One for each, small, and right in every other way.

All of them are rendezvous hashing, which keeps all laws, with one mistake.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from hashring import Host

__all__ = ["BROKEN", "Fickle", "Ordered", "Right"]


def unit(*parts: str | bytes) -> float:
    """A number between 0 and 1, the same for the same parts."""
    data = b"\0".join(part.encode() if isinstance(part, str) else part for part in parts)
    return (int.from_bytes(blake2b(data, digest_size=6).digest(), "big") + 0.5) / 2**48


class Right:
    """Weighted rendezvous hashing: keeps all five guarantees."""

    def __init__(self, hosts: list[Host]) -> None:
        self._hosts = hosts
        self._labels = {host.name: host.name for host in hosts}
        self._weights = {host.name: host.weight for host in hosts}

    def _score(self, name: str, key: str | bytes) -> float:
        return self._weights[name] / math.log(unit(self._labels[name], key))

    def walk(self, key: str | bytes) -> Iterator[str]:
        return iter(sorted(self._weights, key=lambda name: (self._score(name, key), name)))

    def lookup(self, key: str | bytes, unavailable: Iterable[str] = ()) -> str | None:
        return next(name for name in self.walk(key) if name not in unavailable)


class Resizing(Right):
    """The number of hosts is in the hash."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(hosts)
        self._labels = {host.name: f"{host.name}/{len(hosts)}" for host in hosts}


class Ordered(Right):
    """A host is its place in the list."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(hosts)
        self._labels = {host.name: str(place) for place, host in enumerate(hosts)}


class Unweighted(Right):
    """Weights are read and forgotten."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(hosts)
        self._weights = dict.fromkeys(self._weights, 1.0)


class Proportional(Right):
    """Every host is hashed with its share, so that one weight changes all."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(hosts)
        total = sum(self._weights.values())
        self._labels = {host.name: f"{host.name}/{host.weight / total}" for host in hosts}


class Rebuilding(Right):
    """With hosts down it hashes anew."""

    def lookup(self, key: str | bytes, unavailable: Iterable[str] = ()) -> str | None:
        left = [host for host in self._hosts if host.name not in unavailable]
        return Resizing(left).lookup(key)

    def walk(self, key: str | bytes) -> Iterator[str]:
        return Resizing(self._hosts).walk(key)


BROKEN: dict[str, type[Right]] = {
    "minimal_move": Resizing,
    "order_free": Ordered,
    "weighted": Unweighted,
    "monotone_weight": Proportional,
    "stable_under_down": Rebuilding,
}


class Fickle(Right):
    """Asks for a random number."""

    def walk(self, key: str | bytes) -> Iterator[str]:
        return iter(random.sample(list(self._weights), len(self._weights)))
