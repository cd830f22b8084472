"""The ring that changes: hosts come, go and change weight; each change publishes a new table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from mmh3 import mmh3_32_uintdigest
from sortedcontainers import SortedList

from hashring.errors import (
    ConfigError,
    DuplicateHostError,
    InvalidKeyError,
    NoHostsError,
    UnknownHostError,
)
from hashring.hosts import Host, HostLike, HostsLike, as_host, as_hosts, as_weight
from hashring.keys import Key, KeyedHash, check_same_secret, check_seed
from hashring.ring import layout
from hashring.ring.arcs import Diff, ranges, shares
from hashring.ring.index import Index
from hashring.ring.table import RingTable
from hashring.validators import COUNT

_BULK_FRACTION = 16  # to add more than a 16th of the vnodes one by one takes longer than to merge


class _RingState(NamedTuple):
    """One whole state of a ring: each reader reads it once."""

    table: RingTable
    weights: dict[str, float]


class HashRing:
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
        "__weakref__",
        "_index",
        "_plain_key",
        "_seed",
        "_state",
        "_vnodes",
        "_vnodes_each",
    )
    __hash__ = None  # type: ignore[assignment]  # a ring changes, so it cannot be a dict key

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
        keyed = None if key_secret is None else KeyedHash(key_secret, seed)
        empty = RingTable.build({}, vnodes=vnodes, seed=seed, keyed=keyed)
        if isinstance(hosts, HashRing):
            _check_same_options(hosts.table, empty)
        self._start(_RingState(empty, {}))
        self.set_hosts(hosts)

    def _start(self, state: _RingState) -> None:
        self._state = state
        self._index: Index[str] = state.table.index  # of the state, for look-ups
        self._plain_key = state.table.plain_key
        # the write side: each vnode as position << 24 | code; None until it is made from the state
        self._vnodes: SortedList[int] | None = None

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

    # -- members ----------------------------------------------------------------------------------

    def add(self, host: HostLike, weight: float | None = None) -> None:
        """Add a host; ``weight`` None is the host's own, else 1.0.

        Cost: O(its vnodes) plus a copy of the index. Raises ``DuplicateHostError``,
        ``InvalidWeightError``, ``ConfigError``; the ring is then as it was.

        >>> ring = HashRing()
        >>> ring.add("a", 2)
        >>> dict(ring.weights)
        {'a': 2.0}
        """
        made, state = as_host(host), self._state
        if made.name in state.weights:
            raise DuplicateHostError(made.name)
        value = made.weight if weight is None else as_weight(weight, made.name)
        self._publish(state, {**state.weights, made.name: value}, [made.name])

    def remove(self, host: str | Host) -> None:
        """Remove a host; its keys go to the others. Raises ``UnknownHostError``.

        >>> ring = HashRing(["a", "b"])
        >>> ring.remove("a")
        >>> ring.hosts
        ('b',)
        """
        state, name = self._state, self._known_name(host)
        left = {known: w for known, w in state.weights.items() if known != name}
        self._publish(state, left, [name])

    def set_weight(self, host: str | Host, weight: float) -> None:
        """Change a weight: keys move to that host only, or from it only.

        Raises ``UnknownHostError``, ``InvalidWeightError``, ``ConfigError``.

        >>> ring = HashRing(["a", "b"])
        >>> ring.set_weight("a", 3)
        >>> round(ring.shares()["a"], 2)
        0.77
        """
        state, name = self._state, self._known_name(host)
        self._publish(state, {**state.weights, name: as_weight(weight, name)}, [name])

    def set_hosts(self, hosts: HostsLike | HashRing) -> None:
        """Make ``hosts`` the members, in one step; hosts that were members keep their keys.

        >>> ring = HashRing(["a", "b"])
        >>> ring.set_hosts({"b": 1, "c": 2})
        >>> ring.hosts
        ('b', 'c')
        """
        weights = {host.name: host.weight for host in as_hosts(hosts)}
        state = self._state
        self._publish(state, weights, {**state.weights, **weights})

    def _known_name(self, host: str | Host) -> str:
        name = host.name if isinstance(host, Host) else host
        if name not in self:
            raise UnknownHostError(name, known=self.hosts)
        return name

    def _publish(self, old: _RingState, weights: dict[str, float], touched: Iterable[str]) -> None:
        """Go from ``old`` to ``weights``, which differ for ``touched`` at most.

        The SortedList is the source of the new index: its vnodes, and by bisection their places. It
        is given up while it is edited, so that after an exception, wherever one strikes, the next
        change makes it again from the state, which is published last and in one step.
        """
        table = old.table
        counts = dict(table.counts)
        for name in touched:
            counts.pop(name, None)
            if name in weights:
                counts[name] = layout.vnode_count(self._vnodes_each, weights[name], name)
        layout.check_total(sum(counts.values()))
        if counts == table.counts:
            self._state = _RingState(table, weights)
            return
        vnodes, self._vnodes = self._vnodes, None
        if vnodes is None:
            vnodes = SortedList(table.index.vnodes())
        change = table.change_to(counts)
        if change is None:
            packed = layout.packed_vnodes(counts, self._seed)
            vnodes, new = SortedList(packed), table.rebuild(counts, packed)
        else:
            new = table.apply(change)
            for vnode in change.removed:
                vnodes.remove(vnode)
            if new.index.labels is not change.labels:  # with codes of its own
                vnodes = SortedList(new.index.vnodes())
            elif len(change.added) * _BULK_FRACTION > len(vnodes):
                vnodes = SortedList(chain(vnodes, change.added))
            else:
                vnodes.update(change.added)
        self._state, self._index, self._vnodes = _RingState(new, weights), new.index, vnodes

    # -- look-ups ---------------------------------------------------------------------------------

    def lookup(self, key: Key) -> str:
        """The name of the host that owns ``key``. Cost: O(1), about 0.2 us at any size.

        Raises ``NoHostsError`` on an empty ring and ``InvalidKeyError`` for a key of another type.

        >>> HashRing(["a", "b"]).lookup(b"x") == HashRing(["b", "a"]).lookup("x")
        True
        """
        if key.__class__ is self._plain_key:
            # a copy of Index.find: a call would cost a fifth of the look-up
            try:
                index = self._index
                position = mmh3_32_uintdigest(key.encode(), index.seed)  # type: ignore[union-attr]  # a str
                code = index.cells[position >> index.shift]
                if code >= 0:
                    return index.labels[code]
                packed = index.packed
                at = index.starts[position >> index.block] + ~code
                position <<= 24  # layout.CODE_BITS
                while packed[at] < position:
                    at += 1
                return index.labels[packed[at] & 0xFFFFFF]
            except (UnicodeEncodeError, IndexError):  # a lone surrogate, an empty ring
                pass
        owner = self._state.table.lookup(key)
        if owner is None:
            raise NoHostsError("the ring is empty: add a host first")
        return owner

    def lookup_n(self, key: Key, n: int) -> list[str]:
        """The first min(n, hosts) hosts in ring order from ``key``: owner, then successors.

        Raises ``ConfigError`` for n that is not a whole number above 0, and ``NoHostsError`` on an
        empty ring.

        >>> HashRing(["a", "b"]).lookup_n("x", 5)
        ['a', 'b']
        """
        found = list(islice(self.walk(key), COUNT(n, "n")))
        if not found:
            raise NoHostsError("the ring is empty: add a host first")
        return found

    def lookup_many(self, keys: Iterable[Key]) -> list[str]:
        """``lookup`` of each key, all against one state of the ring. Raises as ``lookup``.

        >>> HashRing(["a", "b"]).lookup_many(["x", "y"])
        ['a', 'b']
        """
        if isinstance(keys, (str, bytes)):
            raise InvalidKeyError(
                f"lookup_many takes several keys, got {keys!r}: did you mean [{keys!r}]?",
                key_type=type(keys).__name__,
            )
        lookup = self._state.table.lookup
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
        ``InvalidKeyError`` for any other column.

        >>> import numpy as np
        >>> HashRing(["a", "b"]).assign(np.array(["x", "session-42"]))
        array([0, 1], dtype=int32)
        """
        return self._state.table.assign(strings)

    def assign_positions(self, positions: Any) -> Any:
        """The host codes of keys that were hashed before: of positions on this ring, uint32.

        Columns, answers and errors are as for ``assign``. Cost: 6 to 10 ns of
        processor time a position, on two cores.

        >>> import numpy as np
        >>> HashRing(["a", "b"]).assign_positions(np.array([0, 4065042165], dtype=np.uint32))
        array([0, 1], dtype=int32)
        """
        return self._state.table.assign_positions(positions)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts in ring order from ``key``, owner first, each once, lazily; none if empty.

        >>> list(HashRing(["a", "b", "c"]).walk("x"))
        ['a', 'b', 'c']
        """
        return self._state.table.walk(key)

    def position(self, key: Key) -> int:
        """Where ``key`` stands on this ring: an int from 0 to 2^32-1.

        >>> HashRing().position("session-42")
        4065042165
        """
        return self._state.table.position(key)

    @property
    def table(self) -> RingTable:
        """The immutable table of the ring as it is now. Cost: one attribute."""
        return self._state.table

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, sorted."""
        return self._state.table.hosts

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean an equal ``walk`` for every key: 16 hex digits.

        >>> HashRing(["a", "b"]).fingerprint == HashRing(["b", "a"]).fingerprint
        True
        """
        return self._state.table.fingerprint

    def vnode_list(self) -> list[tuple[int, str]]:
        """All (position, host) in ring order; equal positions by name. Cost: O(V).

        >>> HashRing(["a"], vnodes=2).vnode_list()
        [(116815667, 'a'), (720152692, 'a')]
        """
        table, vnodes = self._ordered_vnodes()
        labels = table.index.labels
        return [(position, labels[code]) for position, code in layout.unpack(vnodes)]

    def _ordered_vnodes(self) -> tuple[RingTable, list[int]]:
        """The table and its vnodes in ring order: the SortedList's, unless they change now."""
        state, vnodes = self._state, self._vnodes
        found = [] if vnodes is None else list(vnodes)
        if vnodes is None or self._state is not state or self._vnodes is not vnodes:
            found = state.table.index.vnodes()
        return state.table, found

    def shares(self) -> dict[str, float]:
        """name -> fraction of all keys, by exact arcs, summing to 1. Cost: O(V).

        >>> HashRing(["a"]).shares()
        {'a': 1.0}
        """
        table, vnodes = self._ordered_vnodes()
        return shares(vnodes, table.index.labels, table.hosts, layout.BITS)

    def ranges(self, host: str | Host) -> list[tuple[int, int]]:
        """The positions that ``host`` owns, as (first, last), both inclusive, ascending.

        Adjacent arcs are one; the arc that wraps is two. Cost: O(V), 20 ns each, and O(log V) for
        each vnode of the host. Raises ``UnknownHostError``.

        >>> HashRing(["a", "b"], vnodes=1).ranges("b")
        [(720152693, 2461118074)]
        """
        table, vnodes = self._ordered_vnodes()
        name = host.name if isinstance(host, Host) else host
        return ranges(vnodes, table.own_vnodes(name), layout.BITS)

    def diff(self, other: HashRing | RingTable) -> Diff:
        """What moves from this ring to ``other``: ``moved``, ``flows`` and ``ranges``, exact.

        Cost: O(V log V). Raises ``ConfigError`` for rings of different seeds or secrets.

        >>> HashRing(["a", "b"]).diff(HashRing(["b"])).flows.keys()
        dict_keys([('a', 'b')])
        """
        return self._state.table.diff(other._state.table if isinstance(other, HashRing) else other)

    # -- state ------------------------------------------------------------------------------------

    @property
    def weights(self) -> Mapping[str, float]:
        """name -> weight, read only."""
        return MappingProxyType(self._state.weights)

    @property
    def vnodes(self) -> int:
        """Vnodes of a host of weight 1."""
        return self._vnodes_each

    @property
    def seed(self) -> int:
        """The seed of every position on this ring."""
        return self._seed

    def copy(self) -> HashRing:
        """An independent ring in the same state. Cost: O(1); its first change costs O(V) more.

        >>> ring = HashRing(["a"]); twin = ring.copy(); twin.add("b"); ring.hosts
        ('a',)
        """
        twin = type(self).__new__(type(self))
        twin._vnodes_each, twin._seed = self._vnodes_each, self._seed  # type: ignore[misc]  # new
        if hasattr(self, "__dict__"):  # of a subclass
            vars(twin).update(vars(self))
        twin._start(self._state)
        return twin

    __copy__ = copy

    def to_dict(self) -> dict[str, Any]:
        """The ring as plain data for JSON: placement, layout, options, hosts with weights.

        Of a secret it holds a ``key_check`` that differs between secrets, never the secret.

        >>> HashRing(["a"], vnodes=8).to_dict()
        {'placement': 'ring', 'layout': 1, 'vnodes': 8, 'seed': 0, 'hosts': {'a': 1.0}}
        """
        table, weights = self._state
        return {
            "placement": "ring",
            "layout": layout.LAYOUT,
            "vnodes": self._vnodes_each,
            "seed": self._seed,
            **({} if table.key_check is None else {"key_check": table.key_check}),
            "hosts": {name: weights[name] for name in table.hosts},
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
            raise ConfigError("this is not a ring: expected a mapping with placement 'ring'")
        if data.get("layout") != layout.LAYOUT:
            raise ConfigError(
                f"this ring has layout {data.get('layout')!r}, and this version knows layout "
                f"{layout.LAYOUT}: its keys would move, so read it with the version that wrote it",
                option="layout",
            )
        missing = [name for name in ("vnodes", "seed", "hosts") if name not in data]
        if missing:
            raise ConfigError(f"this ring lacks {', '.join(missing)}", option=missing[0])
        check_same_secret(data.get("key_check"), key_secret)
        return cls(data["hosts"], vnodes=data["vnodes"], seed=data["seed"], key_secret=key_secret)

    def __len__(self) -> int:
        return len(self._state.weights)

    def __contains__(self, host: object) -> bool:
        name = host.name if isinstance(host, Host) else host
        return isinstance(name, str) and name in self._state.weights

    def __iter__(self) -> Iterator[str]:
        return iter(self.hosts)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, HashRing):
            return self.to_dict() == other.to_dict()
        return NotImplemented

    def __repr__(self) -> str:
        table = self._state.table
        return (
            f"<HashRing of {len(table)} hosts, {table.index.size} vnodes, "
            f"seed {self._seed}{', keyed' if table.keyed else ''}, {table.fingerprint}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        keyed = self._state.table.keyed
        if keyed is not None:
            keyed.__reduce__()  # raises: a secret is not pickled
        return _restore_ring, (type(self), self.to_dict()), getattr(self, "__dict__", None)

    def _check(self) -> None:
        """Check every invariant; raise AssertionError where one does not hold. For tests."""
        (table, weights), labels = self._state, self._index.labels
        index, vnodes = table.index, table.vnode_list()
        assert self._index is index
        assert sorted(table.counts) == sorted(weights) == sorted(filter(None, labels))
        assert index.size == len(vnodes) == sum(table.counts.values())
        assert vnodes == sorted(vnodes), "ring order is by position, then name"
        if self._vnodes is not None:
            assert index.vnodes() == list(self._vnodes), "the index is made from the SortedList"
            self._vnodes._check()
        for name, count in table.counts.items():
            assert count == layout.vnode_count(self._vnodes_each, weights[name], name)
            positions = sorted(layout.vnode_positions(name, 0, count, self._seed))
            assert positions == [p for p, owner in vnodes if owner == name]
        places = [position for position, _ in vnodes]
        for probe in {(p + step) % (1 << layout.BITS) for p in places for step in (-1, 0, 1)}:
            owner = vnodes[bisect_left(places, probe) % len(vnodes)][1]
            assert labels[index.find(probe)] == owner


def _check_same_options(given: RingTable, made: RingTable) -> None:
    """Refuse to make a ring of another one that would place keys differently."""
    for option, had, gets in (
        ("vnodes", given.vnodes, made.vnodes),
        ("seed", given.seed, made.seed),
        ("key_secret", given.key_check, made.key_check),
    ):
        if had != gets:
            values = "" if option == "key_secret" else f" ({had}, not {gets})"
            raise ConfigError(
                f"HashRing(ring) would place keys by another {option} than this ring has{values}: "
                "use ring.copy(), or HashRing(ring.weights, ...) for a ring with other options",
                option=option,
            )


def _restore_ring(kind: type[HashRing], data: dict[str, Any]) -> HashRing:
    ring = HashRing.from_dict(data)
    twin = kind.__new__(kind)
    twin._vnodes_each, twin._seed = ring._vnodes_each, ring._seed  # type: ignore[misc]  # new
    twin._start(ring._state)
    return twin
