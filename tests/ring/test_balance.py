"""Is the ring as even as random places can be?  Fixed names, and quantiles that are worked out.

The names are fixed, so each test either always passes or never does. ``CHANCE`` says how often a
fair ring with other names would fail one of them: rare enough to accuse the ring, not luck.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist, fmean

import pytest

from hashring.errors import ConfigError
from hashring.ring import HashRing
from hashring.ring.layout import expected_peak
from tests.ring.dirichlet import beta_cdf, beta_quantile, maximum_of_normals

CHANCE = 1e-6


def named(prefix: str, hosts: int) -> list[str]:
    return [f"{prefix}-{i}.example" for i in range(hosts)]


def peak(ring: HashRing) -> float:
    return max(ring.shares().values()) * len(ring)


def test_the_quantiles_are_right() -> None:
    assert beta_cdf(0.3, 1, 1) == pytest.approx(0.3)  # uniform
    assert beta_cdf(0.5, 40, 40) == pytest.approx(0.5)  # symmetric
    assert beta_cdf(0.2, 1, 5) == pytest.approx(1 - 0.8**5)  # the least of five uniforms
    assert beta_cdf(beta_quantile(0.01, 160, 1440), 160, 1440) == pytest.approx(0.01, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(
    "weights",
    [[1.0] * 10, [1.0] * 3, [0.25, 0.5, 1, 2, 4], [0.01, 1, 1, 1, 10]],
    ids=["10 equal", "3 equal", "doubling", "a thousandfold"],
)
def test_each_share_is_one_of_a_fair_ring(weights: list[float], seed: int) -> None:
    ring = HashRing(
        list(zip(named("share", len(weights)), weights, strict=True)), vnodes=160, seed=seed
    )
    counts = dict.fromkeys(ring.hosts, 0)
    for _, name in ring.vnode_list():
        counts[name] += 1
    whole = sum(counts.values())
    each = CHANCE / (2 * len(weights))  # two sides of each host: by Bonferroni CHANCE for the ring
    for name, share in ring.shares().items():
        assert beta_cdf(share, counts[name], whole - counts[name]) > each
        assert beta_cdf(share, counts[name], whole - counts[name]) < 1 - each


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0, 3.0])
def test_an_added_host_takes_its_part_of_the_weight(weight: float) -> None:
    # its v of N vnodes make the moved fraction Beta(v, N - v), whose mean is w / W
    old, new = 512 * 9, round(512 * weight)
    low, high = (beta_quantile(p, new, old) for p in (CHANCE / 2, 1 - CHANCE / 2))
    assert low < weight / (9 + weight) < high
    for names in (named("one", 9), named("two", 9), named("three", 9)):
        before, after = HashRing(names), HashRing(names)
        after.add("newcomer", weight)
        assert low < before.diff(after).moved < high


def mean_peak(vnodes: int, hosts: int, rings: int) -> tuple[float, float]:
    """The mean peak of some rings, and how far a fair one's mean may be from the expected."""
    found = fmean(peak(HashRing(named(f"set{k}", hosts), vnodes=vnodes)) for k in range(rings))
    # a peak spreads as the maximum of n normals, scaled by CoV; a mean of r of them by 1/sqrt(r)
    _, spread = maximum_of_normals(hosts)
    cov = sqrt((hosts - 1) / (hosts * vnodes + 1))
    return found, NormalDist().inv_cdf(1 - CHANCE / 2) * spread * cov / sqrt(rings)


@pytest.mark.parametrize(
    ("vnodes", "hosts", "rings"), [(160, 10, 40), (512, 10, 20), (160, 100, 10)]
)
def test_the_mean_peak_is_the_expected_one(vnodes: int, hosts: int, rings: int) -> None:
    found, far = mean_peak(vnodes, hosts, rings)
    assert abs(found - expected_peak(vnodes, hosts)) < far


def test_for_peak_reaches_what_it_was_asked_for() -> None:
    ring = HashRing.for_peak(1.05, hosts=20)
    assert (ring.vnodes, len(ring)) == (1427, 0)
    found, far = mean_peak(ring.vnodes, 20, 24)
    assert found < 1.05 + far
    assert found > expected_peak(ring.vnodes, 20) - far
    assert far < 0.02, "or the two lines above would say little"


@pytest.mark.parametrize(("hosts", "z"), [(10, 1.54), (20, 1.87), (100, 2.51), (1000, 3.24)])
def test_the_peak_formula(hosts: int, z: float) -> None:
    exact, _ = maximum_of_normals(hosts)
    assert round(exact, 2) == z
    for vnodes in (160, 512, 1 << 20):
        cov = sqrt((hosts - 1) / (hosts * vnodes + 1))
        wanted = 1 + exact * cov + (exact * exact - 1) / (3 * vnodes)
        # half a vnode's worth: an error in z of 1e-4, which no user can see
        assert expected_peak(vnodes, hosts) == pytest.approx(wanted, abs=1e-4 * cov)


@pytest.mark.parametrize(
    ("vnodes", "peaks"),
    [(160, (1.12, 1.21, 1.28)), (512, (1.07, 1.11, 1.15)), (1024, (1.05, 1.08, 1.10))],
)
def test_the_published_peaks(vnodes: int, peaks: tuple[float, ...]) -> None:
    assert tuple(round(expected_peak(vnodes, hosts), 2) for hosts in (10, 100, 1000)) == peaks


@pytest.mark.parametrize("hosts", [2, 5, 20, 300])
@pytest.mark.parametrize("wanted", [1.5, 1.1, 1.02])
def test_for_peak_takes_the_fewest_and_five_percent(wanted: float, hosts: int) -> None:
    vnodes = HashRing.for_peak(wanted, hosts=hosts, seed=3).vnodes
    start = max(1, int(vnodes / 1.05) - 2)
    fewest = next(v for v in range(start, vnodes + 1) if expected_peak(v, hosts) <= wanted)
    assert fewest == 1 or expected_peak(fewest - 1, hosts) > wanted
    assert vnodes == ceil(fewest * 1.05)


def test_one_host_needs_one_vnode() -> None:
    assert expected_peak(1, 1) == 1.0
    assert HashRing.for_peak(1.01, hosts=1).vnodes <= 2


@pytest.mark.parametrize(
    "wanted", [1, 1.0, 0.5, -1, float("nan"), float("inf"), True, "1.05", 1.0001]
)
def test_a_peak_that_no_ring_reaches_is_refused(wanted: float) -> None:
    with pytest.raises(ConfigError, match="peak") as caught:
        HashRing.for_peak(wanted, hosts=100)
    assert caught.value.option == "peak"


@pytest.mark.parametrize("hosts", [0, -1, 1.5, True])
def test_a_wrong_number_of_hosts_is_refused(hosts: int) -> None:
    with pytest.raises(ConfigError, match="hosts"):
        HashRing.for_peak(1.05, hosts=hosts)
