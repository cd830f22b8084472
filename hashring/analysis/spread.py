"""Who would serve how much?  The real clients of a log over the hosts of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from heapq import nsmallest
from typing import Any

from hashring.analysis._formats import show
from hashring.analysis.membership import Membership

__all__ = ["Balance", "HostSpread", "HotClient", "Spread", "spread"]

_HOTTEST = 10  # more do not fit beside the table, and the tail is flat: a tenth client has ~1 %


@dataclass(frozen=True, slots=True)
class HostSpread:
    """What one host gets; shares are fractions. ``arc`` is None where there is no circle."""

    host: str
    weight: float
    clients: int
    requests: int
    client_share: float
    request_share: float
    fair: float
    arc: float | None


@dataclass(frozen=True, slots=True)
class HotClient:
    """One of the busiest clients; ``host`` is None where the placement does not hash it."""

    client: str
    requests: int
    share: float
    host: str | None


@dataclass(frozen=True, slots=True)
class Balance:
    """How even shares are, each measured against its fair share: 1.0 is a host with just that.

    ``peak`` is the most loaded host's, ``cov`` the coefficient of variation (weighted by the fair
    shares, so that equal weights give the common one).
    """

    peak: float
    cov: float

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Balance:
        """The balance of (share, fair share) pairs.

        >>> Balance.of([(0.6, 0.5), (0.4, 0.5)]).peak
        1.2
        """
        ratios = [(share / fair, fair) for share, fair in pairs]
        variance = sum(fair * (ratio - 1) ** 2 for ratio, fair in ratios)
        return cls(max(ratio for ratio, _ in ratios), math.sqrt(variance))


@dataclass(frozen=True, slots=True)
class Spread:
    """The report of ``spread``: one line per host, how even they are, and the busiest clients.

    ``unrouted_clients`` are those that the placement does not hash: the fallback serves them.
    """

    clients: int
    requests: int
    unrouted_clients: int
    unrouted_requests: int
    hosts: tuple[HostSpread, ...]
    client_balance: Balance
    request_balance: Balance
    arc_balance: Balance | None
    hottest: tuple[HotClient, ...]
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        return asdict(self)


def spread(counts: Mapping[bytes, int], membership: Membership) -> Spread:
    """Each host's clients and requests, if these clients came to ``membership``.

    Cost: one look-up a client.

    >>> report = spread({b"ann": 3, b"bob": 1}, Membership.of(["web1"]))
    >>> report.hosts[0].requests, report.request_balance.peak, report.hottest[0].client
    (4, 1.0, 'ann')
    """
    lookup = membership.table.lookup
    clients: dict[str | None, int] = {}
    requests: dict[str | None, int] = {}
    for client, count in counts.items():
        host = lookup(client)
        clients[host] = clients.get(host, 0) + 1
        requests[host] = requests.get(host, 0) + count
    total = sum(requests.values())
    hosts = _hosts(membership, clients, requests)
    return Spread(
        clients=len(counts),
        requests=total,
        unrouted_clients=clients.get(None, 0),
        unrouted_requests=requests.get(None, 0),
        hosts=hosts,
        client_balance=Balance.of((host.client_share, host.fair) for host in hosts),
        request_balance=Balance.of((host.request_share, host.fair) for host in hosts),
        arc_balance=_arc_balance(hosts),
        hottest=_hottest(counts, membership, total),
        fingerprint=membership.table.fingerprint,
    )


def _hosts(
    membership: Membership, clients: dict[str | None, int], requests: dict[str | None, int]
) -> tuple[HostSpread, ...]:
    fair, arcs = membership.fair(), membership.arcs()
    # shares are of what the placement routes, or nobody could reach a fair share
    routed_clients = sum(n for host, n in clients.items() if host is not None) or 1
    routed_requests = sum(n for host, n in requests.items() if host is not None) or 1
    return tuple(
        HostSpread(
            host=host.name,
            weight=host.weight,
            clients=clients.get(host.name, 0),
            requests=requests.get(host.name, 0),
            client_share=clients.get(host.name, 0) / routed_clients,
            request_share=requests.get(host.name, 0) / routed_requests,
            fair=fair[host.name],
            arc=None if arcs is None else arcs[host.name],
        )
        for host in membership.hosts
    )


def _arc_balance(hosts: tuple[HostSpread, ...]) -> Balance | None:
    pairs = [(host.arc, host.fair) for host in hosts if host.arc is not None]
    return Balance.of(pairs) if pairs else None


def _hottest(
    counts: Mapping[bytes, int], membership: Membership, total: int
) -> tuple[HotClient, ...]:
    # ties go by the client's bytes: the order of the log must not change the report
    hottest = nsmallest(_HOTTEST, counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        HotClient(show(client, 200), count, count / total, membership.table.lookup(client))
        for client, count in hottest
    )
