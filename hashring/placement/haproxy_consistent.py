"""Which server does HAProxy's ``hash-type consistent`` choose?

The nearest of the two nodes around a key, not the next one. A server's nodes follow from its
``hash_key``: by default its ``id``, which is its position in the backend unless it is set. So
without ids, deleting one server moves keys of all that follow it; names play no part.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from types import MappingProxyType

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key, key_bytes, text_bytes
from hashring.placement._base import fingerprint_of, packed_address, whole_weights
from hashring.placement._circle import CircleTable, Make, in_ring_order, position_by
from hashring.placement._hashes import (
    HAPROXY_HASHES,
    HashFunction,
    full_hash,
    hash_named,
    xxh32,
    xxhash_module,
)
from hashring.placement.haproxy_map import source_hash
from hashring.ring.index import Index
from hashring.ring.layout import pack, unpack
from hashring.validators import FLAG

GUARANTEES = frozenset({"monotone_weight", "weighted"})
SOURCE = "HAProxy 3.4.0, src/lb_chash.c, src/backend.c and src/hash.c"
COST = (
    "one hash in pure Python (sdbm: 50 ns a byte) and the ring's look-up; 16 nodes a unit of weight"
)
EXPORTS = ("haproxy",)

NODES_A_WEIGHT = 16  # BE_WEIGHT_SCALE
HIGHEST_WEIGHT = 256  # SRV_UWGHT_MAX; 0 takes a server out, as being down does
_MASK = 0xFFFFFFFF
_BALANCES = ("hash", "source")


class HaproxyConsistentTable(CircleTable):
    """The tree of the usable servers' nodes.

    ``walk`` is the way of a redispatch: from the chosen node upwards. It differs from what remains
    when servers go down, whose nodes leave the tree.
    """

    __slots__ = ("_codes", "_nodes", "_source")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Make,
        *,
        nodes: list[tuple[int, int]],
        position: Callable[[Key], int],
        source: bool,
    ) -> None:
        index = Index.build(pack(nearest(nodes)), [host.name for host in hosts])
        super().__init__(hosts, fingerprint, make, index=index, position=position)
        self._nodes = array("I", [node for node, _ in nodes])
        self._codes = array("i", [code for _, code in nodes])
        self._source = source

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The server of ``key``; None for a client without an address under ``balance="source"``.

        A single usable server is the answer for every key.
        """
        if self._source and len(self.hosts) > 1 and not packed_address(key_bytes(key)):
            if unavailable:
                return self.without(unavailable).lookup(key)
            return None
        return super().lookup(key, unavailable)

    def walk(self, key: Key) -> Iterator[str]:
        """All servers from the chosen node upwards. Cost: a few us, O(nodes) for all of them."""
        nodes, codes = self._nodes, self._codes
        if not nodes:
            return
        number = self.position(key)
        start = bisect_left(nodes, number) % len(nodes)
        if (number - nodes[start - 1]) & _MASK <= (nodes[start] - number) & _MASK:
            start -= 1
        left = set(range(len(self.hosts)))
        for at in range(start, start + len(nodes)):
            code = codes[at % len(nodes)]
            if code in left:
                left.remove(code)
                yield self.hosts[code]
                if not left:
                    return


