"""What can be asked of a ring?  Who owns a key, who shares the circle, what differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from mmh3 import mmh3_32_uintdigest

from hashring.errors import NoHostsError
from hashring.keys import Key
from hashring.ring.arcs import Diff
from hashring.ring.index import Index
from hashring.ring.table import RingTable

__all__ = ["RingReader"]


class RingReader:
    """The reading half of ``HashRing``: each call reads one published state, once.

    ``_table`` is that state, ``_index`` its index. ``_short`` is the class of the keys that may go
    the short way of ``lookup``: str, or one that no key has where positions are secret.
    """

    __slots__ = ("_index", "_short", "_table")

    _table: RingTable
    _index: Index[str]
    _short: type

    # -- who owns a key ---------------------------------------------------------------------------

    def lookup(self, key: Key) -> str:
        """The name of the host that owns ``key``. Cost: O(1), about 0.2 us at any size.

        Raises ``NoHostsError`` on an empty ring and ``InvalidKeyError`` for a key of another type.

        >>> from hashring import HashRing
        >>> HashRing(["a", "b"]).lookup(b"x") == HashRing(["b", "a"]).lookup("x")
        True
        """
        if key.__class__ is self._short:  # inline: each call more would cost a fifth
            try:
                index = self._index
                position = mmh3_32_uintdigest(key.encode(), index.seed)  # type: ignore[union-attr]  # a str
                code = index.cells[position >> index.shift]
                while code < 0:
                    code = ~code
                    at_or_before = position <= index.positions[code]
                    code = index.low[code] if at_or_before else index.high[code]
                return index.labels[code]
            except (UnicodeEncodeError, IndexError):  # a lone surrogate, an empty ring
                pass
        owner = self._table.lookup(key)
        if owner is None:
            raise NoHostsError("the ring is empty: add a host first")
        return owner

    def lookup_n(self, key: Key, n: int) -> list[str]:
        """The first min(n, hosts) distinct hosts in ring order from ``key``: owner, then heirs.

        Raises ``ValueError`` for n below 1 and ``NoHostsError`` on an empty ring.

        >>> from hashring import HashRing
        >>> HashRing(["a", "b"]).lookup_n("x", 5)
        ['a', 'b']
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n!r}")
        found = list(islice(self.walk(key), n))
        if not found:
            raise NoHostsError("the ring is empty: add a host first")
        return found

    def lookup_many(self, keys: Iterable[Key]) -> list[str]:
        """``lookup`` of each key, all against one state of the ring. Raises as ``lookup``.

        >>> from hashring import HashRing
        >>> HashRing(["a", "b"]).lookup_many(["x", "y"])
        ['a', 'b']
        """
        lookup = self._table.lookup
        found = [lookup(key) for key in keys]
        if None in found[:1]:
            raise NoHostsError("the ring is empty: add a host first")
        return found  # type: ignore[return-value]  # a table with hosts answers each key

    def assign(self, strings: Any) -> Any:
        """``lookup`` of each key of a column: a column of the same kind, of int32 host codes.

        A code is an index into ``hosts``. The column is a NumPy array (unicode, bytes or objects),
        an Arrow array of strings, chunked or not, or a polars Series; where it has a null the
        answer has one, and a None in a NumPy array is a wrong key. Cost: some 30 ns of
        processor time a key in polars and Arrow, on two cores; 70 to 120 in NumPy, whose texts are
        converted first; the first call on a state of the ring also makes its arrays, O(V).

        Raises ``ConfigError`` without the extra ``analysis``, ``NoHostsError`` on an empty ring and
        ``InvalidKeyError`` for a column that is none of these.

        >>> from hashring import HashRing
        >>> import numpy as np
        >>> HashRing(["a", "b"]).assign(np.array(["x", "session-42"]))
        array([0, 1], dtype=int32)
        """
        return self._table.assign(strings)

    def assign_positions(self, positions: Any) -> Any:
        """The host codes of keys that were hashed before: of positions on this ring, uint32.

        Columns, answers and errors are as for ``assign``. Cost: 6 to 10 ns of
        processor time a position, on two cores.

        >>> from hashring import HashRing
        >>> import numpy as np
        >>> HashRing(["a", "b"]).assign_positions(np.array([0, 4065042165], dtype=np.uint32))
        array([0, 1], dtype=int32)
        """
        return self._table.assign_positions(positions)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts in ring order from ``key``, owner first, each once, lazily; none if empty.

        >>> from hashring import HashRing
        >>> list(HashRing(["a", "b", "c"]).walk("x"))
        ['a', 'b', 'c']
        """
        return self._table.walk(key)

    def position(self, key: Key) -> int:
        """Where ``key`` stands on this ring: an int from 0 to 2^32-1.

        >>> from hashring import HashRing
        >>> HashRing().position("session-42")
        4065042165
        """
        return self._table.position(key)

    @property
    def table(self) -> RingTable:
        """The immutable table of the ring as it is now. Cost: one attribute."""
        return self._table

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, sorted."""
        return self._table.hosts

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean an equal ``walk`` for every key: 16 hex digits.

        >>> from hashring import HashRing
        >>> HashRing(["a", "b"]).fingerprint == HashRing(["b", "a"]).fingerprint
        True
        """
        return self._table.fingerprint

    def vnode_list(self) -> list[tuple[int, str]]:
        """All (position, host) in ring order; equal positions by name. Cost: O(V).

        >>> from hashring import HashRing
        >>> HashRing(["a"], vnodes=2).vnode_list()
        [(116815667, 'a'), (720152692, 'a')]
        """
        return self._table.vnode_list()

    def shares(self) -> dict[str, float]:
        """name -> fraction of all keys, by exact arcs, summing to 1. Cost: O(V).

        >>> from hashring import HashRing
        >>> HashRing(["a"]).shares()
        {'a': 1.0}
        """
        return self._table.shares()

    def diff(self, other: RingReader | RingTable) -> Diff:
        """What moves from this ring to ``other``: ``moved`` and ``flows``, exact. Cost: O(V).

        Raises ``ConfigError`` for rings of different seeds or secrets.

        >>> from hashring import HashRing
        >>> HashRing(["a", "b"]).diff(HashRing(["b"])).flows.keys()
        dict_keys([('a', 'b')])
        """
        return self._table.diff(other._table if isinstance(other, RingReader) else other)
