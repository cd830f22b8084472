"""Which host does Envoy's ``MAGLEV`` choose?

A table of a prime number of slots, which hosts fill in turn, each by its own permutation. Shares
are even to a fraction of a percent; when one host goes, few keys of the others move.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key, text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import RememberingTable, position_by
from hashring.placement._hashes import xxhash_module
from hashring.validators import int_between

GUARANTEES = frozenset({"order_free", "weighted"})
SOURCE = "Envoy 1.40.0, load_balancing_policies/maglev/maglev_lb.cc"
COST = "one XXH64 and one array read; a build of 65,537 slots is about 30 ms"
EXPORTS = ("envoy",)

DEFAULT_SIZE = 65537
LARGEST_SIZE = 5_000_011  # Envoy's own limit; such a table takes about 15 s to fill
HIGHEST_WEIGHT = (1 << 32) - 1  # a uint32 in Envoy's API
_MASK = (1 << 64) - 1

_ATTEMPTS_A_HOST = 32
"""How long ``walk`` follows Envoy's retries: of n equal hosts, 32 n attempts miss one in e^32."""


class MaglevTable(RememberingTable):
    """The filled table; a down host is as if it had never been configured.

    ``walk`` is the order of Envoy's retries: attempt a looks up ``hash XOR (2^64 - a)``.
    """

    __slots__ = ("_slots", "position")

    def __init__(
        self,
        hosts: tuple[Host, ...],
        fingerprint: str,
        make: Callable[[tuple[Host, ...]], MaglevTable],
        *,
        slots: array[int],
        position: Callable[[Key], int],
    ) -> None:
        super().__init__(hosts, fingerprint, make)
        self._slots = slots
        self.position = position

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host of ``key``; None in a table without hosts."""
        if unavailable:
            return self.without(unavailable).lookup(key)
        position, slots = self.position(key), self._slots
        return self.hosts[slots[position % len(slots)]] if slots else None

    def _owner(self, key: Key) -> str | None:
        return self.lookup(key)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts as Envoy's retries meet them; those it does not meet come last, by name."""
        position, slots = self.position(key), self._slots
        left = dict.fromkeys(self.hosts)
        for attempt in range(_ATTEMPTS_A_HOST * len(left) if slots else 0):
            turned = position ^ (-attempt & _MASK)  # attempt 0: the hash itself
            name = self.hosts[slots[turned % len(slots)]]
            if name in left:
                del left[name]
                yield name
                if not left:
                    return
        yield from left


def build(hosts: tuple[Host, ...], *, table_size: int = DEFAULT_SIZE) -> MaglevTable:
    """Envoy's Maglev table over ``hosts``; whole weights, and a prime size of at most 5,000,011.

    Envoy sorts the hosts by their key, so their order does not matter. Raises ``ConfigError`` for a
    size that is not a prime, naming the next one, and for a weight that is not whole.
    Cost: O(size log size), about 30 ms for 65,537 slots.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9001, 9002, 9003))
    >>> build(hosts, table_size=1009).lookup("user:0")
    '127.0.0.1:9002'
    """
    size = int_between(2, LARGEST_SIZE)(table_size, "table_size")
    if not _is_prime(size):
        prime = next(n for n in range(size, 2 * size) if _is_prime(n))
        raise ConfigError(
            f"table_size must be a prime, got {size}: the next one is {prime}", option="table_size"
        )
    hosts = tuple(sorted(hosts, key=lambda host: text_bytes(host.name)))
    weights = whole_weights(hosts, "Envoy", highest=HIGHEST_WEIGHT)
    slots = tuple((host.name, weight) for host, weight in zip(hosts, weights, strict=True))
    return MaglevTable(
        hosts,
        fingerprint_of("envoy-maglev", size, slots),
        partial(build, table_size=size),
        slots=fill_slots([text_bytes(host.name) for host in hosts], weights, size),
        position=position_by(xxhash_module().xxh64_intdigest),
    )


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def fill_slots(keys: Sequence[bytes], weights: Sequence[int], size: int) -> array[int]:
    """The slots, each with the index of its host. Cost: O(size log size).

    >>> list(fill_slots([b"a", b"b"], [1, 3], 7))
    [1, 0, 1, 1, 1, 1, 0]
    """
    xxh64 = xxhash_module().xxh64_intdigest
    if not keys:
        return array("i")
    at = [xxh64(key, 0) % size for key in keys]
    skips = [xxh64(key, 1) % (size - 1) + 1 for key in keys]
    slots = [-1] * size
    for host in _turns(weights, size):
        slot = at[host]
        if slots[slot] >= 0:
            skip = skips[host]
            while slots[slot] >= 0:
                slot += skip
                if slot >= size:
                    slot -= size
            at[host] = slot
        slots[slot] = host
    return array("i", slots)


def _turns(weights: Sequence[int], size: int) -> Iterator[int]:
    """Whose turn it is, ``size`` times: the heaviest in every round, the others less often.

    Doubles, in Envoy's order of operations.
    """
    total = float(sum(weights))
    shares = [weight / total for weight in weights]
    highest = max(shares)
    targets = [0.0] * len(shares)
    turn, hosts = 0, range(len(shares))
    while True:
        turn += 1
        for host in hosts:
            if turn * shares[host] >= targets[host]:
                targets[host] += highest
                yield host
                size -= 1
                if not size:
                    return