def nearest(nodes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Points for a clockwise index that answer with the nearest of ``nodes``, which are sorted.

    A node reaches up to the middle of the gap behind it, which is still its own (``dp <= dn`` of
    ``chash_get_server_hash``). Of several equal nodes, a key on them goes to the first and a key
    above to the last. Cost: O(n log n).

    >>> nearest([(10, 0), (20, 1)])
    [(15, 0), (2147483663, 1)]
    """
    first = dict(reversed(nodes))
    last = dict(nodes)
    at = list(last)
    points = []
    for here, after in zip(at, [*at[1:], at[0] + (1 << 32)] if at else [], strict=True):
        if first[here] != last[here]:
            points.append((here, first[here]))
        points.append(((here + after) // 2 & _MASK, last[here]))
    # stable: where the middle is the node itself, the node's own point stays before it
    return sorted(points, key=itemgetter(0))


def build(
    hosts: tuple[Host, ...],
    *,
    hash_function: str = "sdbm",
    avalanche: bool = True,
    hash_key: str = "id",
    balance: str = "hash",
    key_hash: str | None = None,
) -> HaproxyConsistentTable:
    """The tree of ``hash-type consistent`` over ``hosts`` in the order of their ``server`` lines.

    The defaults are those of a bare ``hash-type consistent``; ``consistent sdbm`` is
    ``avalanche=False``. ``hash_key`` takes ``id``, ``id32``, ``addr``, ``addr-port`` or ``guid``.
    ``balance="source"`` takes the client's address as the key. ``key_hash="xxh32"`` with
    ``hash_function="none"`` is ``balance hash ...,xxh32``. Raises ``ConfigError`` for what HAProxy
    would refuse, and for a host without what ``hash_key`` needs; weights are whole, 1 to 256.
    Cost: 16 nodes a unit of weight, about 2 us each.

    >>> table = build((Host("b1"), Host("b2"), Host("b3")))
    >>> table.lookup("user:0"), table.without(["b3"]).lookup("user:0")
    ('b3', 'b2')
    """
    if balance not in _BALANCES:
        raise ConfigError(
            f"balance must be one of {', '.join(_BALANCES)}, got {balance!r}", option="balance"
        )
    start_of = HASH_KEYS.get(hash_key) if isinstance(hash_key, str) else None
    if start_of is None:
        raise ConfigError(
            f"hash_key must be one of {', '.join(HASH_KEYS)}, got {hash_key!r}", option="hash_key"
        )
    number = _key_number(hash_function, FLAG(avalanche, "avalanche"), balance, key_hash)
    weights = whole_weights(hosts, "HAProxy", highest=HIGHEST_WEIGHT)
    hosts = with_ids(hosts)
    starts = [start_of(host) for host in hosts]
    nodes = unpack(
        in_ring_order(
            [full_hash(start + j) for j in range(NODES_A_WEIGHT * weight)]
            for start, weight in zip(starts, weights, strict=True)
        )
    )
    slots = tuple(zip((host.name for host in hosts), starts, weights, strict=True))
    return HaproxyConsistentTable(
        hosts,
        fingerprint_of("haproxy-consistent", hash_function, avalanche, balance, key_hash, slots),
        partial(
            build,
            hash_function=hash_function,
            avalanche=avalanche,
            hash_key=hash_key,
            balance=balance,
            key_hash=key_hash,
        ),
        nodes=nodes,
        position=position_by(number),
        source=balance == "source",
    )


def _key_number(
    hash_function: str, avalanche: bool, balance: str, key_hash: str | None
) -> HashFunction:
    """What HAProxy makes of a key's bytes before it looks for the nearest node."""
    number = hash_named(hash_function, HAPROXY_HASHES, option="hash_function")
    if key_hash is not None:
        if key_hash != "xxh32" or hash_function != "none":
            raise ConfigError(
                "key_hash is None, or 'xxh32' together with hash_function='none', "
                f"got {key_hash!r} with {hash_function!r}",
                option="key_hash",
            )
        number = xxhash_module().xxh32_intdigest
    if balance == "source":
        number = _of_address
    return _avalanche(number) if avalanche else number


def _of_address(text: bytes) -> int:
    return source_hash(packed_address(text) or b"")


def _avalanche(number: HashFunction) -> HashFunction:
    return lambda data: full_hash(number(data))


_MASK = 0xFFFFFFFF
_HIGHEST_ID = (1 << 31) - 1  # a positive C int
_IDS_APART = 4096  # SRV_EWGHT_RANGE: 256 x 16 nodes, so that two ids share no node
_FAMILY = re.compile(rb"ipv[46]@")
_BRACKETED = re.compile(rb"\[([^]]*)\](?::([0-9]*))?")
_HOST_PORT = re.compile(rb"(.*):([0-9]*)", re.DOTALL)


def with_ids(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The hosts, each with its ``id``: its own, or the first free one from its position on.

    Raises ``ConfigError`` for an id that HAProxy refuses and for one that two hosts have.

    >>> [host.id for host in with_ids([Host("a"), Host("b", id=7), Host("c"), Host("d", id=3)])]
    [1, 7, 4, 3]
    """
    hosts = tuple(hosts)
    taken: dict[int, str] = {}
    for host in hosts:
        if host.id is None:
            continue
        if not 1 <= host.id <= _HIGHEST_ID:
            raise ConfigError(
                f"host {host.name!r}: id must be from 1 to 2^31-1 in HAProxy, got {host.id}",
                option="id",
            )
        if host.id in taken:
            raise ConfigError(
                f"hosts {taken[host.id]!r} and {host.name!r} have the same id {host.id}: give each "
                "its own",
                option="id",
            )
        taken[host.id] = host.name
    return tuple(_number(hosts, taken))


def _number(hosts: Iterable[Host], taken: Mapping[int, str]) -> Iterable[Host]:
    used = set(taken)
    number = 1  # check_config_validity() of cfgparse.c counts on from the last id it gave
    for host in hosts:
        if host.id is None:
            while number in used:
                number += 1
            used.add(number)
            yield replace(host, id=number)
        else:
            yield host
        number += 1


def _by_id(host: Host) -> int:
    return (host.id or 0) * _IDS_APART & _MASK


def _by_id32(host: Host) -> int:
    return full_hash(int.from_bytes((host.id or 0).to_bytes(4, "big"), "little"))


def _by_address(host: Host) -> int:
    address, _ = _address_of(host, "addr")
    return _mix(address, 0)


def _by_address_and_port(host: Host) -> int:
    address, port = _address_of(host, "addr-port")
    if port is None or port > 65535:
        raise ConfigError(
            f"host {host.name!r}: hash_key 'addr-port' needs an address with a port, "
            f"got address {host.address!r}",
            option="address",
        )
    return _mix(address, full_hash(port))


def _by_guid(host: Host) -> int:
    if not host.guid:
        raise ConfigError(
            f"host {host.name!r}: hash_key 'guid' needs a guid, and it has none", option="guid"
        )
    return xxh32(text_bytes(host.guid))


def _mix(address: bytes, seed: int) -> int:
    if len(address) == 4:
        return full_hash((seed + int.from_bytes(address, "little")) & _MASK)
    return xxh32(address, seed)


def _address_of(host: Host, hash_key: str) -> tuple[bytes, int | None]:
    """The packed address and the port of ``host.address``, read as HAProxy reads it.

    Without brackets the last colon stands before the port (``str2sa_range``), unless what is
    before it is not an address.
    """
    text = text_bytes(host.address)
    text = _FAMILY.sub(b"", text, count=1) if _FAMILY.match(text) else text
    split = _BRACKETED.fullmatch(text) or _HOST_PORT.fullmatch(text)
    if split:
        address = packed_address(split[1])
        if address is not None:
            return address, int(split[2]) if split[2] else None
    address = packed_address(text)
    if address is None:
        raise ConfigError(
            f"host {host.name!r}: hash_key {hash_key!r} needs an IP address, "
            f"got address {host.address!r}",
            option="address",
        )
    return address, None


HASH_KEYS: Mapping[str, Callable[[Host], int]] = MappingProxyType(
    {
        "id": _by_id,
        "id32": _by_id32,
        "addr": _by_address,
        "addr-port": _by_address_and_port,
        "guid": _by_guid,
    }
)
"""What ``hash-key`` takes, and the number that a server's nodes count from."""
