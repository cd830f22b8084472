"""Which endpoint does gRPC's ``ring_hash`` choose?

Envoy's ring with other sizes, and with another answer to failure: the ring stays, and a call walks
on, point by point, to the first endpoint that is not failing. A host's name is the endpoint's hash
key, its address text ``ip:port`` by default. Hosts with one address are one endpoint: their weights
add, the first gives the hash key, and the others stand in for it.
"""

from __future__ import annotations

from functools import partial

from hashring.hosts import Host
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import position_by
from hashring.placement._hashes import xxh64, xxhash_module
from hashring.placement._stepping import SteppedTable
from hashring.placement.envoy_ring import HIGHEST_WEIGHT, LARGEST_RING, check_sizes, ring

GUARANTEES = frozenset({"stable_under_down", "weighted"})
SOURCE = "gRPC C-core 1.85, load_balancing/ring_hash/ring_hash.cc"
COST = "one XXH64 and the ring's look-up; at most 4,096 points, a build is 1.5 us each"
EXPORTS: tuple[str, ...] = ()

RING_SIZE_CAP = 4096
"""``grpc.lb.ring_hash.ring_size_cap``: what gRPC cuts both sizes to, by default."""


def build(
    hosts: tuple[Host, ...], *, min_ring_size: int = 1024, max_ring_size: int = 4096
) -> SteppedTable:
    """gRPC's ring over ``hosts`` in resolver order; whole weights.

    Raises ``ConfigError`` for sizes outside 1 .. 8,388,608 or a minimum above the maximum, as gRPC
    does, and for a weight that is not whole. Cost: 1.5 us a point, at most 4,096 of them.

    >>> hosts = tuple(Host(f"127.0.0.1:{port}") for port in (9201, 9202, 9203))
    >>> table = build(hosts)
    >>> list(table.walk("user:0"))
    ['127.0.0.1:9201', '127.0.0.1:9203', '127.0.0.1:9202']
    >>> table.without(["127.0.0.1:9203"]).lookup("user:0")
    '127.0.0.1:9201'
    """
    sizes = check_sizes(("min_ring_size", min_ring_size), ("max_ring_size", max_ring_size))
    weights = dict(zip(hosts, whole_weights(hosts, "gRPC", highest=HIGHEST_WEIGHT), strict=True))
    endpoints: dict[str, list[Host]] = {}
    for host in hosts:
        endpoints.setdefault(host.address, []).append(host)
    places = [tuple(host.name for host in same) for same in endpoints.values()]
    totals = [sum(weights[host] for host in same) for same in endpoints.values()]
    capped = (min(sizes[0], RING_SIZE_CAP), min(sizes[1], RING_SIZE_CAP))
    return SteppedTable(
        hosts,
        fingerprint_of("grpc-ring", capped, tuple(zip(places, totals, strict=True))),
        partial(build, min_ring_size=min_ring_size, max_ring_size=max_ring_size),
        circle=ring([names[0] for names in places], totals, capped, xxh64),
        places=places,
        position=position_by(xxhash_module().xxh64_intdigest),
        steps=LARGEST_RING,  # gRPC goes all the way round
    )
