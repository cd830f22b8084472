"""Which placement, and how many vnodes?  For a wanted peak, a number of hosts, and a proxy or none.

Peaks are from the closed form of a random ring (``ring.layout.expected_peak``). What moves is
measured: each choice is built over the hosts and one more, and 10,000 keys are looked up in both
(the standard error of a moved fraction p is ``sqrt(p (1 - p) / 10,000)``, at most half a percent).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hashring.analysis._tally import totals
from hashring.analysis.change import Change
from hashring.analysis.membership import Membership
from hashring.analysis.plan import between_stayers
from hashring.analysis.reports import Report
from hashring.analysis.sheets import Sheet, percent
from hashring.errors import ConfigError
from hashring.placement import module
from hashring.ring.layout import (
    MOST_VNODES_OF_A_HOST,
    MOST_VNODES_OF_A_RING,
    expected_peak,
    vnodes_for_peak,
)

__all__ = ["EXPORTS", "Advice", "Choice", "advise"]

_KEYS = 10_000
_MEASURED = 1 << 20  # points of the largest table that is built only to be tried: two seconds each
_STEPS = 1e7  # and what its look-ups may cost, in steps of 0.3 us: three seconds
_MAGLEV_SIZES = (65_537, 655_373, 5_000_011)  # primes: Envoy's default, ten times, its limit


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to reach the peak, or to come as near as the program lets you.

    ``weight`` is what each host gets where a program has no vnodes to set. ``points`` is how many
    points stand for all hosts; ``peak`` the peak/mean to expect of all possible keys. ``moved`` and
    ``collateral`` are the fractions of keys that move, and that move between two hosts that stay,
    when one host is added; None where it was too large to try.
    """

    placement: str
    options: Mapping[str, Any]
    weight: int
    points: int
    peak: float
    reaches: bool
    moved: float | None
    collateral: float | None
    why: str

    @property
    def settings(self) -> str:
        """What to set, in one line."""
        parts = [f"{name}={value}" for name, value in self.options.items()]
        parts += [f"weight {self.weight} for each host"] if self.weight > 1 else []
        return ", ".join(parts) or "no option"


@dataclass(frozen=True, slots=True)
class Advice(Report):
    """The report of ``advise``: ``choices``, the recommended one first."""

    hosts: int
    peak: float
    export: str | None
    minimum: float
    choices: tuple[Choice, ...]

    def sheets(self) -> tuple[Sheet, ...]:
        """The choices side by side, then why."""
        rows = tuple(
            (
                choice.placement,
                choice.settings,
                f"{choice.points:,}" if choice.points else "",
                f"{choice.peak:.3f}" + ("" if choice.reaches else " (!)"),
                percent(choice.moved),
                percent(choice.collateral),
            )
            for choice in self.choices
        )
        heads = ("placement", "set", "points", "peak/mean", "moved", "stayers")
        note = (
            f"moved: of all keys when a host joins (at least {percent(self.minimum)}); "
            "stayers: of those, between hosts that stay"
        )
        if not all(choice.reaches for choice in self.choices):
            note += "; (!): above what is wanted"
        why = tuple((choice.placement, choice.why) for choice in self.choices)
        return (
            Sheet("Choices", heads, rows, left=2, note=note, strong=frozenset({0})),
            Sheet("Why", ("placement", ""), why, left=2),
        )

    def sentence(self) -> str:
        """What to take."""
        first = self.choices[0]
        text = (
            f"Take {first.placement} with {first.settings}: peak/mean {first.peak:.3f} "
            f"at {self.hosts:,} hosts"
        )
        if not first.reaches:
            text += f", for {self.peak:g} is out of reach; load_factor bounds each host's load"
        return f"{text}."


def advise(peak: float, hosts: int, *, export: str | None = None) -> Advice:
    """How to reach ``peak``/mean at ``hosts`` equal hosts; ``export`` names the proxy to come.

    ``export`` is one of ``EXPORTS``, for a team whose proxy shall one day place as Python does
    now, or None. Cost: up to some seconds, for every choice is built and tried. Raises
    ``ConfigError`` for a peak of at most 1, hosts below 1 and an unknown proxy.

    >>> advice = advise(1.10, 10)
    >>> advice.choices[0].placement, advice.choices[0].options, advice.choices[0].collateral
    ('ring', {'vnodes': 235}, 0.0)
    >>> advise(1.10, 10, export="envoy").choices[0].placement
    'envoy-maglev'
    """
    if not isinstance(hosts, int) or isinstance(hosts, bool) or hosts < 1:
        raise ConfigError(f"hosts must be an int of at least 1, got {hosts!r}", option="hosts")
    if export is not None and export not in _CHOICES:
        raise ConfigError(
            f"there is no export to {export!r}: name one of {', '.join(EXPORTS)}, or none",
            option="export",
        )
    vnodes = _vnodes(peak, hosts)
    drafts = _CHOICES[export](peak, hosts, vnodes)
    found = [_measured(draft, peak, hosts) for draft in drafts]
    # what reaches the peak first, then what leaves the others alone; sort() is stable, and half a
    # percent is what the measure cannot tell apart
    found.sort(key=lambda choice: (not choice.reaches, round(200 * (choice.collateral or 0.0))))
    return Advice(hosts, float(peak), export, 1 / (hosts + 1), tuple(found))


@dataclass(frozen=True, slots=True)
class _Draft:
    placement: str
    options: Mapping[str, Any]
    points: int
    peak: float
    why: str
    weight: int = 1
    cost: float = 1.0  # of a look-up, in steps of 0.3 us: what decides whether it is tried


