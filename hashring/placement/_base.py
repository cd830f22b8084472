"""What most tables share: a down host is one that was never configured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from socket import AF_INET, AF_INET6, inet_pton

from hashring.errors import ConfigError
from hashring.hosts import Host, as_names
from hashring.keys import Key


def fingerprint_of(*parts: object) -> str:
    """16 hex digits over the ``ascii`` of the parts: str, int, float or tuples of them.

    >>> fingerprint_of("modulo", ("a", "b"))
    'be03511ab5fb42c7'
    """
    # not repr: what it escapes differs between versions of Unicode, so of Python
    return blake2b(ascii(parts).encode(), digest_size=8).hexdigest()


class RebuiltTable(ABC):
    """A table whose ``without`` builds again from the hosts that are left.

    A subclass returns the host of a key (``_owner``) and builds the same over other hosts
    (``_rebuilt``); ``walk`` then is the repeated ``without`` of the hosts already given.
    """

    __slots__ = ("_hosts", "fingerprint", "hosts")

    def __init__(self, hosts: tuple[Host, ...], fingerprint: str) -> None:
        self._hosts = hosts
        self.hosts = tuple(host.name for host in hosts)
        self.fingerprint = fingerprint

    @abstractmethod
    def _owner(self, key: Key) -> str | None:
        """The host of ``key``; there is at least one host."""

    @abstractmethod
    def _rebuilt(self, hosts: tuple[Host, ...]) -> RebuiltTable:
        """The same placement with the same options over other hosts."""

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``, or None where there is none to give."""
        if unavailable:
            return self.without(unavailable).lookup(key)
        return self._owner(key) if self.hosts else None

    def without(self, names: Iterable[str]) -> RebuiltTable:
        """The table over the hosts that are not in ``names``. Cost: one build."""
        gone = as_names(names, "names")
        left = tuple(host for host in self._hosts if host.name not in gone)
        return self if len(left) == len(self._hosts) else self._rebuilt(left)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts, owner first. Cost: one build for each host after the first."""
        table = self
        while table.hosts:
            owner = table.lookup(key)
            # where the program gives up hashing, the rest come in their configured order
            given = table.hosts if owner is None else (owner,)
            yield from given
            table = table.without(given)


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


def packed_address(text: bytes) -> bytes | None:
    """The 4 bytes of an IPv4 or the 16 of an IPv6 address; None for everything else.

    >>> [packed_address(text) for text in (b"192.0.2.7", b"user:0")]
    [b'\\xc0\\x00\\x02\\x07', None]
    >>> len(packed_address(b"2001:db8::7"))
    16
    """
    family = AF_INET6 if b":" in text else AF_INET
    try:
        return inet_pton(family, text.decode("ascii"))
    except (OSError, ValueError):  # no address; not ASCII; a NUL inside
        return None
