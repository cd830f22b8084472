"""The positions of a host's vnodes. Layout 1 is frozen: a later layout gets a new number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise

from mmh3 import mmh3_32_uintdigest

from hashring.errors import ConfigError
from hashring.keys import text_bytes
from hashring.validators import COUNT, number, whole

LAYOUT = 1
BITS = 32  # murmur3_x86_32

CODE_BITS = 24
"""A vnode is packed as ``position << 24 | code``: 2^23 vnodes have at most 2^23 hosts."""

CODE_MASK = (1 << CODE_BITS) - 1

DEFAULT_VNODES = 512
"""The spread of a host's share is 1/sqrt(512) = 4.4 %: a mean peak/mean of 1.07 at 10 hosts and
1.11 at 100, for 40 kB of memory a host."""

MOST_VNODES_OF_A_HOST = 1 << 20
MOST_VNODES_OF_A_RING = 1 << 23
_SECONDS_A_VNODE = 2.8e-6  # 14 s for 10,000 hosts x 512
_BYTES_A_VNODE = 80
_KEPT_SUFFIXES = 1 << 11  # 90 kB; to format a number takes as long as to hash it


def vnode_positions(name: str, first: int, stop: int, seed: int) -> list[int]:
    """The positions of vnodes ``first`` .. ``stop - 1`` of host ``name``, in vnode order.

    Vnode i stands at ``murmur3_x86_32(f"{name}#{i}", seed)``. The separator keeps vnode 11 of host
    "1" apart from vnode 1 of host "11".

    >>> vnode_positions("web1", 0, 2, seed=0)
    [1648634802, 820043057]
    """
    stem = text_bytes(name)
    suffixes = _suffixes()[first:stop]
    if stop > _KEPT_SUFFIXES:
        suffixes += tuple(b"#%d" % i for i in range(max(first, _KEPT_SUFFIXES), stop))
    return [mmh3_32_uintdigest(stem + suffix, seed) for suffix in suffixes]


@cache
def _suffixes() -> tuple[bytes, ...]:
    return tuple(b"#%d" % i for i in range(_KEPT_SUFFIXES))


def vnode_count(vnodes: int, weight: float, name: str) -> int:
    """How many vnodes a host of this weight has; it depends on nothing else.

    Raises ``ConfigError`` above 2^20 vnodes.

    >>> vnode_count(512, 1.0, "a"), vnode_count(512, 0.001, "a"), vnode_count(100, 1.005, "a")
    (512, 1, 100)
    """
    wanted = vnodes * weight + 0.5
    if wanted >= MOST_VNODES_OF_A_HOST + 1:
        raise ConfigError(
            f"host {name!r}: weight {weight:g} at {vnodes} vnodes makes {_cost(wanted)}, and the "
            f"most is {MOST_VNODES_OF_A_HOST:,}: weights are ratios, so scale all of them down",
            option="weight",
        )
    return max(1, math.floor(wanted))


def packed_vnodes(counts: Mapping[str, int], seed: int) -> list[int]:
    """All vnodes of ``counts`` in ring order; a host's code is its place among the sorted names.

    One int sorts twice as fast as a tuple, and codes in the order of names settle ties by name.
    Cost: O(V log V), about 0.6 us each.

    >>> packed_vnodes({"a": 1}, seed=0)[0] >> CODE_BITS == vnode_positions("a", 0, 1, seed=0)[0]
    True
    """
    packed: list[int] = []
    for code, name in enumerate(sorted(counts)):
        positions = vnode_positions(name, 0, counts[name], seed)
        packed += [position << CODE_BITS | code for position in positions]
    packed.sort()
    return packed


def pack(vnodes: Iterable[tuple[int, int]]) -> list[int]:
    """Each (position, code) as one int, in the same order.

    >>> pack([(5, 3)]) == [5 << CODE_BITS | 3]
    True
    """
    return [position << CODE_BITS | code for position, code in vnodes]


def unpack(packed: Iterable[int]) -> list[tuple[int, int]]:
    """(position, code) of each packed vnode.

    >>> unpack([5 << CODE_BITS | 3])
    [(5, 3)]
    """
    return [(vnode >> CODE_BITS, vnode & CODE_MASK) for vnode in packed]


def check_total(total: int) -> None:
    """Refuse a ring of more than 2^23 vnodes with what it would cost.

    >>> check_total(10_000 * 512)
    """
    if total > MOST_VNODES_OF_A_RING:
        raise ConfigError(
            f"this ring would have {_cost(total)}, and the most is {MOST_VNODES_OF_A_RING:,}: use "
            "fewer vnodes or smaller weights",
            option="vnodes",
        )


def _cost(vnodes: float) -> str:
    seconds, size = vnodes * _SECONDS_A_VNODE, vnodes * _BYTES_A_VNODE / 1e9
    return f"{vnodes:,.0f} vnodes, about {seconds:,.0f} s to build and {size:,.1f} GB of memory"


_VNODES = whole("an int from 1 to 2^20", 1, MOST_VNODES_OF_A_HOST)
_PEAK = number("a number above 1, the perfect balance", 1, above=True)


def check_vnodes(vnodes: object) -> int:
    """``vnodes`` if it is an int from 1 to 2^20, else ``ConfigError``.

    >>> check_vnodes(160)
    160
    """
    return _VNODES(vnodes, "vnodes")


def expected_peak(vnodes: int, hosts: int) -> float:
    """The mean peak/mean of the shares of ``hosts`` equal hosts with ``vnodes`` vnodes each.

    ``1 + z*CoV + (z^2-1)/(3V)`` with ``CoV = sqrt((n-1)/(nV+1))`` (the shares of a random ring are
    Dirichlet distributed) and z the expected maximum of n standard normals; the last term is
    the Cornish-Fisher correction for the gamma's skewness. Cost: one integral, about 1 ms.

    >>> round(expected_peak(512, 10), 2), round(expected_peak(160, 100), 2)
    (1.07, 1.21)
    """
    z = _expected_maximum(hosts)
    cov = math.sqrt((hosts - 1) / (hosts * vnodes + 1))
    return 1 + z * cov + (z * z - 1) / (3 * vnodes) if hosts > 1 else 1.0


def vnodes_for_peak(peak: float, hosts: int) -> int:
    """The fewest vnodes whose expected peak/mean is at most ``peak``, and 5 % for luck.

    >>> vnodes_for_peak(1.05, 20)
    1427
    """
    COUNT(hosts, "hosts")
    _PEAK(peak, "peak")
    low, high = 1, MOST_VNODES_OF_A_HOST
    if expected_peak(high, hosts) > peak:
        raise ConfigError(
            f"peak/mean {peak:g} at {hosts} hosts needs more than {high:,} vnodes a host: ask "
            "for a higher "
            "peak, or bound the load of each host with load_factor",
            option="peak",
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if expected_peak(middle, hosts) <= peak else (middle + 1, high)
    return min(math.ceil(low * 1.05), MOST_VNODES_OF_A_HOST)


def _expected_maximum(n: int) -> float:
    """The mean of the greatest of n standard normals: the integral of x d(Phi(x)^n)."""
    step = 1 / 64  # midpoints; the error is below 1e-5 up to 10^6 hosts
    edges = [0.5 * (1 + math.erf(k * step / math.sqrt(2))) for k in range(-8 * 64, 8 * 64 + 1)]
    powers = [edge**n for edge in edges]
    return sum(
        (k + 0.5) * step * (above - below)
        for k, (below, above) in enumerate(pairwise(powers), -8 * 64)
    )
