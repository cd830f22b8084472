"""Each host in turn, the strong ones more often, without a lock."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from math import gcd, isqrt, lcm

from hashring.hosts import Host
from hashring.strategies._base import Rng, View
from hashring.strategies._turns import Turns

# On either side of total / 1.618. In 28,500 random sets of 2 to 7 weights (whole up to 1,000, and
# 0.001 to 1,000) no host was then more than 4.1 turns off its share within 2,000 turns; with the
# nearest step alone it was up to 27.
_NEARBY = 16


class WeightedRoundRobin(Turns):
    """A rotation in which each host gets turns in exact proportion to its weight.

    The weights in their lowest whole terms (2.5 and 0.5 are 5 and 1) lie side by side on 0..W-1,
    W their sum. Turn t stands at ``(t * step + t // period) % W`` and belongs to the host whose
    stretch that is. This visits every place once in W turns, so any W consecutive choices on one
    view, by any number of threads, give each host exactly its weight. The step is close to W over
    the golden ratio, which spreads the visits evenly in between too: 5, 1, 1 is a b a a c a a.

    Why so: the place depends on the turn alone, so the counter is the only thing that threads
    share. ``SmoothWeightedRoundRobin`` spreads better yet, at O(n) under a lock. A list of the
    cycle would take W places, millions for weights such as 1000 and 0.001.

    Cost: O(log n), no lock; O(n) once when the view's hosts change. Source: Kronecker's sequence
    with the golden ratio (Kuipers and Niederreiter, *Uniform Distribution of Sequences*, 1974,
    chapter 2.3), here on whole numbers so that it closes.

    >>> from types import SimpleNamespace
    >>> from hashring.hosts import as_hosts
    >>> view = SimpleNamespace(hosts=as_hosts([("a", 2.5), ("b", 0.5)]))
    >>> rotation = WeightedRoundRobin()
    >>> "".join(sorted(rotation.choose(view).name for _ in range(12)))
    'aaaaaaaaaabb'
    """

    USES_WEIGHT = True

    def __init__(self, *, rng: Rng | None = None) -> None:
        super().__init__(rng=rng)
        # of first tries and of retries, which would else replace each other's all the time
        self._wheels: list[_Wheel | None] = [None, None]

    def choose(self, view: View) -> Host:
        """The host whose turn it is. Cost: O(log n)."""
        hosts = view.hosts
        if len(hosts) == 1:
            return hosts[0]  # takes no turn, see RoundRobin
        excluded = getattr(view, "excluded", None)
        which = bool(excluded)
        wheel = self._wheels[which]
        # the wheel keeps its tuple alive, so that no other can have this identity
        if wheel is None or wheel.hosts is not hosts:
            wheel = self._wheels[which] = _Wheel(hosts)
        turns = self._turns_without(excluded) if excluded else self._turns
        turn = next(turns) % wheel.total
        place = (turn * wheel.step + turn // wheel.period) % wheel.total
        return hosts[bisect_right(wheel.sums, place)]


class _Wheel:
    """The places of one tuple of hosts; never changed, so that threads may share it."""

    __slots__ = ("hosts", "period", "step", "sums", "total")

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        self.hosts = hosts
        self.sums = list(accumulate(_whole([host.weight for host in hosts])))
        self.total = self.sums[-1]
        self.step = _step(self.total)
        # A step that shares a factor with the total closes early, after ``period`` turns; one
        # place further on each time, it visits the places that it left out.
        self.period = self.total // gcd(self.step, self.total)


def _whole(weights: list[float]) -> list[int]:
    """The weights in their lowest whole terms, taken as the decimals they are written as.

    >>> _whole([0.1, 0.3]), _whole([100.0, 250.0])
    ([1, 3], [2, 5])
    """
    if all(weight.is_integer() for weight in weights):
        whole = [int(weight) for weight in weights]
    else:
        # through repr: what reads 0.1 is meant as 1/10, not as 3602879701896397 / 2^55
        from fractions import Fraction  # loads `decimal`: only weights that are not whole need it

        exact = [Fraction(repr(weight)) for weight in weights]
        unit = lcm(*(each.denominator for each in exact))
        whole = [each.numerator * (unit // each.denominator) for each in exact]
    common = gcd(*whole)
    return [each // common for each in whole]


@lru_cache(maxsize=256)  # a pool that flaps between a few sizes asks for the same totals again
def _step(total: int) -> int:
    """The step through ``total`` places that leaves the most even gaps. Cost: O(log total).

    How uneven the visits get follows from the partial quotients of step / total: the larger, the
    worse. Those of the golden ratio are all 1, but of the whole number next to total / 1.618 the
    last ones are a matter of luck. So the best of its neighbours is taken. A factor that step and
    total share counts as a quotient, because it sets a host back in the same way.

    >>> [_step(total) for total in (4, 6, 7, 1000)]
    [2, 4, 5, 633]
    """
    golden = (isqrt(5 * total * total) - total + 1) // 2
    lowest, highest = max(1, golden - _NEARBY), max(1, min(total - 1, golden + _NEARBY))
    nearby = sorted(range(lowest, highest + 1), key=lambda step: abs(step - golden))
    return min(nearby, key=lambda step: _largest_quotient(step, total))  # the nearest of equals


def _largest_quotient(step: int, total: int) -> int:
    largest, a, b = 0, total, step
    while b:
        largest = max(largest, a // b)
        a, b = b, a % b
    return max(largest, a)
