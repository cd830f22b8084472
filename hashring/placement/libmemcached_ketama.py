"""Which memcached does libmemcached's ``KETAMA`` choose?  The unweighted form, and SPY.

This is what PHP's memcached and pylibmc call "ketama" or "consistent" when no weights are given:
100 points a host, each one 32-bit hash by the function that hashes keys too. It places most keys
elsewhere than ``KETAMA_WEIGHTED``, which is the placement ``ketama``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hashring.hosts import Host
from hashring.keys import text_bytes
from hashring.placement._base import fingerprint_of, whole_weights
from hashring.placement._circle import CircleTable, host_fields, in_ring_order, position_by
from hashring.placement._hashes import HashFunction, hash_named
from hashring.placement.ketama import group_points, point_groups
from hashring.ring.index import Index
from hashring.ring.layout import check_total
from hashring.validators import FLAG

# with a weight above 1 it turns into the weighted form, whose points shift with every host
GUARANTEES = frozenset({"weighted"})
SOURCE = "libmemcached 1.1.4, src/libmemcached/hosts.cc (KETAMA, KETAMA_SPY)"
COST = "one key hash and the ring's look-up; 100 points a host, 160 with weights"
EXPORTS: tuple[str, ...] = ()

POINTS_A_HOST = 100  # MEMCACHED_POINTS_PER_SERVER
MOST_POINTS_A_HOST = 160  # MEMCACHED_POINTS_PER_SERVER_KETAMA, on average over the hosts
DEFAULT_PORT = "11211"  # MEMCACHED_DEFAULT_PORT: left out of a label, but not by SPY


def build(
    hosts: tuple[Host, ...], *, key_hash: str = "one_at_a_time", spy: bool = False
) -> CircleTable:
    """The circle of ``MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA``; ``spy=True``: ``..._KETAMA_SPY``.

    One weight above 1 silently turns the weighted form on, as it does there: MD5 points in
    proportion to the weights, while keys are hashed as before. Raises ``ConfigError`` for an
    unknown hash and a weight that is not whole. Cost: 100 hashes a host.

    >>> hosts = (Host("10.0.0.1:11211"), Host("10.0.0.2:11211"))
    >>> build(hosts).lookup("user:2"), build(hosts, spy=True).lookup("user:2")
    ('10.0.0.1:11211', '10.0.0.2:11211')
    """
    weighted = any(weight > 1 for weight in whole_weights(hosts, "libmemcached"))
    return _table(hosts, key_hash=key_hash, spy=FLAG(spy, "spy"), weighted=weighted)


def _table(hosts: tuple[Host, ...], *, key_hash: str, spy: bool, weighted: bool) -> CircleTable:
    # the weighted form stays on when the host that brought it is gone
    number = hash_named(key_hash)
    check_total(MOST_POINTS_A_HOST * len(hosts))
    labels = [_spy_label(host.name) if spy else _label(host.name) for host in hosts]
    if weighted:
        groups = point_groups(whole_weights(hosts, "libmemcached"))
        points = [group_points(label, count) for label, count in zip(labels, groups, strict=True)]
    else:
        points = _single_points(labels, number)
    return CircleTable(
        hosts,
        fingerprint_of("libmemcached-ketama", key_hash, spy, weighted, host_fields(hosts)),
        partial(_table, key_hash=key_hash, spy=spy, weighted=weighted),
        index=Index.build(in_ring_order(points), [host.name for host in hosts]),
        position=position_by(number),
    )


def _single_points(labels: Sequence[str], number: HashFunction) -> list[list[int]]:
    stems = [text_bytes(label) + b"-" for label in labels]
    return [[number(b"%b%d" % (stem, i)) for i in range(POINTS_A_HOST)] for stem in stems]


def _label(name: str) -> str:
    return name.removesuffix(f":{DEFAULT_PORT}")


def _spy_label(name: str) -> str:
    """spymemcached writes a socket's address as ``/host:port``, whatever the port."""
    _, colon, port = name.rpartition(":")
    return f"/{name}" if colon and port.isdecimal() else f"/{name}:{DEFAULT_PORT}"
