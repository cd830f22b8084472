"""Which placement, and how many vnodes?  For a wanted peak, a number of hosts, and a proxy or none.

Peaks are from the closed form of a random ring (``ring.layout.expected_peak``). What moves is
measured: each choice is built over the hosts and one more, and 10,000 keys are looked up in both
(the standard error of a moved fraction p is ``sqrt(p (1 - p) / 10,000)``, at most half a percent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hashring.analysis._candidates import DRAFTERS, EXPORTS, PlacementOption, vnodes_for
from hashring.analysis._counting import totals
from hashring.analysis.change import Change
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.plan import between_stayers
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, percent
from hashring.errors import ConfigError
from hashring.placement import module
from hashring.validators import COUNT

_KEYS = 10_000
_MEASURED = 1 << 20  # points of the largest table that is built only to be tried: two seconds each
_STEPS = 1e7  # and what its look-ups may cost, in steps of 0.3 us: three seconds


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

    def tables(self) -> tuple[ReportTable, ...]:
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
            "unnecessary: of those, between hosts that stay"
        )
        if not all(choice.reaches for choice in self.choices):
            note += "; (!): above what is wanted"
        why = tuple((choice.placement, choice.why) for choice in self.choices)
        return (
            ReportTable("Choices", heads, rows, left=2, note=note, strong=frozenset({0})),
            ReportTable("Why", ("placement", ""), why, left=2),
        )

    def sentence(self) -> str:
        """What to take."""
        first = self.choices[0]
        text = (
            f"Take {first.placement} with {first.settings}: peak/mean {first.peak:.3f} "
            f"at {self.hosts:,} hosts"
        )
        if not first.reaches:
            text += f", because {self.peak:g} is out of reach; load_factor bounds each host's load"
        return f"{text}."


def advise(peak: float, hosts: int, *, export: str | None = None) -> Advice:
    """How to reach ``peak``/mean at ``hosts`` equal hosts; ``export`` names the proxy to come.

    ``export`` is one of ``EXPORTS``, for a team whose proxy shall one day place as Python does
    now, or None. Cost: up to some seconds, because every choice is built and tried. Raises
    ``ConfigError`` for a peak of at most 1, hosts below 1 and an unknown proxy.

    >>> advice = advise(1.10, 10)
    >>> advice.choices[0].placement, advice.choices[0].options, advice.choices[0].collateral
    ('ring', {'vnodes': 235}, 0.0)
    >>> advise(1.10, 10, export="envoy").choices[0].placement
    'envoy-maglev'
    """
    COUNT(hosts, "hosts")
    if export is not None and export not in DRAFTERS:
        raise ConfigError(
            f"there is no export to {export!r}: name one of {', '.join(EXPORTS)}, or none",
            option="export",
        )
    vnodes = vnodes_for(peak, hosts)
    candidates = DRAFTERS[export](peak, hosts, vnodes)
    found = [_measure_choice(candidate, peak, hosts) for candidate in candidates]
    # what reaches the peak first, then what leaves the others alone; sort() is stable, and half a
    # percent is what the measure cannot tell apart
    found.sort(key=lambda choice: (not choice.reaches, round(200 * (choice.collateral or 0.0))))
    return Advice(hosts, float(peak), export, 1 / (hosts + 1), tuple(found))


def _measure_choice(candidate: PlacementOption, peak: float, hosts: int) -> Choice:
    moved = collateral = None
    if candidate.points <= _MEASURED and 2 * _KEYS * candidate.cost <= _STEPS:
        # names of one length, as of a fleet; what moves does not depend on them but by chance
        fleet = [(f"host-{number:05}", candidate.weight) for number in range(hosts)]
        before = PlacedHosts.of(fleet, candidate.placement, **candidate.options)
        after = before.after(Change(add=[(f"host-{hosts:05}", candidate.weight)]))
        ways = totals({b"key-%d" % i: 1 for i in range(_KEYS)}, [before.table, after.table])
        movers = sum(clients for (old, new), (clients, _) in ways.items() if old != new)
        moved = movers / _KEYS
        collateral = between_stayers(ways, before, after).client_share
    elif "minimal_move" in module(candidate.placement).GUARANTEES:
        moved, collateral = 1 / (hosts + 1), 0.0
    return Choice(
        placement=candidate.placement,
        options=candidate.options,
        weight=candidate.weight,
        points=candidate.points,
        peak=candidate.peak,
        reaches=candidate.peak <= peak,
        moved=moved,
        collateral=collateral,
        why=candidate.why,
    )
