"""Who would serve how much?  The real clients of a log over the hosts of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nsmallest

from hashring.analysis._counting import sums, totals
from hashring.analysis.balance import Balance
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.reports import Report
from hashring.analysis.tables import ReportTable, host_label, percent
from hashring.analysis.theory import share_band
from hashring.text import printable

_HOTTEST = 10  # more do not fit beside the table, and the tail is flat: a tenth client has ~1 %


@dataclass(frozen=True, slots=True)
class HostSpread:
    """What one host gets; shares are fractions.

    ``arc`` is its exact share of all possible keys, ``band`` between which arcs 99 of 100 such
    hosts are (``theory.share_band``); both are None where there is no ring.
    """

    host: str
    weight: float
    clients: int
    requests: int
    client_share: float
    request_share: float
    fair: float
    arc: float | None
    band: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class HotClient:
    """One of the busiest clients; ``host`` is None where the placement does not hash it."""

    client: str
    requests: int
    share: float
    host: str | None


@dataclass(frozen=True, slots=True)
class Spread(Report):
    """The report of ``spread``: one line per host, how even they are, and the busiest clients.

    ``unrouted_clients`` are those that the placement does not hash: the fallback serves them.
    ``chi2`` is Pearson's statistic of the clients against the fair shares. A fair placement has
    n - 1 of it by chance alone, so ``placement_variance = (chi2 - (n - 1)) / K`` for K clients is
    the squared coefficient of variation that is the placement's own; below 0 it is not
    different from 0.
    """

    clients: int
    requests: int
    unrouted_clients: int
    unrouted_requests: int
    hosts: tuple[HostSpread, ...]
    client_balance: Balance
    request_balance: Balance
    arc_balance: Balance | None
    chi2: float
    placement_variance: float
    hottest: tuple[HotClient, ...]
    fingerprint: str

    @property
    def placement_cov(self) -> float:
        """The coefficient of variation that is the placement's own; 0 where none is seen."""
        return math.sqrt(max(0.0, self.placement_variance))

    @property
    def outside(self) -> tuple[str, ...]:
        """The hosts whose arc is outside its band."""
        return tuple(
            host.host
            for host in self.hosts
            if host.arc is not None and host.band and not host.band[0] <= host.arc <= host.band[1]
        )

    def sentence(self) -> str:
        """Who would be the busiest, in one sentence."""
        busiest = max(self.hosts, key=lambda host: host.request_share / host.fair)
        return (
            f"{host_label(busiest.host)} would be the busiest: {busiest.requests:,} requests, "
            f"{percent(busiest.request_share)} of all where {percent(busiest.fair)} is fair."
        )

    def tables(self) -> tuple[ReportTable, ...]:
        """Hosts, balance and hottest clients."""
        return _host_sheet(self), _balance_sheet(self), _hottest_sheet(self)


def spread(counts: Mapping[bytes, int], membership: PlacedHosts) -> Spread:
    """Each host's clients and requests, if these clients came to ``membership``.

    Cost: one look-up a client.

    >>> report = spread({b"ann": 3, b"bob": 1}, PlacedHosts.of(["web1"]))
    >>> report.hosts[0].requests, report.request_balance.peak, report.hottest[0].client
    (4, 1.0, 'ann')
    """
    found = sums(totals(counts, [membership.table]), 0)
    total = sum(requests for _, requests in found.values())
    hosts = _hosts(membership, found)
    chi2, routed = _chi2(hosts)
    return Spread(
        clients=len(counts),
        requests=total,
        unrouted_clients=found.get(None, (0, 0))[0],
        unrouted_requests=found.get(None, (0, 0))[1],
        hosts=hosts,
        client_balance=Balance.of((host.client_share, host.fair) for host in hosts),
        request_balance=Balance.of((host.request_share, host.fair) for host in hosts),
        arc_balance=_arc_balance(hosts),
        chi2=chi2,
        placement_variance=(chi2 - (len(hosts) - 1)) / routed if routed else 0.0,
        hottest=_hottest(counts, membership, total),
        fingerprint=membership.table.fingerprint,
    )


