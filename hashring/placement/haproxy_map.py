"""Which server does HAProxy's ``hash-type map-based`` choose?

A table of slots, dealt out by weight, and the hash modulo its length. Names, ids and addresses play
no part. One server up or down moves most keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from math import gcd

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key, key_bytes
from hashring.placement._base import fingerprint_of, packed_address, whole_weights
from hashring.placement._circle import Make, RememberingTable
from hashring.placement._hashes import HAPROXY_HASHES, full_hash, hash_named
from hashring.validators import FLAG

GUARANTEES = frozenset({"weighted"})
SOURCE = "HAProxy 3.4.0, src/lb_map.c and src/backend.c"
COST = "one hash in pure Python (sdbm: 50 ns a byte) and a modulo; a build is 1 us a slot"
EXPORTS = ("haproxy",)

HIGHEST_WEIGHT = 256  # SRV_UWGHT_MAX; 0 takes a server out, as being down does
_BALANCES = ("hash", "source")


class HaproxyMapTable(RememberingTable):
    """The map over the usable servers. A single one is the answer for every key."""

    __slots__ = ("_number", "_slots")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Make,
        *,
        slots: Sequence[str],
        number: Callable[[bytes], int | None],
    ) -> None:
        super().__init__(hosts, fingerprint, make)
        self._slots = slots
        self._number = number

    def _owner(self, key: Key) -> str | None:
        data = key_bytes(key)
        if len(self.hosts) == 1:
            return self.hosts[0]
        number = self._number(data)
        return None if number is None else self._slots[number % len(self._slots)]


def build(
    hosts: tuple[Host, ...],
    *,
    hash_function: str = "sdbm",
    avalanche: bool = False,
    balance: str = "hash",
) -> HaproxyMapTable:
    """The table of ``hash-type map-based`` over ``hosts``, weights whole, 1 to 256.

    ``balance="source"`` takes the client's address as the key, and returns None for any other
    key; every other ``balance`` hashes the key's bytes. Raises ``ConfigError`` for what HAProxy
    refuses. Slots: the sum of the weights divided by their greatest common divisor.

    >>> build((Host("b1"), Host("b2"), Host("b3"))).lookup("user:0")
    'b3'
    """
    if balance not in _BALANCES:
        raise ConfigError(
            f"balance must be one of {', '.join(_BALANCES)}, got {balance!r}", option="balance"
        )
    FLAG(avalanche, "avalanche")
    # init_server_map() settles the divisor once, over all configured servers
    divisor = gcd(*whole_weights(hosts, "HAProxy", highest=HIGHEST_WEIGHT))
    return _table(hosts, (hash_function, avalanche, balance), divisor)


def _table(
    hosts: tuple[Host, ...], options: tuple[str, bool, str], divisor: int
) -> HaproxyMapTable:
    names = [host.name for host in hosts]
    weights = [int(host.weight) // divisor for host in hosts]
    return HaproxyMapTable(
        hosts,
        fingerprint_of("haproxy-map", options, tuple(zip(names, weights, strict=True))),
        partial(_table, options=options, divisor=divisor),
        slots=[names[index] for index in dealt(weights)],
        number=_number(*options),
    )


def _number(hash_function: str, avalanche: bool, balance: str) -> Callable[[bytes], int | None]:
    by_text = hash_named(hash_function, HAPROXY_HASHES, option="hash_function")

    def number(data: bytes) -> int | None:
        found = by_text(data)
        return full_hash(found) if avalanche else found

    def by_address(data: bytes) -> int | None:
        address = packed_address(data)
        if address is None:  # such a client is balanced in turn
            return None
        found = source_hash(address)
        return full_hash(found) if avalanche else found

    return by_address if balance == "source" else number


def source_hash(address: bytes) -> int:
    """The XOR of an address's 32-bit words, big endian; ``balance source`` takes no hash function.

    >>> hex(source_hash(bytes([192, 0, 2, 7])))
    '0xc0000207'
    """
    number = 0
    for start in range(0, len(address), 4):
        number ^= int.from_bytes(address[start : start + 4], "big")
    return number


def dealt(weights: Sequence[int]) -> list[int]:
    """The slots that ``recalc_server_map`` deals out: for each, the index of its server.

    In every round each score grows by its weight; the first of those with the highest level,
    ``(score + total) / total``, takes the slot and pays ``total``. After round t a server that took
    n slots has the score ``weight * t - total * n``, so the round in which it reaches a level is
    known beforehand. Cost: O(slots x log servers), where trying all is slots x servers.

    >>> dealt([1, 2, 1])
    [0, 1, 1, 2]
    """
    total = sum(weights)
    taken = [0] * len(weights)
    ready: list[tuple[int, int, int]] = []  # heap of (-level, index, slots taken by then)
    rises: list[list[tuple[int, int, int]]] = [[] for _ in range(total + 1)]  # by round

    def await_level(index: int, level: int, earliest: int) -> None:
        owed = total * (taken[index] + level - 1)  # level 1 begins at score 0, 2 at total, ...
        at = max(earliest, -(-owed // weights[index]))
        if at <= total:
            rises[at].append((-level, index, taken[index]))

    for index in range(len(weights)):
        await_level(index, 1, 1)
    slots = []
    for now in range(1, total + 1):
        for rise in rises[now]:  # which grows when one rises by two levels in one step
            lowered, index, count = rise
            if count == taken[index]:
                heappush(ready, rise)
                await_level(index, 1 - lowered, now)
        _, index, count = heappop(ready)  # never empty: the scores sum up to total
        while count != taken[index]:  # an entry from before its last slot
            _, index, count = heappop(ready)
        slots.append(index)
        taken[index] += 1
        score = weights[index] * now - total * taken[index]
        await_level(index, max(1, score // total + 1), now + 1)
    return slots
