"""Which host does Envoy's ``RING_HASH`` choose?

A host's name is Envoy's hash key: the ``hash_key`` of its metadata, its hostname, or ``ip:port``.
The ring holds the usable hosts only, and is scaled again when one leaves: of five equal hosts each
has 205 points, of four 256, so that keys of hosts that stay move, too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import RingOrderTable, host_fields, in_ring_order, position_by
from hashring.placement._hashes import HashFunction, hash_named, murmur2_64, xxh64, xxhash_module
from hashring.ring.index import Index
from hashring.validators import int_between

GUARANTEES = frozenset({"weighted"})
SOURCE = "Envoy 1.40.0, load_balancing_policies/ring_hash/ring_hash_lb.cc"
COST = "one XXH64 and the ring's look-up; a build is 1.5 us a point, 1,024 and more of them"
EXPORTS = ("envoy",)

LARGEST_RING = 8_388_608
"""Envoy's own limit of both sizes, and that of a native ring. Only weights some thousands apart or
a ``minimum_ring_size`` of that order come near it; such a ring takes about 40 s and 1.5 GB."""

_MANY_POINTS = 1 << 20  # about 5 s: long enough to be worth a line in the log
_SECONDS_A_POINT = 5e-6
_BYTES_A_POINT = 180

_log = logging.getLogger("hashring")

HIGHEST_WEIGHT = (1 << 32) - 1  # a uint32 in Envoy's API

_HASHES = {"xxhash": xxh64, "murmur2": murmur2_64}


def build(
    hosts: tuple[Host, ...],
    *,
    minimum_ring_size: int = 1024,
    maximum_ring_size: int = LARGEST_RING,
    hash_function: str = "xxhash",
) -> RingOrderTable:
    """Envoy's ring over ``hosts`` in cluster order; whole weights.

    ``walk`` is the order in which Envoy's retries meet hosts that were not tried before. The
    request's hash is XXH64 for both hash functions. Raises ``ConfigError`` for sizes outside
    1 .. 8,388,608, a minimum above the maximum, or a weight that is not whole.
    Cost: 1.5 us a point, from ``minimum_ring_size`` to ``maximum_ring_size`` of them.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9001, 9002, 9003))
    >>> build(hosts).lookup("user:0")
    '127.0.0.1:9003'
    """
    sizes = check_sizes(
        ("minimum_ring_size", minimum_ring_size), ("maximum_ring_size", maximum_ring_size)
    )
    point = hash_named(hash_function, _HASHES, option="hash_function")
    weights = whole_weights(hosts, "Envoy", highest=HIGHEST_WEIGHT)
    index = ring([host.name for host in hosts], weights, sizes, point)
    make = partial(
        build,
        minimum_ring_size=minimum_ring_size,
        maximum_ring_size=maximum_ring_size,
        hash_function=hash_function,
    )
    return RingOrderTable(
        hosts,
        fingerprint_of("envoy-ring", sizes, hash_function, host_fields(hosts)),
        make,
        index=index,
        position=position_by(xxhash_module().xxh64_intdigest),
    )


def check_sizes(minimum: tuple[str, object], maximum: tuple[str, object]) -> tuple[int, int]:
    """Both sizes, given with their options' names, if a ring can have them, else ``ConfigError``.

    >>> check_sizes(("min_ring_size", 1024), ("max_ring_size", 4096))
    (1024, 4096)
    """
    (low_name, low), (high_name, high) = minimum, maximum
    least = int_between(1, LARGEST_RING)(low, low_name)
    most = int_between(1, LARGEST_RING)(high, high_name)
    if least > most:
        raise ConfigError(
            f"{low_name} ({least}) must not be above {high_name} ({most})", option=low_name
        )
    return least, most


def point_counts(weights: Sequence[int], minimum: int, maximum: int) -> Iterator[int]:
    """How many points each host gets, by Envoy's running doubles, in its order of operations.

    >>> list(point_counts([1, 1, 1], 1024, 8388608)), list(point_counts([1, 1, 1], 4, 4))
    ([342, 342, 342], [2, 1, 1])
    """
    if not weights:
        return
    total = float(sum(weights))
    least = min(weights) / total
    scale = min(math.ceil(least * minimum) / least, float(maximum))
    target = 0.0
    placed = 0  # Envoy counts it in a double, which is exact far beyond 2^23
    for weight in weights:
        target += scale * (weight / total)
        count = max(0, math.ceil(target) - placed)
        placed += count
        yield count


def points_of(name: str, count: int, point: HashFunction) -> list[int]:
    """The first ``count`` points of a host: the hash of ``name_0``, ``name_1``, ...

    >>> [hex(point) for point in points_of("127.0.0.1:9001", 2, xxh64)]
    ['0x3eee954d5ec5315f', '0xccf61af871a74b06']
    """
    stem = text_bytes(name) + b"_"
    return [point(b"%b%d" % (stem, i)) for i in range(count)]


def ring(
    names: Sequence[str], weights: Sequence[int], sizes: tuple[int, int], point: HashFunction
) -> Index[str]:
    """The index of Envoy's ring; gRPC builds the same.

    Of two equal points either may win there; here it is that of the host given first.
    """
    counts = list(point_counts(weights, *sizes))
    total = sum(counts)
    if total > _MANY_POINTS:
        _log.warning(
            "a ring of %s points takes about %.0f s and %.1f GB: bring the weights closer together "
            "or the ring sizes down, here and in the proxy, if that is too much",
            f"{total:,}",
            total * _SECONDS_A_POINT,
            total * _BYTES_A_POINT / 1e9,
        )
    hash_bytes = xxhash_module().xxh64_intdigest if point is xxh64 else point
    points = (points_of(name, count, hash_bytes) for name, count in zip(names, counts, strict=True))
    return Index.build(in_ring_order(points), names, bits=64)
