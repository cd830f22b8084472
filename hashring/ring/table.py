"""A ring frozen for one membership: what look-ups read, and what a snapshot of a pool holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from mmh3 import mmh3_32_uintdigest

from hashring.errors import ConfigError, UnknownHostError
from hashring.hosts import Host, as_names
from hashring.keys import Key, KeyedHash, key_bytes
from hashring.ring import layout
from hashring.ring.arcs import Diff, diff, ranges, shares
from hashring.ring.index import Index
from hashring.ring.layout import CODE_BITS, CODE_MASK

if TYPE_CHECKING:
    from hashring.ring.batch import Batch

_REBUILD_FRACTION = 3  # a change that adds over a third of the vnodes is cheaper to build


class TableChange(NamedTuple):
    """What leads from one ``RingTable`` to another, worked out before anything is made."""

    counts: Mapping[str, int]
    labels: Sequence[str]
    added: list[int]
    removed: list[int]


class RingTable:
    """An immutable ring: any number of threads may read it. Made by ``HashRing.table``.

    ``counts`` maps each host to its number of vnodes. With ``keyed`` the positions of keys are
    secret. ``public_index`` is the index for callers that hash a key themselves, by murmur3 and
    its ``seed``; None where a secret places the keys. ``key_check`` differs between secrets;
    None without one.

    >>> from hashring.ring import HashRing
    >>> table = HashRing(["a", "b", "c"]).table
    >>> table.lookup("x"), list(table.walk("x")), table.without(["c"]).lookup("x")
    ('a', ['a', 'b', 'c'], 'a')
    """

    def __init__(
        self,
        index: Index[str],
        counts: Mapping[str, int],
        *,
        vnodes: int,
        seed: int,
        keyed: KeyedHash | None = None,
    ) -> None:
        self.index = index
        self.counts = MappingProxyType(dict(counts))
        self.vnodes = vnodes
        self.seed = seed
        self.keyed = keyed
        self.public_index = index if keyed is None else None
        self.key_check = None if keyed is None else keyed.check
        # the class of the keys that a look-up hashes itself: str, or one that no key has
        self.plain_key: type = str if keyed is None else RingTable

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        vnodes: int,
        seed: int,
        keyed: KeyedHash | None = None,
        packed: Iterable[int] | None = None,
    ) -> RingTable:
        """The table of ``counts``; ``packed`` are its vnodes where the caller has them sorted.

        Cost: O(V log V) for V vnodes, about 1 us each.
        """
        layout.check_total(sum(counts.values()))
        found = layout.packed_vnodes(counts, seed) if packed is None else packed
        index = Index.build(found, sorted(counts), seed=seed)
        return cls(index, counts, vnodes=vnodes, seed=seed, keyed=keyed)

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
        """The position of ``key``: an int from 0 to 2^32-1."""
        if self.keyed is not None:
            return self.keyed(key_bytes(key))
        return mmh3_32_uintdigest(key_bytes(key), self.seed)

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The owner of ``key``; None in a table without hosts, or when all are unavailable.

        Cost: about 200 ns, with a secret 0.8 us; with ``unavailable`` that of the walk to the
        first host not in it.
        """
        if unavailable:
            gone = as_names(unavailable, "unavailable")
            return next((name for name in self.walk(key) if name not in gone), None)
        index = self.index
        try:
            if key.__class__ is self.plain_key:
                position = mmh3_32_uintdigest(key.encode(), self.seed)  # type: ignore[union-attr]  # a str
                return index.labels[index.find(position)]
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
        gone = as_names(names, "names")
        return self.over({name: count for name, count in self.counts.items() if name not in gone})

    def over(self, counts: Mapping[str, int]) -> RingTable:
        """The ring of the same options over the hosts of ``counts``, host -> number of vnodes.

        Cost: O(vnodes that differ) plus a copy of the index, or one build where that is cheaper.

        >>> from hashring.ring import HashRing
        >>> table = HashRing(["a", "b"]).table
        >>> table.over({"a": 512, "c": 512}).fingerprint == HashRing(["a", "c"]).fingerprint
        True
        """
        if counts == self.counts:
            return self
        change = self.change_to(counts)
        return self.rebuild(counts) if change is None else self.apply(change)

    def change_to(self, counts: Mapping[str, int]) -> TableChange | None:
        """What leads to the hosts of ``counts``; None where ``rebuild`` is cheaper.

        A host keeps its code, and an added one takes the code of one that left: an index keeps the
        labels that it was made with.
        """
        old = dict(self.counts)
        gone = sorted(old.keys() - counts.keys())
        changed = sorted(dict(counts.items() - old.items()))
        more = sum(counts[name] - old.get(name, 0) for name in changed)
        if more * _REBUILD_FRACTION > self.index.size:
            return None
        labels = list(self.index.labels)
        codes = dict(zip(labels, range(len(labels)), strict=True))
        added: list[int] = []
        removed: list[int] = []
        for name in gone:
            labels[codes[name]] = ""  # no host's name
            removed += self._pack_vnodes(name, 0, old[name], codes[name])
        free = [code for code, label in enumerate(labels) if not label] if "" in labels else []
        for name in changed:
            if name not in old:
                codes[name] = free.pop() if free else len(labels)
                labels[codes[name] : codes[name] + 1] = [name]
            has, gets = old.get(name, 0), counts[name]
            if gets > has:
                added += self._pack_vnodes(name, has, gets, codes[name])
            else:
                removed += self._pack_vnodes(name, gets, has, codes[name])
        return TableChange(counts, labels, added, removed)

    def apply(self, change: TableChange) -> RingTable:
        """The table after ``change``, which ``change_to`` of this table made."""
        layout.check_total(sum(change.counts.values()))
        index = self.index.with_vnodes(change.added, change.removed, change.labels)
        return RingTable(index, change.counts, vnodes=self.vnodes, seed=self.seed, keyed=self.keyed)

    def rebuild(self, counts: Mapping[str, int], packed: Iterable[int] | None = None) -> RingTable:
        """``build`` with the options of this table."""
        return RingTable.build(
            counts, vnodes=self.vnodes, seed=self.seed, keyed=self.keyed, packed=packed
        )

    def _pack_vnodes(self, name: str, first: int, stop: int, code: int) -> list[int]:
        positions = layout.vnode_positions(name, first, stop, self.seed)
        return [position << CODE_BITS | code for position in positions]

    def vnode_list(self) -> list[tuple[int, str]]:
        """All (position, host) in ring order. Cost: O(V)."""
        labels = self.index.labels
        return [(vnode >> CODE_BITS, labels[vnode & CODE_MASK]) for vnode in self.index.vnodes()]

    def shares(self) -> dict[str, float]:
        """The fraction of the circle that each host owns, by exact arcs. Cost: O(V)."""
        return shares(self.index.vnodes(), self.index.labels, self.hosts, layout.BITS)

    def ranges(self, host: str | Host) -> list[tuple[int, int]]:
        """The positions of ``host`` as (first, last), both inclusive, ascending.

        Cost: O(its vnodes * log V). Raises ``UnknownHostError``.
        """
        name = host.name if isinstance(host, Host) else host
        return ranges(self.index.packed[:-1], self.own_vnodes(name), layout.BITS)

    def own_vnodes(self, name: str) -> list[int]:
        """The packed vnodes of a host, in no order. Raises ``UnknownHostError``."""
        if not isinstance(name, str) or name not in self.counts:
            raise UnknownHostError(name, known=self.hosts)
        return self._pack_vnodes(name, 0, self.counts[name], self.index.labels.index(name))

    def diff(self, other: RingTable) -> Diff:
        """What moves from this table to ``other``, by exact arcs. Cost: O(V).

        Raises ``ConfigError`` when the two have different seeds or secrets.
        """
        if self.key_check != other.key_check:
            raise ConfigError(
                "these rings place keys by different secrets: all but 1/n of the clients move "
                "between any two of them, so compare the two for real clients",
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
        if self.keyed is not None:
            self.keyed.__reduce__()
        return _rebuild, (dict(self.counts), self.vnodes, self.seed)


def _rebuild(counts: Mapping[str, int], vnodes: int, seed: int) -> RingTable:
    return RingTable.build(counts, vnodes=vnodes, seed=seed)
