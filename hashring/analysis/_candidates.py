"""What could one take, for each proxy to come?  Placements with the options for a wanted peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hashring.errors import ConfigError
from hashring.ring.layout import (
    MOST_VNODES_OF_A_HOST,
    MOST_VNODES_OF_A_RING,
    expected_peak,
    vnodes_for_peak,
)

_MAGLEV_SIZES = (65_537, 655_373, 5_000_011)  # primes: Envoy's default, ten times, its limit


@dataclass(frozen=True, slots=True)
class PlacementOption:
    placement: str
    options: Mapping[str, Any]
    points: int
    peak: float
    why: str
    weight: int = 1
    cost: float = 1.0  # of a look-up, in steps of 0.3 us: what decides whether it is tried


Drafter: TypeAlias = Callable[[float, int, int], list[PlacementOption]]


def vnodes_for(peak: float, hosts: int) -> int:
    """The vnodes a host for this peak, as many as a ring may have where that is too little."""
    most = min(MOST_VNODES_OF_A_HOST, MOST_VNODES_OF_A_RING // hosts) or 1
    try:
        return min(vnodes_for_peak(peak, hosts), most)
    except ConfigError as error:
        if "needs more than" not in str(error):
            raise
        return most


def _ours(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    # k probes on V vnodes spread as V (2k - 1) vnodes do, down to a peak of k/(k-1): for a peak p
    # k = p/(p-1) is enough, and 1,024 is the most
    probes = min(max(2, math.ceil(peak / (peak - 1))), 1024)
    spread = expected_peak(16 * (2 * probes - 1), hosts)
    return [
        PlacementOption(
            "ring",
            {"vnodes": vnodes},
            vnodes * hosts,
            expected_peak(vnodes, hosts),
            "The default: any weights, 0.2 us a look-up at any size, a change costs what it moves.",
        ),
        PlacementOption(
            "multiprobe",
            {"probes": probes},
            16 * hosts,
            min(spread, probes / (probes - 1)) if hosts > 1 else 1.0,
            f"A small table; each look-up is {probes:,} searches, about {0.2 * probes:,.0f} us.",
            cost=probes,
        ),
        PlacementOption(
            "rendezvous",
            {},
            0,
            1.0,
            f"Even but for chance, no table; about {0.3 * hosts:,.0f} us a look-up at "
            f"{hosts:,} hosts.",
            cost=hosts,
        ),
    ]


def _envoy(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    points = vnodes * hosts
    slots = next((size for size in _MAGLEV_SIZES if _maglev_peak(size, hosts) <= peak), None)
    size = _MAGLEV_SIZES[-1] if slots is None else slots
    return [
        PlacementOption(
            "envoy-ring",
            {"minimum_ring_size": points},
            points,
            expected_peak(vnodes, hosts),
            "Envoy spreads one number of points over however many hosts there are, so a host that "
            "comes takes points from all, and keys move between hosts that stay.",
        ),
        PlacementOption(
            "envoy-maglev",
            {"table_size": size},
            size,
            _maglev_peak(size, hosts),
            "Even to a slot, one array read a look-up; a change moves a few keys between hosts "
            "that stay, fewer the larger the table.",
        ),
    ]


def _maglev_peak(size: int, hosts: int) -> float:
    """Hosts fill the slots in turn, so none has more than the mean rounded up."""
    return math.ceil(size / hosts) * hosts / size


def _nginx(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    each = 160  # points a unit of weight, fixed in nginx
    weight = max(1, math.ceil(vnodes / each))
    return [
        PlacementOption(
            "nginx-consistent",
            {},
            each * weight * hosts,
            expected_peak(each * weight, hosts),
            "nginx has 160 points a unit of weight and no way to set it: a weight for all is the "
            "way to more points.",
            weight=weight,
        ),
        PlacementOption(
            "nginx-hash",
            {},
            0,
            1.0,
            "Even but for chance, and a resize moves nearly all: for pools that never change.",
        ),
    ]


def _haproxy(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    # a key goes to the nearest node on either side, which makes shares more even than on a ring
    # with as many points; but nodes follow the ids, which are not random numbers: over 4 to 38
    # hosts the mean peak was 1.33, 1.16, 1.09 at weight 2, 4, 16, where a ring has 1.33, 1.23, 1.11
    weight = min(256, max(1, math.ceil(vnodes / 16)))
    return [
        PlacementOption(
            "haproxy-consistent",
            {},
            16 * weight * hosts,
            expected_peak(16 * weight, hosts),
            "HAProxy has 16 nodes a unit of weight (1 to 256), and spreads more evenly. Give "
            "the servers IDs, or a line that is removed moves those below it.",
            weight=weight,
        ),
        PlacementOption(
            "haproxy-map",
            {},
            hosts,
            1.0,
            "Even but for chance, and a resize moves nearly all: for pools that never change.",
        ),
    ]


def _caddy(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    return [
        PlacementOption(
            "caddy-hrw",
            {},
            0,
            1.0,
            f"Even but for chance, no table, no weights; {hosts:,} hashes a look-up.",
            cost=hosts,
        )
    ]


def _traefik(peak: float, hosts: int, vnodes: int) -> list[PlacementOption]:
    return [
        PlacementOption(
            "traefik-hrw",
            {},
            0,
            1.0,
            f"Any weights, no table; {hosts:,} hashes a look-up. Uneven for hosts whose "
            "URLs differ only at the end.",
            cost=hosts,
        )
    ]


DRAFTERS: dict[str | None, Drafter] = {
    None: _ours,
    "caddy": _caddy,
    "envoy": _envoy,
    "haproxy": _haproxy,
    "nginx": _nginx,
    "traefik": _traefik,
}

EXPORTS = tuple(sorted(proxy for proxy in DRAFTERS if proxy is not None))
"""The proxies that a placement can be exported to, each the word for ``advise(export=...)``."""
