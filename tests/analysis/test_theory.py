"""Is the band what rings keep to, and the beta distribution the beta distribution?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.analysis import PlacedHosts, spread
from hashring.analysis.balance import Balance
from hashring.analysis.theory import beta_cdf, beta_quantile, expected_cov, share_band
from hashring.errors import ConfigError
from hashring.ring import HashRing


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_cdf_is_the_binomial_tail_that_it_equals(a: int, b: int, x: float) -> None:
    n = a + b - 1  # DLMF 8.17.5
    tail = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert beta_cdf(x, a, b) == pytest.approx(tail, abs=1e-10)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.001, 0.999))
def test_the_quantile_undoes_the_cdf(a: int, b: int, p: float) -> None:
    assert beta_cdf(beta_quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-4)


def test_of_a_thousand_hosts_about_ten_are_outside_their_band() -> None:
    ring = HashRing((f"h{i}" for i in range(1000)), vnodes=64)
    low, high = share_band(64, 64_000)
    outside = sum(not low <= share <= high for share in ring.shares().values())
    # binomial(1000, 0.01): 10 +- 3.1; the ring is always the same one
    assert 1 <= outside <= 22


def test_the_cov_of_real_rings_is_the_expected_one() -> None:
    ring = HashRing((f"h{i}" for i in range(500)), vnodes=100)
    found = Balance.of((share, 1 / 500) for share in ring.shares().values())
    assert found.cov == pytest.approx(expected_cov(100, 500), rel=0.12)  # 1/sqrt(2 * 500) = 3 %


def test_bands_follow_the_weights_and_a_single_host_has_all() -> None:
    report = spread({b"x": 1}, PlacedHosts.of({"a": 1, "b": 3}))
    a, b = report.hosts
    assert a.band is not None
    assert b.band is not None
    assert a.band[0] < 0.25 < a.band[1] < b.band[0] < 0.75 < b.band[1]
    assert spread({b"x": 1}, PlacedHosts.of(["a"])).hosts[0].band == (1.0, 1.0)
    assert spread({b"x": 1}, PlacedHosts.of(["a"], "modulo")).hosts[0].band is None


def test_what_no_ring_has_is_refused() -> None:
    for vnodes, total, confidence in ((0, 5, 0.99), (6, 5, 0.99), (1, 5, 1.0)):
        with pytest.raises(ConfigError):
            share_band(vnodes, total, confidence)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20).filter(any))
def test_gini_is_the_mean_difference(loads: list[int]) -> None:
    n, total = len(loads), sum(loads)
    found = Balance.of((load / total, 1 / n) for load in loads)
    differences = sum(abs(a - b) for a in loads for b in loads)
    assert found.gini == pytest.approx(differences / (2 * n * total), abs=1e-9)


def test_chance_alone_leaves_no_variance_to_the_placement() -> None:
    # rendezvous is even: what its clients show is chance, and the estimate says so
    counts = {b"client-%d" % i: 1 for i in range(20_000)}
    hosts = [f"h{i}" for i in range(20)]
    even = spread(counts, PlacedHosts.of(hosts, "rendezvous"))
    uneven = spread(counts, PlacedHosts.of(hosts, vnodes=16))
    assert even.client_balance.cov > 0.02
    # K * variance is chi2(19) - 19, of deviation sqrt(38)
    assert abs(even.placement_variance) < 4 * math.sqrt(38) / 20_000
    assert uneven.arc_balance is not None
    assert uneven.placement_cov == pytest.approx(uneven.arc_balance.cov, rel=0.1)
