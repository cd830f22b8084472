"""A ring frozen for one membership: what look-ups read, and what a snapshot of a pool holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmh3 import mmh3_32_uintdigest

from hashring.errors import ConfigError
from hashring.hosts import as_names
from hashring.keys import Key, key_bytes
from hashring.ring import layout
from hashring.ring.arcs import Diff, diff, shares
from hashring.ring.index import Index, Vnode

if TYPE_CHECKING:
    from hashring.ring.batch import Batch

__all__ = ["RingTable", "index_of"]


class RingTable:
    """An immutable ring: any number of threads may read it. Made by ``HashRing.table``.

    ``counts`` maps each host to its number of vnodes. ``public_index`` is the index for those who
    hash a key themselves, by murmur3 and its ``seed``; None where a secret places the keys.
    ``key_check`` tells such secrets apart; None without one.

    >>> from hashring.ring import HashRing
    >>> table = HashRing(["a", "b", "c"]).table
    >>> table.lookup("x"), list(table.walk("x")), table.without(["c"]).lookup("x")
    ('a', ['a', 'b', 'c'], 'a')
    """

    public_index: Index[str] | None
    key_check: str | None = None

    def __init__(
        self, index: Index[str], counts: Mapping[str, int], *, vnodes: int, seed: int
    ) -> None:
        self.index = self.public_index = index
        self.counts = MappingProxyType(dict(counts))
        self.vnodes = vnodes
        self.seed = seed

    @classmethod
    def build(cls, counts: Mapping[str, int], *, vnodes: int, seed: int) -> RingTable:
        """The table of ``counts``. Cost: O(V log V) for V vnodes, about 1.5 us each."""
        layout.check_total(sum(counts.values()))
        index = index_of(layout.packed_vnodes(counts, seed), counts, seed)
        return cls(index, counts, vnodes=vnodes, seed=seed)

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, sorted."""
        return tuple(sorted(self.counts))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over placement, layout, options, secret and hosts with vnode counts."""
        counts = tuple(sorted(self.counts.items()))
        secret = () if self.key_check is None else (self.key_check,)
        # ascii, for what repr escapes differs between versions of Unicode, so of Python
        text = ascii(("ring", layout.LAYOUT, self.vnodes, self.seed, counts, *secret))
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def position(self, key: Key) -> int:
        """Where ``key`` stands: an int from 0 to 2^32-1."""
        return mmh3_32_uintdigest(key_bytes(key), self.seed)

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The owner of ``key``; None in a table without hosts, or when all are unavailable.

        Cost: about 200 ns; with ``unavailable`` that of the walk to the first host not in it.
        """
        if unavailable:
            gone = as_names(unavailable, "unavailable")
            return next((name for name in self.walk(key) if name not in gone), None)
        index = self.index
        try:
            if key.__class__ is str:
                return index.labels[index.find(mmh3_32_uintdigest(key.encode(), self.seed))]
            return index.labels[index.find(self.position(key))]
        except UnicodeEncodeError:  # a lone surrogate
            return self.lookup(key_bytes(key))
        except IndexError:  # no hosts
            return None

    def assign(self, strings: Any) -> Any:
        """``lookup`` of a whole column, as codes into ``hosts``: see ``HashRing.assign``."""
        return self._batch.assign(strings)

    def assign_positions(self, positions: Any) -> Any:
        """The owners of positions (uint32), as codes: see ``HashRing.assign_positions``."""
        return self._batch.assign_positions(positions)

    @cached_property
    def _batch(self) -> Batch:
        from hashring.ring.batch import Batch

        # without public positions it asks position() key by key
        seed = self.seed if self.public_index is not None else None
        return Batch(self.index, self.hosts, seed=seed, position=self.position)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts in ring order from ``key``, owner first, each once, lazily.

        Cost: a few us for the first hosts; O(V) for all of them in the worst case.
        """
        return self._walk(self.position(key))

    def _walk(self, position: int) -> Iterator[str]:
        labels, left = self.index.labels, len(self.counts)
        if not left:
            return
        first = self.index.find(position)
        yield labels[first]
        seen = {first}
        for code in self.index.around(position):
            if len(seen) == left:
                return
            if code not in seen:
                seen.add(code)
                yield labels[code]

    def without(self, names: Iterable[str]) -> RingTable:
        """The ring without the vnodes of ``names``; unknown names are ignored.

        Cost: O(their vnodes) plus a copy of the index, or one build where that is cheaper.
        """
        gone = {name for name in as_names(names, "names") if name in self.counts}
        if not gone:
            return self
        codes = {name: code for code, name in enumerate(self.index.labels)}
        removed = [
            (position, codes[name])
            for name in gone
            for position in layout.vnode_positions(name, 0, self.counts[name], self.seed)
        ]
        left = {name: count for name, count in self.counts.items() if name not in gone}
        return self.patched([], removed, self.index.labels, left)

    def patched(
        self,
        added: Iterable[Vnode],
        removed: Iterable[Vnode],
        labels: Sequence[str],
        counts: Mapping[str, int],
    ) -> RingTable:
        """The table after a change of some vnodes; ``counts`` is what it then holds."""
        index = self.index.patched(
            added, removed, labels, order=lambda vnode: (vnode[0], labels[vnode[1]])
        )
        return self.like(index, counts)

    def like(self, index: Index[str], counts: Mapping[str, int]) -> RingTable:
        """Another state of the same ring."""
        return RingTable(index, counts, vnodes=self.vnodes, seed=self.seed)

    def vnode_list(self) -> list[tuple[int, str]]:
        """All (position, host) in ring order. Cost: O(V)."""
        labels = self.index.labels
        return [(position, labels[code]) for position, code in self.index.vnodes()]

    def shares(self) -> dict[str, float]:
        """The fraction of the circle that each host owns, by exact arcs. Cost: O(V)."""
        return shares(self.index, self.hosts)

    def diff(self, other: RingTable) -> Diff:
        """What moves from this table to ``other``, by exact arcs. Cost: O(V).

        Raises ``ConfigError`` when the two have different seeds or secrets.
        """
        if self.key_check != other.key_check:
            raise ConfigError(
                "these rings place keys by different secrets: all but 1/n of the clients move "
                "between hosts, whichever they are, so compare the two for real clients",
                option="key_secret",
            )
        return diff(self.index, other.index)

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return (
            f"<RingTable of {len(self.counts)} hosts, {self.index.size} vnodes, {self.fingerprint}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self.counts), self.vnodes, self.seed)


def index_of(packed: list[int], counts: Iterable[str], seed: int) -> Index[str]:
    """The index of ``layout.packed_vnodes``."""
    return Index.build(layout.unpack(packed), sorted(counts), seed=seed)


def _rebuild(counts: Mapping[str, int], vnodes: int, seed: int) -> RingTable:
    return RingTable.build(counts, vnodes=vnodes, seed=seed)