_Drafter: TypeAlias = Callable[[float, int, int], list[_Draft]]


def _vnodes(peak: float, hosts: int) -> int:
    """The vnodes a host for this peak, as many as a ring may have where that is too little."""
    most = min(MOST_VNODES_OF_A_HOST, MOST_VNODES_OF_A_RING // hosts) or 1
    try:
        return min(vnodes_for_peak(peak, hosts), most)
    except ConfigError as error:
        if "needs more than" not in str(error):
            raise
        return most


def _measured(draft: _Draft, peak: float, hosts: int) -> Choice:
    moved = collateral = None
    if draft.points <= _MEASURED and 2 * _KEYS * draft.cost <= _STEPS:
        # names of one length, as of a fleet; what moves does not depend on them but by chance
        fleet = [(f"host-{number:05}", draft.weight) for number in range(hosts)]
        before = Membership.of(fleet, draft.placement, **draft.options)
        after = before.after(Change(add=[(f"host-{hosts:05}", draft.weight)]))
        ways = totals({b"key-%d" % i: 1 for i in range(_KEYS)}, [before.table, after.table])
        movers = sum(clients for (old, new), (clients, _) in ways.items() if old != new)
        moved = movers / _KEYS
        collateral = between_stayers(ways, before, after).client_share
    elif "minimal_move" in module(draft.placement).GUARANTEES:
        moved, collateral = 1 / (hosts + 1), 0.0
    return Choice(
        placement=draft.placement,
        options=draft.options,
        weight=draft.weight,
        points=draft.points,
        peak=draft.peak,
        reaches=draft.peak <= peak,
        moved=moved,
        collateral=collateral,
        why=draft.why,
    )


def _ours(peak: float, hosts: int, vnodes: int) -> list[_Draft]:
    # k probes on V vnodes spread as V (2k - 1) vnodes do, down to a peak of k/(k-1): for a peak p
    # k = p/(p-1) is enough, and 1,024 is the most
    probes = min(max(2, math.ceil(peak / (peak - 1))), 1024)
    spread = expected_peak(16 * (2 * probes - 1), hosts)
    return [
        _Draft(
            "ring",
            {"vnodes": vnodes},
            vnodes * hosts,
            expected_peak(vnodes, hosts),
            "The default: any weights, 0.2 us a look-up at any size, a change costs what it moves.",
        ),
        _Draft(
            "multiprobe",
            {"probes": probes},
            16 * hosts,
            min(spread, probes / (probes - 1)) if hosts > 1 else 1.0,
            f"A small table; each look-up is {probes:,} searches, about {0.2 * probes:,.0f} us.",
            cost=probes,
        ),
        _Draft(
            "rendezvous",
            {},
            0,
            1.0,
            f"Even but for chance, no table; about {0.3 * hosts:,.0f} us a look-up at "
            f"{hosts:,} hosts.",
            cost=hosts,
        ),
    ]


def _envoy(peak: float, hosts: int, vnodes: int) -> list[_Draft]:
    points = vnodes * hosts
    slots = next((size for size in _MAGLEV_SIZES if _maglev_peak(size, hosts) <= peak), None)
    size = _MAGLEV_SIZES[-1] if slots is None else slots
    return [
        _Draft(
            "envoy-ring",
            {"minimum_ring_size": points},
            points,
            expected_peak(vnodes, hosts),
            "Envoy spreads one number of points over however many hosts there are, so a host that "
            "comes takes points from all, and keys move between hosts that stay.",
        ),
        _Draft(
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


def _nginx(peak: float, hosts: int, vnodes: int) -> list[_Draft]:
    each = 160  # points a unit of weight, fixed in nginx
    weight = max(1, math.ceil(vnodes / each))
    return [
        _Draft(
            "nginx-consistent",
            {},
            each * weight * hosts,
            expected_peak(each * weight, hosts),
            "nginx has 160 points a unit of weight and no way to set it: a weight for all is the "
            "way to more points.",
            weight=weight,
        ),
        _Draft(
            "nginx-hash",
            {},
            0,
            1.0,
            "Even but for chance, and a resize moves nearly all: for pools that never change.",
        ),
    ]


def _haproxy(peak: float, hosts: int, vnodes: int) -> list[_Draft]:
    # a key goes to the nearest node on either side, which makes shares more even than on a ring
    # with as many points; but nodes follow the ids, which are no random numbers: over 4 to 38
    # hosts the mean peak was 1.33, 1.16, 1.09 at weight 2, 4, 16, where a ring has 1.33, 1.23, 1.11
    weight = min(256, max(1, math.ceil(vnodes / 16)))
    return [
        _Draft(
            "haproxy-consistent",
            {},
            16 * weight * hosts,
            expected_peak(16 * weight, hosts),
            "HAProxy has 16 nodes a unit of weight (1 to 256), and is a little more even than "
            "this; state ids for the servers, or a line that is removed moves those below it.",
            weight=weight,
        ),
        _Draft(
            "haproxy-map",
            {},
            hosts,
            1.0,
            "Even but for chance, and a resize moves nearly all: for pools that never change.",
        ),
    ]


_CHOICES: dict[str | None, _Drafter] = {
    None: _ours,
    "envoy": _envoy,
    "haproxy": _haproxy,
    "nginx": _nginx,
}

EXPORTS = tuple(sorted(proxy for proxy in _CHOICES if proxy is not None))
"""The proxies that a placement can be exported to, each the word for ``advise(export=...)``."""
