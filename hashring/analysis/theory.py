"""How even should a ring be?  Exact bands of a host's share, for vnodes at random positions.

The N vnodes of a ring cut its circle into N arcs; at random positions those are Dirichlet(1, ...,
1) distributed (David and Nagaraja, Order Statistics, 6.4), so the V arcs of one host sum to a
Beta(V, N - V) share. murmur3 places vnodes as chance would.
"""

from __future__ import annotations

import math
from functools import lru_cache

from hashring.errors import ConfigError

CONFIDENCE = 0.99
"""Of a hundred hosts one is outside by luck: seldom enough to look at each that is."""

_TINY = 1e-300  # Lentz's method needs a stand-in for 0 that is not zero
_EXACT = 1e-13  # where the continued fraction ends: far below what a plot or a table shows


def share_band(vnodes: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Between which shares a host with ``vnodes`` of ``total`` vnodes is with ``confidence``.

    The central interval of Beta(vnodes, total - vnodes). Cost: about 10 ms, once for each pair.
    Raises ``ConfigError`` for numbers that no ring has.

    >>> low, high = share_band(512, 5120)
    >>> round(low, 4), round(high, 4)
    (0.0895, 0.1111)
    >>> share_band(7, 7)
    (1.0, 1.0)
    """
    if not 1 <= vnodes <= total:
        raise ConfigError(f"a host has 1 to all {total:,} vnodes, not {vnodes:,}", option="vnodes")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence is between 0 and 1, got {confidence!r}", option="confidence")
    if vnodes == total:
        return 1.0, 1.0
    tail = (1 - confidence) / 2
    return (
        beta_quantile(tail, vnodes, total - vnodes),
        beta_quantile(1 - tail, vnodes, total - vnodes),
    )


def expected_cov(vnodes: int, hosts: int) -> float:
    """The coefficient of variation of ``hosts`` equal hosts' shares, ``vnodes`` vnodes each.

    >>> round(expected_cov(512, 10), 4)
    0.0419
    """
    return math.sqrt((hosts - 1) / (hosts * vnodes + 1))


@lru_cache(maxsize=4096)  # equal weights ask for one and the same band
def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with ``beta_cdf(x, a, b) == p``, by bisection.

    >>> round(beta_quantile(0.5, 1, 1), 6)
    0.5
    """
    mean = a / (a + b)
    spread = math.sqrt(mean * (1 - mean) / (a + b + 1))
    # twelve standard deviations hold every p that is not 0 or 1 as a float, except for tiny a
    low, high = max(0.0, mean - 12 * spread), min(1.0, mean + 12 * spread)
    low = low if beta_cdf(low, a, b) <= p else 0.0
    high = high if beta_cdf(high, a, b) >= p else 1.0
    while high - low > _EXACT + 1e-9 * high:
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b).

    By its continued fraction and Lentz's method (Numerical Recipes, 6.4): O(sqrt(max(a, b))).

    >>> round(beta_cdf(0.25, 1, 1), 6), round(beta_cdf(0.5, 10, 10), 6)
    (0.25, 0.5)
    """
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    )  # fmt: skip
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast; else by symmetry
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):  # ten times the steps that the largest ring needs
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _not_zero(1 + step * d)
            c = _not_zero(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < _EXACT:
            break
    return value


def _not_zero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
