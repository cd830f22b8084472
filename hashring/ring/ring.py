"""The ring that changes: hosts come, go and change weight; each change publishes a new table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from sortedcontainers import SortedList

from hashring.errors import ConfigError, DuplicateHostError, UnknownHostError
from hashring.hosts import Host, HostLike, HostsLike, as_host, as_hosts, as_weight
from hashring.keys import KeyedHash, check_seed
from hashring.ring import layout
from hashring.ring.index import Vnode
from hashring.ring.keyed import KeyedTable, check_same_secret
from hashring.ring.reading import RingReader
from hashring.ring.table import RingTable, index_of

__all__ = ["HashRing"]


class HashRing(RingReader):
    """A consistent-hash ring: each key belongs to the host of the first vnode at or after it.

    A host has ``vnodes * weight`` vnodes, and their positions depend on its name and ``seed`` only:
    so a host that comes takes keys from all others and nothing else moves, a host that leaves
    gives its keys to the others, and registration order never matters. One thread may change the
    ring while any number look up; each look-up sees one whole state.

    ``key_secret``, 16 to 64 random bytes, is for client IDs that strangers choose: without it, IDs
    of one host can be found by trying. It places the keys by keyed blake2b (``keys.KeyedHash``),
    for about 0.6 us a look-up; the vnodes stay where they are. Another secret moves all but 1/n of
    the clients. No dict, repr, pickle or error holds it.

    Raises ``ConfigError`` for bad options, names or sizes, ``InvalidWeightError``, and
    ``DuplicateHostError`` for a name given twice. Source: Karger et al. 1997.

    >>> ring = HashRing(["web1", "web2", "web3"])
    >>> ring.lookup("session-42")
    'web3'
    >>> before = ring.copy()
    >>> ring.add("web4")
    >>> before.diff(ring).moved == ring.shares()["web4"]
    True
    """

    __slots__ = (
        "_codes",
        "_free",
        "_keyed",
        "_labels",
        "_seed",
        "_vnodes",
        "_vnodes_each",
        "_weights",
    )
    __hash__ = None  # type: ignore[assignment]  # a ring changes, so it is no dict key

    def __init__(
        self,
        hosts: HostsLike | HashRing = (),
        *,
        vnodes: int = layout.DEFAULT_VNODES,
        seed: int = 0,
        key_secret: bytes | None = None,
    ) -> None:
        self._vnodes_each: Final = layout.check_vnodes(vnodes)
        self._seed: Final = check_seed(seed)
        self._start(None if key_secret is None else KeyedHash(key_secret, seed))
        self.set_hosts(hosts)

    def _start(self, keyed: KeyedHash | None) -> None:
        """Be an empty ring whose keys stand where ``keyed`` says."""
        self._keyed = keyed
        self._vnodes: SortedList[int] = SortedList()  # each packed: position << 24 | code
        self._weights: dict[str, float] = {}
        self._codes: dict[str, int] = {}  # a host's code is its place in _labels
        self._labels: list[str] = []
        self._free: list[int] = []  # places of hosts that left
        table = RingTable.build({}, vnodes=self._vnodes_each, seed=self._seed)
        if keyed is not None:
            table = KeyedTable(table.index, {}, vnodes=table.vnodes, seed=table.seed, keyed=keyed)
        self._short = str if table.public_index is not None else RingTable  # which is no key
        self._show(table)

    @classmethod
    def for_peak(
        cls, peak: float, *, hosts: int, seed: int = 0, key_secret: bytes | None = None
    ) -> HashRing:
        """An empty ring with the vnodes for a wanted mean peak/mean at ``hosts`` equal hosts.

        By ``layout.expected_peak``, and 5 % more. Raises ``ConfigError`` for a peak of at most 1 or
        one that no ring reaches.

        >>> HashRing.for_peak(1.05, hosts=20).vnodes
        1427
        """
        vnodes = layout.vnodes_for_peak(peak, hosts)
        return cls(vnodes=vnodes, seed=seed, key_secret=key_secret)

    # -- who is in --------------------------------------------------------------------------------

    def add(self, host: HostLike, weight: float | None = None) -> None:
        """Add a host; ``weight`` None is the host's own, else 1.0.

        Cost: O(its vnodes) plus a copy of the index. Raises ``DuplicateHostError``,
        ``InvalidWeightError``, ``ConfigError``; the ring is then as it was.

        >>> ring = HashRing()
        >>> ring.add("a", 2)
        >>> dict(ring.weights)
        {'a': 2.0}
        """
        settled = as_host(host)
        if settled.name in self._weights:
            raise DuplicateHostError(settled.name)
        value = settled.weight if weight is None else as_weight(weight, settled.name)
        self._publish({**self._weights, settled.name: value}, [settled.name])

    def remove(self, name: str) -> None:
        """Remove a host; its keys go to the others. Raises ``UnknownHostError``.

        >>> ring = HashRing(["a", "b"])
        >>> ring.remove("a")
        >>> ring.hosts
        ('b',)
        """
        self._check_known(name)
        left = {known: w for known, w in self._weights.items() if known != name}
        self._publish(left, [name])

    def set_weight(self, name: str, weight: float) -> None:
        """Change a weight: keys move to that host only, or from it only.

        Raises ``UnknownHostError``, ``InvalidWeightError``, ``ConfigError``.

        >>> ring = HashRing(["a", "b"])
        >>> ring.set_weight("a", 3)
        >>> round(ring.shares()["a"], 2)
        0.77
        """
        self._check_known(name)
        self._publish({**self._weights, name: as_weight(weight, name)}, [name])

    def set_hosts(self, hosts: HostsLike | HashRing) -> None:
        """Make ``hosts`` the members, in one step; those that stay keep their keys.

        >>> ring = HashRing(["a", "b"])
        >>> ring.set_hosts({"b": 1, "c": 2})
        >>> ring.hosts
        ('b', 'c')
        """
        given = hosts.weights if isinstance(hosts, HashRing) else hosts
        weights = {host.name: host.weight for host in as_hosts(given)}
        self._publish(weights, {**self._weights, **weights})

    def _check_known(self, name: str) -> None:
        if name not in self._weights:
            raise UnknownHostError(name, known=self.hosts)

    def _publish(self, weights: dict[str, float], touched: Iterable[str]) -> None:
        """Go to ``weights``, which differ for ``touched`` at most: work it all out, then change."""
        old = self._table.counts
        counts = dict(old)
        for name in touched:
            counts.pop(name, None)
            if name in weights:
                counts[name] = layout.vnode_count(self._vnodes_each, weights[name], name)
        changed = [name for name in touched if old.get(name) != counts.get(name)]
        if changed:
            layout.check_total(sum(counts.values()))
            if not old:
                return self._found(weights, counts)
            codes, labels, free = self._recoded(changed, counts)
            added: list[Vnode] = []
            removed: list[Vnode] = []
            for name in changed:
                has, gets = old.get(name, 0), counts.get(name, 0)
                added += self._stand(name, has, gets, codes)
                removed += self._stand(name, gets, has, self._codes)
            table = self._table.patched(added, removed, labels, counts)
            self._vnodes.update([at << layout.CODE_BITS | code for at, code in added])
            for at, code in removed:
                self._vnodes.remove(at << layout.CODE_BITS | code)
            self._codes, self._labels, self._free = codes, labels, free
            self._show(table)
        self._weights = weights
        return None

    def _found(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        """Start from no host at all: in half the time of patching an empty ring."""
        packed = layout.packed_vnodes(counts, self._seed)
        table = self._table.like(index_of(packed, counts, self._seed), counts)
        self._vnodes = SortedList(packed)
        self._labels, self._free = sorted(counts), []
        self._codes = {name: code for code, name in enumerate(self._labels)}
        self._show(table)
        self._weights = weights

    def _show(self, table: RingTable) -> None:
        # what look-ups read: each of the two is one whole state
        self._table, self._index = table, table.index

    def _stand(self, name: str, first: int, stop: int, codes: Mapping[str, int]) -> list[Vnode]:
        if first >= stop:
            return []
        code = codes[name]
        return [(at, code) for at in layout.vnode_positions(name, first, stop, self._seed)]

    def _recoded(
        self, changed: list[str], counts: Mapping[str, int]
    ) -> tuple[dict[str, int], list[str], list[int]]:
        """Codes for ``counts``: a host keeps its own, a newcomer takes the place of one that left.

        A published index keeps the labels that it came with, so a place can be used again at once.
        """
        codes, labels, free = dict(self._codes), list(self._labels), list(self._free)
        for name in changed:
            if name in codes and name not in counts:
                free.append(codes.pop(name))
                labels[free[-1]] = ""  # nobody's name, so that each label is there once
        for name in changed:
            if name in counts and name not in codes:
                codes[name] = free.pop() if free else len(labels)
                labels[codes[name] : codes[name] + 1] = [name]
        return codes, labels, free

    # -- what it looks like -----------------------------------------------------------------------

    @property
    def weights(self) -> Mapping[str, float]:
        """name -> weight, read only."""
        return MappingProxyType(self._weights)

    @property
    def vnodes(self) -> int:
        """Vnodes of a host of weight 1."""
        return self._vnodes_each

    @property
    def seed(self) -> int:
        """The seed of every position on this ring."""
        return self._seed

    def copy(self) -> HashRing:
        """An independent ring in the same state. Cost: O(V), the index is shared.

        >>> ring = HashRing(["a"]); twin = ring.copy(); twin.add("b"); ring.hosts
        ('a',)
        """
        twin = HashRing(vnodes=self._vnodes_each, seed=self._seed)
        twin._keyed = self._keyed
        twin._vnodes = self._vnodes.copy()
        twin._weights, twin._codes = dict(self._weights), dict(self._codes)
        twin._labels, twin._free = list(self._labels), list(self._free)
        twin._short = self._short
        twin._show(self._table)
        return twin

    def to_dict(self) -> dict[str, Any]:
        """The ring as plain data for JSON: placement, layout, options, hosts with weights.

        Of a secret it holds a ``key_check`` that tells it from others, never the secret.

        >>> HashRing(["a"], vnodes=8).to_dict()
        {'placement': 'ring', 'layout': 1, 'vnodes': 8, 'seed': 0, 'hosts': {'a': 1.0}}
        """
        return {
            "placement": "ring",
            "layout": layout.LAYOUT,
            "vnodes": self._vnodes_each,
            "seed": self._seed,
            **({} if self._keyed is None else {"key_check": self._keyed.check}),
            "hosts": {name: self._weights[name] for name in self.hosts},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, key_secret: bytes | None = None) -> HashRing:
        """The ring of ``to_dict``, with its ``key_secret`` if it had one.

        Raises ``ConfigError`` for other data, another layout or another secret.

        >>> ring = HashRing(["a", "b"])
        >>> HashRing.from_dict(ring.to_dict()) == ring
        True
        """
        if not isinstance(data, Mapping) or data.get("placement") != "ring":
            raise ConfigError("this is no ring: expected a mapping with placement 'ring'")
        if data.get("layout") != layout.LAYOUT:
            raise ConfigError(
                f"this ring has layout {data.get('layout')!r}, and this version knows layout "
                f"{layout.LAYOUT}: its keys would move, so read it with the version that wrote it",
                option="layout",
            )
        missing = [name for name in ("vnodes", "seed", "hosts") if name not in data]
        if missing:
            raise ConfigError(f"this ring has no {', '.join(missing)}", option=missing[0])
        check_same_secret(data.get("key_check"), key_secret)
        return cls(data["hosts"], vnodes=data["vnodes"], seed=data["seed"], key_secret=key_secret)

    def __len__(self) -> int:
        return len(self._weights)

    def __contains__(self, host: object) -> bool:
        return (host.name if isinstance(host, Host) else host) in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.hosts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HashRing):
            return self.to_dict() == other.to_dict()
        return NotImplemented

    def __repr__(self) -> str:
        return (
            f"<HashRing of {len(self)} hosts, {len(self._vnodes)} vnodes, "
            f"seed {self._seed}{', keyed' if self._keyed else ''}, {self.fingerprint}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._keyed is not None:
            self._keyed.__reduce__()
        return HashRing.from_dict, (self.to_dict(),)

    def _check(self) -> None:
        """State every invariant; raise AssertionError where one does not hold. For tests."""
        table = self._table
        index, vnodes = table.index, table.vnode_list()
        assert sorted(table.counts) == sorted(self._weights) == sorted(self._codes)
        assert len(self._vnodes) == index.size == len(vnodes) == sum(table.counts.values())
        assert vnodes == sorted(vnodes), "ring order is by position, then name"
        assert vnodes == sorted(
            (position, self._labels[code]) for position, code in layout.unpack(self._vnodes)
        ), "the index holds what the SortedList holds"
        for name, count in table.counts.items():
            assert count == layout.vnode_count(self._vnodes_each, self._weights[name], name)
            stands = sorted(layout.vnode_positions(name, 0, count, self._seed))
            assert stands == [p for p, owner in vnodes if owner == name]
            assert self._labels[self._codes[name]] == name
        assert not set(self._free) & set(self._codes.values())
        assert sorted(filter(None, self._labels)) == sorted(self._weights)
        places = [position for position, _ in vnodes]
        for probe in {(p + step) % (1 << layout.BITS) for p in places for step in (-1, 0, 1)}:
            owner = vnodes[bisect_left(places, probe) % len(vnodes)][1]
            assert index.labels[index.find(probe)] == owner
