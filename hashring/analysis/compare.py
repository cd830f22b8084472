"""Which placement suits these clients?  Several of them side by side, on the same change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from hashring.analysis._counting import Totals, count_moved, step, sums, totals
from hashring.analysis.change import Change
from hashring.analysis.comparison import Candidate, Comparison, Loss
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.plan import balance, between_stayers, minimum
from hashring.errors import ConfigError
from hashring.hosts import Host, HostsLike, as_hosts
from hashring.placement import module

PLACEMENTS = (
    "ring",
    "multiprobe",
    "rendezvous",
    "ketama",
    "nginx-consistent",
    "haproxy-consistent",
    "envoy-ring",
    "envoy-maglev",
    "jump",
    "modulo",
)
"""Compared where none are named: ours, then one of each kind that proxies and clients use."""

Named: TypeAlias = str | tuple[str, Mapping[str, Any]]


def compare(
    counts: Mapping[bytes, int],
    hosts: HostsLike,
    change: Change | None = None,
    *,
    placements: Iterable[Named] = PLACEMENTS,
    lose: str | None = None,
) -> Comparison:
    """Each of ``placements``, a name or (name, options), over the same ``hosts`` and ``change``.

    ``lose`` names the host whose death is looked at: else the first that ``change`` removes, else
    the one that the first placement gives the most requests. A placement that refuses these hosts
    is listed with its reason. Cost: three tables and three look-ups a client for each placement.

    Raises ``ConfigError`` for a placement that there is not, and what the change itself raises.

    >>> counts = {b"%d" % i: 1 for i in range(1000)}
    >>> report = compare(counts, ["a", "b", "c"], Change(add=["d"]), placements=["ring", "modulo"])
    >>> ring, modulo = report.candidates
    >>> ring.collateral.clients, modulo.collateral.clients > 300
    (0, True)
    """
    settled = as_hosts(hosts)
    if not settled:
        raise ConfigError("there is no host to place clients on: name at least one", option="hosts")
    later = None if change is None else change.apply(settled)
    wanted = [_split_name(one) for one in placements]
    weights = {host.name: host.weight for host in settled}
    lost = lose if lose is not None else (change.remove[0] if change and change.remove else None)
    if lost is not None and lost not in weights:
        raise ConfigError(f"there is no host {lost!r} to lose", option="lose")
    found = []
    for name, options in wanted:
        made = _memberships(settled, later, name, options)
        if isinstance(made, Candidate):
            found.append(made)
            continue
        lost = lost or _busiest(counts, made[0])
        found.append(_candidate(counts, *made, lost))
    several = len(settled) > 1
    # not the sum less the lost one: beside a weight of 1e17 that loses all others
    rest = sum(weight for name, weight in weights.items() if name != lost)
    return Comparison(
        clients=len(counts),
        requests=sum(counts.values()),
        hosts=len(settled),
        change="" if change is None else str(change),
        minimum=None if later is None else _minimum(settled, later),
        lost=lost if several else None,
        even_surge=1 + weights[lost] / rest if lost and several else None,
        candidates=tuple(found),
    )


def _split_name(placement: Named) -> tuple[str, dict[str, Any]]:
    name, options = (placement, {}) if isinstance(placement, str) else placement
    module(name)  # a name that is not there is an error, not a refusal
    return name, dict(options)


def _memberships(
    hosts: tuple[Host, ...], later: tuple[Host, ...] | None, name: str, options: dict[str, Any]
) -> tuple[PlacedHosts, PlacedHosts | None] | Candidate:
    """The placement before and after, or the candidate with the reason why there is none."""
    try:
        before = PlacedHosts.of(hosts, name, **options)
        return before, None if later is None else PlacedHosts.of(later, name, **options)
    except ConfigError as error:
        return Candidate(name, options, _guarantees(name), refusal=str(error))


def _guarantees(name: str) -> tuple[str, ...]:
    return tuple(sorted(module(name).GUARANTEES))


def _minimum(hosts: tuple[Host, ...], later: tuple[Host, ...]) -> float:
    # fair shares are of weights alone: any placement has the same minimum
    return minimum(PlacedHosts.of(hosts, "modulo"), PlacedHosts.of(later, "modulo"))


def _busiest(counts: Mapping[bytes, int], membership: PlacedHosts) -> str | None:
    found = sums(totals(counts, [membership.table]), 0)
    placed = [(requests, host) for host, (_, requests) in found.items() if host is not None]
    return max(placed)[1] if placed else membership.hosts[0].name


def _candidate(
    counts: Mapping[bytes, int],
    before: PlacedHosts,
    after: PlacedHosts | None,
    lost: str | None,
) -> Candidate:
    then = before if after is None else after
    alone = lost is None or len(before.hosts) == 1
    without = before.table if alone or lost is None else before.table.without([lost])
    ways = totals(counts, [before.table, then.table, without])
    pairs, now = step(ways, 0, 1), sums(ways, 0)
    return Candidate(
        placement=before.placement or "",
        options=before.options,
        guarantees=_guarantees(before.placement or ""),
        client_balance=balance(before, now, of=0),
        request_balance=balance(before, now),
        request_balance_after=None if after is None else balance(after, sums(ways, 1)),
        moved=None if after is None else count_moved(pairs),
        collateral=None if after is None else between_stayers(pairs, before, after),
        loss=None if alone or lost is None else _loss(step(ways, 0, 2), lost),
        unrouted=now.get(None, (0, 0))[0],
        fingerprint=before.table.fingerprint,
    )


def _loss(pairs: Totals, lost: str) -> Loss:
    before, after = sums(pairs, 0), sums(pairs, 1)
    taken = {new: numbers[1] for (old, new), numbers in pairs.items() if old == lost}
    orphaned = sum(taken.values())
    heirs = {host: requests for host, requests in taken.items() if host is not None}
    largest = max(heirs, key=lambda host: (heirs[host], host), default=None)
    had, has = (side.get(largest, (0, 0))[1] for side in (before, after))
    return Loss(
        heirs=len(heirs),
        largest_heir=largest,
        largest_heir_share=heirs[largest] / orphaned if largest is not None and orphaned else 0.0,
        surge=has / had if had else None,
        collateral=count_moved(pairs, lambda pair: pair[0] != lost),
    )
