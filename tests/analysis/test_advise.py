"""Does the advice reach what it promises, on real tables?"""

from __future__ import annotations

import json
from collections import Counter
from statistics import fmean

import pytest

from hashring.analysis import advise
from hashring.analysis._candidates import EXPORTS
from hashring.errors import ConfigError
from hashring.placement import create, module, names
from hashring.ring import HashRing


def test_the_advised_vnodes_reach_the_peak() -> None:
    for peak, hosts in ((1.2, 10), (1.1, 10), (1.1, 40)):
        first = advise(peak, hosts).choices[0]
        assert first.placement == "ring"
        assert first.reaches
        names_of = [f"h{i}" for i in range(hosts)]
        rings = [HashRing(names_of, seed=seed, **first.options) for seed in range(60)]
        mean = fmean(max(ring.shares().values()) * hosts for ring in rings)
        # peaks of such rings differ by some (peak - 1) / 3, their mean of 60 by an eighth of that
        assert mean - 1 <= 1.1 * (peak - 1)


@pytest.mark.parametrize("export", [None, *EXPORTS])
def test_every_choice_can_be_built_with_the_stated_peak(export: str | None) -> None:
    hosts = 8
    advice = advise(1.05, hosts, export=export)
    for choice in advice.choices:
        peaks = []
        for fleet in range(4):
            pool = [(f"f{fleet}-{i}", choice.weight) for i in range(hosts)]
            table = create(choice.placement, pool, **choice.options)
            counts = Counter(table.lookup(b"key-%d" % i) for i in range(16_000))
            peaks.append(max(counts.values()) * hosts / 16_000)
        # 2,000 keys a host: 2.2 % of chance, the greatest of eight is 1.42 of that
        assert fmean(peaks) == pytest.approx(choice.peak, abs=0.06), choice.placement
        assert choice.moved is not None
        assert choice.collateral is not None
    json.dumps(advice.to_dict())


def test_the_exports_are_those_that_placements_name() -> None:
    assert set(EXPORTS) == {proxy for name in names() for proxy in module(name).EXPORTS}
    for export in EXPORTS:
        for choice in advise(1.2, 4, export=export).choices:
            assert export in module(choice.placement).EXPORTS


def test_what_no_ring_reaches_is_reported() -> None:
    advice = advise(1.00001, 50)
    ring = next(choice for choice in advice.choices if choice.placement == "ring")
    assert not ring.reaches
    assert ring.moved == pytest.approx(1 / 51)  # too large to try: by its guarantee
    out_of_reach = advise(1.0001, 30, export="nginx").choices
    assert out_of_reach[-1].reaches is False


def test_hosts_that_stay_decide_between_what_reaches_the_peak() -> None:
    for export in EXPORTS:
        choices = [c for c in advise(1.2, 10, export=export).choices if c.reaches]
        least = min(choice.collateral or 0.0 for choice in choices)
        assert (choices[0].collateral or 0.0) <= least + 0.005


@pytest.mark.parametrize(
    ("peak", "hosts", "export"), [(1.0, 5, None), (1.1, 0, None), (1.1, 5, "x")]
)
def test_what_cannot_be_is_refused(peak: float, hosts: int, export: str | None) -> None:
    with pytest.raises(ConfigError):
        advise(peak, hosts, export=export)
