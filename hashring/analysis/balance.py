"""How even are shares?  Peak, coefficient of variation and Gini, against the fair shares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Balance:
    """How even shares are, each measured against its fair share: 1.0 is a host with just that.

    ``peak`` is the most loaded host's, ``cov`` the coefficient of variation and ``gini`` the Gini
    coefficient, 0 for even shares (all weighted by the fair shares, so that equal weights give
    the common ones).
    """

    peak: float
    cov: float
    gini: float

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Balance:
        """The balance of (share, fair share) pairs; both sum to 1, or the shares to 0.

        >>> balance = Balance.of([(0.6, 0.5), (0.4, 0.5)])
        >>> balance.peak, round(balance.cov, 3), round(balance.gini, 3)
        (1.2, 0.2, 0.1)
        """
        ratios = sorted((share / fair, fair) for share, fair in pairs)
        variance = sum(fair * (ratio - 1) ** 2 for ratio, fair in ratios)
        return cls(ratios[-1][0], math.sqrt(variance), _gini(ratios))


def _gini(ratios: list[tuple[float, float]]) -> float:
    """One minus twice the area under the Lorenz curve of (share / fair, fair), sorted."""
    total = sum(ratio * fair for ratio, fair in ratios)
    if not total:
        return 0.0
    area = below = 0.0
    for ratio, fair in ratios:
        area += fair * (2 * below + ratio * fair)
        below += ratio * fair
    return max(0.0, 1 - area / total)
