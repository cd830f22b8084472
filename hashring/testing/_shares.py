"""Do shares follow the weights?  Counted over many pools, within what luck can do and no more.

A single pool shows little: a host with 16 points on a circle owns its fair share give or take 25 %.
So ``POOLS`` pools are asked, each with its own weights and keys, how much the *heavy* hosts, those
above their pool's mean weight, own beyond their fair share. If shares follow weights, the mean of
these numbers is 0 but for two things, which are what is tolerated:

* luck: the mean of 64 numbers strays by their deviation / sqrt(64), which is estimated from the
  numbers themselves (Student's t). So a coarse ring is given more room than an exact placement;
* steps: programs deal out points, slots or groups of points in whole numbers. ``STEPS`` allows for
  those of every program that promises this. Weights that are ignored miss by five times as much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.hosts import Host, as_hosts
from hashring.placement import adapt_table
from hashring.testing._hunt import draw_examples
from hashring.testing._subject import Factory, Text, counter_example
from hashring.testing.rng import seeded_rng

POOLS = 64
QUANTILE = 7.0
"""Student's t with 63 degrees of freedom is beyond it in 2 of 10^9 seeds."""

STEPS = 0.05
"""Of the fair share. The coarsest is ketama, which cuts each host's 40 w/mean groups of points to a
whole number: up to 1/40 of an average host's share. What light hosts lose so, the heavy ones gain,
at most 1/40 of all keys, which is 1/20 of the half and more that is theirs."""

KEYS_A_POOL = 500  # a share of 1/2 strays by 2 % among so many: less than any circle's own luck
WEIGHTS = (1, 2, 4)  # whole and low, for programs that count points; 4 against 1 cannot be missed
_SIZES = range(3, 8)
_FEWEST_KEYS = 2 * KEYS_A_POOL  # given ones: with fewer, pools would all ask the same
_DRAWS = 4 * KEYS_A_POOL


class Count(NamedTuple):
    """What one pool did: each host's share of the keys that were placed."""

    hosts: list[Host]
    shares: dict[str, float]

    def fair(self) -> dict[str, float]:
        """Each host's share of the weights."""
        total = sum(host.weight for host in self.hosts)
        return {host.name: host.weight / total for host in self.hosts}

    def heavy(self, shares: dict[str, float]) -> float:
        """What the hosts above the mean weight have together."""
        average = mean(host.weight for host in self.hosts)
        return sum(shares.get(host.name, 0.0) for host in self.hosts if host.weight > average)

    def excess(self) -> float:
        """How much more than their fair share the heavy hosts own."""
        return self.heavy(self.shares) - self.heavy(self.fair())


def check_weighted(
    factory: Factory,
    title: str,
    *,
    hosts: st.SearchStrategy[list[Host]] | None,
    keys: st.SearchStrategy[Text] | None,
    seed: int,
) -> None:
    """Raise ``AssertionError`` unless shares follow weights. Cost: 64 builds, 32,000 look-ups."""
    members = _members(hosts, seed)
    counts = list(_counts(factory, title, members, _keys(keys, seed), seed))
    excess = [count.excess() for count in counts]
    fair = mean(count.heavy(count.fair()) for count in counts)
    luck = QUANTILE * stdev(excess) / math.sqrt(len(excess))
    tolerated = STEPS * fair + luck
    if abs(mean(excess)) <= tolerated:
        return
    shown = _simplest(counts)
    each = (
        f"{host.name!r} {shown.shares.get(host.name, 0):.0%} (fair {share:.0%})"
        for host, share in zip(shown.hosts, shown.fair().values(), strict=True)
    )
    raise AssertionError(
        counter_example(
            title,
            f"over {len(counts)} pools the hosts above the mean weight own "
            f"{fair + mean(excess):.1%} of the keys; fair is {fair:.1%}, give or take "
            f"{tolerated:.1%}",
            hosts=shown.hosts,
            shares=", ".join(each),
        )
        + f"\n\n  seed={seed} counts the same again"
    )


def _simplest(counts: Sequence[Count]) -> Count:
    """The smallest pool that is as far off as the mean."""
    wrong = mean(count.excess() for count in counts)
    far = [count for count in counts if count.excess() / wrong >= 1]
    return min(far, key=lambda count: (len(count.hosts), sum(h.weight for h in count.hosts)))


def _counts(
    factory: Factory,
    title: str,
    members: Sequence[list[Host]],
    keys: Iterator[list[Text]],
    seed: int,
) -> Iterator[Count]:
    """Each pool's shares, its weights dealt by lot: at least one is heavier than another."""
    rng = seeded_rng(seed)
    for number in range(POOLS):
        pool = members[number % len(members)]
        dealt = [*WEIGHTS[:: len(WEIGHTS) - 1], *rng.choices(WEIGHTS, k=len(pool) - 2)]
        rng.shuffle(dealt)
        hosts = [host.with_weight(weight) for host, weight in zip(pool, dealt, strict=True)]
        table = adapt_table(factory(list(hosts)), tuple(hosts))
        found = Counter(table.lookup(key) for key in next(keys))
        del found[None]  # keys that are left to a fallback have no share
        if not found:
            raise AssertionError(counter_example(title, "no key has a host to count", hosts=hosts))
        placed = found.total()
        yield Count(hosts, {str(name): count / placed for name, count in found.items()})


def _members(hosts: st.SearchStrategy[list[Host]] | None, seed: int) -> list[list[Host]]:
    """Pools of at least two hosts; their weights do not count here."""
    if hosts is None:
        return [
            [Host(f"10.0.{number}.{i}:80") for i in range(_SIZES[number % len(_SIZES)])]
            for number in range(POOLS)
        ]
    found = {
        tuple(host.name for host in pool): list(pool)
        for pool in map(as_hosts, draw_examples(hosts, POOLS, seed))
        if len(pool) > 1
    }
    if not found:
        raise ConfigError("weighted cannot be checked with pools of one host", option="hosts")
    return list(found.values())


def _keys(keys: st.SearchStrategy[Text] | None, seed: int) -> Iterator[list[Text]]:
    """Each pool's keys, one list after the other."""
    rng = seeded_rng(seed)
    if keys is None:
        while True:  # hex digits of random bits: what identifiers of sessions look like
            yield [f"{rng.getrandbits(64):016x}" for _ in range(KEYS_A_POOL)]
    known = list(dict.fromkeys(draw_examples(keys, _DRAWS, seed)))
    if len(known) < _FEWEST_KEYS:
        raise ConfigError(
            f"weighted needs {_FEWEST_KEYS} different keys to count, keys=... gave {len(known)} in "
            f"{_DRAWS} draws",
            option="keys",
        )
    while True:
        yield rng.sample(known, KEYS_A_POOL)