def _hosts(
    membership: PlacedHosts, found: Mapping[str | None, tuple[int, int]]
) -> tuple[HostSpread, ...]:
    fair, arcs, bands = membership.fair(), membership.arcs(), _bands(membership)
    # shares are of what the placement routes, else no host could reach a fair share
    routed_clients = sum(n for host, (n, _) in found.items() if host is not None) or 1
    routed_requests = sum(n for host, (_, n) in found.items() if host is not None) or 1
    return tuple(
        HostSpread(
            host=host.name,
            weight=host.weight,
            clients=clients,
            requests=requests,
            client_share=clients / routed_clients,
            request_share=requests / routed_requests,
            fair=fair[host.name],
            arc=None if arcs is None else arcs[host.name],
            band=bands.get(host.name),
        )
        for host in membership.hosts
        for clients, requests in (found.get(host.name, (0, 0)),)
    )


def _bands(membership: PlacedHosts) -> dict[str, tuple[float, float]]:
    if membership.ring is None:
        return {}
    counts = membership.ring.counts
    total = sum(counts.values())
    return {host: share_band(count, total) for host, count in counts.items()}


def _chi2(hosts: tuple[HostSpread, ...]) -> tuple[float, int]:
    """Pearson's statistic of the routed clients against the fair shares, and how many they are."""
    routed = sum(host.clients for host in hosts)
    if not routed:
        return 0.0, 0
    off = ((host.clients - routed * host.fair) ** 2 / (routed * host.fair) for host in hosts)
    return sum(off), routed


def _arc_balance(hosts: tuple[HostSpread, ...]) -> Balance | None:
    pairs = [(host.arc, host.fair) for host in hosts if host.arc is not None]
    return Balance.of(pairs) if pairs else None


def _hottest(
    counts: Mapping[bytes, int], membership: PlacedHosts, total: int
) -> tuple[HotClient, ...]:
    # ties go by the client's bytes: the order of the log must not change the report
    hottest = nsmallest(_HOTTEST, counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        HotClient(printable(client, 200), count, count / total, membership.table.lookup(client))
        for client, count in hottest
    )


def _host_sheet(report: Spread) -> ReportTable:
    exact = report.arc_balance is not None
    heads = ("host", "weight", "clients", "requests", "share", "fair")
    rows = tuple(
        (
            host_label(host.host),
            f"{host.weight:g}",
            f"{host.clients:,}",
            f"{host.requests:,}",
            percent(host.request_share),
            percent(host.fair),
            *((percent(host.arc), _range(host.band)) if exact else ()),
        )
        for host in report.hosts
    )
    note = "arc: of all possible keys; band: where 99 % of such hosts are" if exact else ""
    return ReportTable("Hosts", (*heads, *(("arc", "band") if exact else ())), rows, note=note)


def _range(band: tuple[float, float] | None) -> str:
    return "" if band is None else f"{100 * band[0]:.1f} - {percent(band[1])}"


def _balance_sheet(report: Spread) -> ReportTable:
    lines = [("clients", report.client_balance), ("requests", report.request_balance)]
    if report.arc_balance is not None:
        lines.append(("arcs", report.arc_balance))
    rows = tuple((name, f"{b.peak:.3f}", percent(b.cov), f"{b.gini:.3f}") for name, b in lines)
    own = (
        f"Of the clients' CoV, {percent(report.placement_cov)} is the placement's own; "
        "the rest is chance, as with dice."
    )
    return ReportTable("Balance", ("", "peak/mean", "CoV", "Gini"), rows, note=own)


def _hottest_sheet(report: Spread) -> ReportTable:
    rows = tuple(
        (printable(hot.client), host_label(hot.host), f"{hot.requests:,}", percent(hot.share))
        for hot in report.hottest
    )
    return ReportTable("Hottest clients", ("client", "host", "requests", "share"), rows, left=2)
