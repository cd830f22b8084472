"""A table of the user's own: what it lacks of ``Table`` is supplied from its look-ups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key, key_bytes
from hashring.placement._base import fingerprint_of

_SAMPLE = 1_000  # look-ups in a fingerprint: two tables that differ for 1 % of the keys share one
# with a probability of 0.99^1000, 4 in 100,000


class AdaptedTable:
    """A ``Table`` over an object with ``lookup`` and ``walk``, or over a function ``key -> name``.

    Keys reach it as bytes. ``lookup(key)`` and ``walk(key)`` are enough. Its own ``without`` and
    ``fingerprint`` are used if it has them. Otherwise a host that is away is skipped along the
    walk, and the fingerprint is taken from 1,000 look-ups. Without ``walk`` the hosts after the
    owner come in an order of their own for each key (highest BLAKE2 hash).

    >>> table = AdaptedTable(lambda key: "ab"[key[0] % 2], ("a", "b"))
    >>> table.lookup("x"), list(table.walk("x")), table.without(["a"]).lookup("x")
    ('a', ['a', 'b'], 'b')
    """

    def __init__(
        self, table: Any, hosts: tuple[str, ...], away: frozenset[str] = frozenset()
    ) -> None:
        self._table = table
        self._away = away
        self._all = hosts
        self._lookup: Callable[[bytes], str | None] = getattr(table, "lookup", table)
        self._walk: Callable[[bytes], Iterable[str]] | None = getattr(table, "walk", None)
        self.hosts = tuple(sorted(set(hosts) - away))
        self._fingerprint: str | None = getattr(table, "fingerprint", None)

    @property
    def fingerprint(self) -> str:
        """Its own fingerprint, or one of 1,000 look-ups. Cost: those look-ups, once."""
        if not isinstance(self._fingerprint, str):
            answers = tuple(str(self.lookup(b"%d" % number)) for number in range(_SAMPLE))
            self._fingerprint = fingerprint_of("adapted", self.hosts, answers)
        return self._fingerprint

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key`` that is not away; None where the table gives none."""
        data, gone = key_bytes(key), self._away.union(unavailable)
        name = self._lookup(data)
        if name is None or name not in gone:
            return None if name is None else self._find_known(name)
        return next((name for name in self._names(data) if name not in gone), None)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts that are not away, owner first, each once."""
        return (name for name in self._names(key_bytes(key)) if name not in self._away)

    def without(self, names: Iterable[str]) -> AdaptedTable:
        """The table while ``names`` are away."""
        gone = frozenset(names)
        own: Callable[[frozenset[str]], Any] | None = getattr(self._table, "without", None)
        if own is not None:
            return AdaptedTable(own(gone), tuple(n for n in self._all if n not in gone))
        table = AdaptedTable(self._table, self._all, self._away | gone)
        table._fingerprint = None
        return table

    def _names(self, data: bytes) -> Iterator[str]:
        if self._walk is not None:
            yield from map(self._find_known, self._walk(data))
            return
        owner = self._lookup(data)
        if owner is not None:
            yield self._find_known(owner)
        rest = [name for name in self._all if name != owner]
        yield from sorted(rest, key=lambda name: _rank(name, data), reverse=True)

    def _find_known(self, name: Any) -> str:
        if name not in self._all:
            raise ConfigError(
                f"the placement returned {name!r}, which is not one of its hosts",
                option="placement",
            )
        return str(name)

    def __repr__(self) -> str:
        return f"<AdaptedTable of {len(self.hosts)} hosts over {self._table!r}>"


def _rank(name: str, data: bytes) -> bytes:
    return blake2b(data, key=blake2b(name.encode("utf-8", "surrogatepass")).digest()).digest()


def adapt_table(built: Any, hosts: tuple[Host, ...]) -> Any:
    """``built`` if it is one of our tables, else an ``AdaptedTable`` over it.

    Raises ``ConfigError`` for what has no look-up.

    >>> adapt_table(5, (Host("a"),))
    Traceback (most recent call last):
    hashring.errors.ConfigError: the placement made 5, which is not a table: it needs lookup and \
walk, or to be a function key -> name
    """
    if type(built).__module__.startswith("hashring."):
        return built
    has_methods = all(callable(getattr(built, name, None)) for name in ("lookup", "walk"))
    if not has_methods and not callable(built):
        raise ConfigError(
            f"the placement made {built!r}, which is not a table: it needs lookup and walk, or to "
            "be a function key -> name",
            option="placement",
        )
    return AdaptedTable(built, tuple(host.name for host in hosts))
