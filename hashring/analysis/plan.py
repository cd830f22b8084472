"""What would a change of hosts do to the real clients of a log?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from hashring.analysis._formats import show
from hashring.analysis.membership import Membership
from hashring.placement import Table, create
from hashring.ring import Diff

__all__ = ["Flow", "HostPlan", "Moved", "Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Moved:
    """How much moves: numbers, and fractions of all."""

    clients: int
    requests: int
    client_share: float
    request_share: float


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host before and after; a weight or an arc is None where the host (or a circle) is not."""

    host: str
    weight_before: float | None
    weight_after: float | None
    clients_before: int
    clients_after: int
    requests_before: int
    requests_after: int
    share_before: float
    share_after: float
    fair_before: float
    fair_after: float
    arc_before: float | None
    arc_after: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """What moves from one host to another; None stands for the fallback. ``arc`` is exact."""

    origin: str | None
    target: str | None
    clients: int
    requests: int
    arc: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The report of ``plan``.

    ``minimum`` is the fraction that any placement must move to reach the new fair shares, ``arc``
    the exact fraction of all possible keys that moves (ring only), ``modulo`` what ``hash % n``
    would have moved (None where the placement is ``hash % n`` itself, or where the secret of the
    keys differs, by which it would move as many).
    ``hosts`` has those that stay and leave first, then those that come.
    """

    clients: int
    requests: int
    moved: Moved
    minimum: float
    arc: float | None
    modulo: Moved | None
    hosts: tuple[HostPlan, ...]
    flows: tuple[Flow, ...]
    fingerprint: str
    fingerprint_after: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts and lists."""
        return asdict(self)

    def sentence(self) -> str:
        """What happens to the sessions, in one sentence."""
        verb = "moves" if self.moved.clients == 1 else "move"
        all_of = f"of {self.clients:,} client{'' if self.clients == 1 else 's'}"
        share = f"({100 * self.moved.client_share:.1f} %)"
        text = f"{self.moved.clients:,} {all_of} {share} {verb}{self._whither()}"
        if not self.moved.clients:
            text = f"None {all_of} moves"
        if self.modulo is not None:
            share = f"({100 * self.modulo.client_share:.1f} %)"
            text += f"; hash % n would have moved {self.modulo.clients:,} {share}"
        return text + "."

    def _whither(self) -> str:
        origins = {flow.origin for flow in self.flows}
        targets = {flow.target for flow in self.flows}
        if len(origins) > 1 and len(targets) > 1:
            return f", from {len(origins):,} hosts to {len(targets):,}"
        way = "".join(
            f" {word} {_named(*ends)}"
            for word, ends in (("from", origins), ("to", targets))
            if len(ends) == 1
        )
        return way if self.moved.clients == 1 else f", all of them{way}"


def _named(host: str | None) -> str:
    return "the fallback" if host is None else show(host)


_Pair: TypeAlias = tuple[str | None, str | None]
_Totals: TypeAlias = dict[_Pair, tuple[int, int]]


def plan(counts: Mapping[bytes, int], before: Membership, after: Membership) -> Plan:
    """What these clients do when ``before`` becomes ``after``. Cost: four look-ups a client.

    >>> old, new = Membership.of(["a", "b"]), Membership.of(["a", "b", "c"])
    >>> report = plan({b"%d" % i: 1 for i in range(1000)}, old, new)
    >>> {flow.target for flow in report.flows}, report.moved.clients < 400 < report.modulo.clients
    ({'c'}, True)
    """
    pairs = _pairs(counts, before.table, after.table)
    diff = _diff(before, after)
    moved = _moved(pairs)
    fair_before, fair_after = before.fair(), after.fair()
    return Plan(
        clients=len(counts),
        requests=sum(requests for _, requests in pairs.values()),
        moved=moved,
        minimum=sum(max(0.0, new - fair_before.get(host, 0.0)) for host, new in fair_after.items()),
        arc=None if diff is None else diff.moved,
        modulo=_modulo(counts, before, after),
        hosts=_hosts(pairs, before, after),
        flows=_flows(pairs, {} if diff is None else diff.flows),
        fingerprint=before.table.fingerprint,
        fingerprint_after=after.table.fingerprint,
    )


def _diff(before: Membership, after: Membership) -> Diff | None:
    """What moves of all possible keys; None where there is no circle."""
    old, new = before.ring, after.ring
    if old is None or new is None:
        return None
    if old.key_check == new.key_check:
        return old.diff(new)
    # under another secret a key stands anywhere, wherever it stood before: the shares multiply
    parts = [
        (one, two, a * b) for one, a in old.shares().items() for two, b in new.shares().items()
    ]
    flows = {(one, two): part for one, two, part in parts if one != two}
    return Diff(sum(flows.values()), flows)


def _pairs(counts: Mapping[bytes, int], before: Table, after: Table) -> _Totals:
    """(host before, host after) -> (clients, requests): all that the report is made from."""
    old, new = before.lookup, after.lookup
    clients: dict[_Pair, int] = {}
    requests: dict[_Pair, int] = {}
    for client, count in counts.items():
        pair = (old(client), new(client))
        clients[pair] = clients.get(pair, 0) + 1
        requests[pair] = requests.get(pair, 0) + count
    return {pair: (clients[pair], requests[pair]) for pair in clients}


def _moved(pairs: _Totals) -> Moved:
    clients = sum(n for (old, new), (n, _) in pairs.items() if old != new)
    requests = sum(n for (old, new), (_, n) in pairs.items() if old != new)
    all_clients = sum(n for n, _ in pairs.values()) or 1
    all_requests = sum(n for _, n in pairs.values()) or 1
    return Moved(clients, requests, clients / all_clients, requests / all_requests)


def _modulo(counts: Mapping[bytes, int], before: Membership, after: Membership) -> Moved | None:
    table = create("modulo", before.hosts)
    if table.fingerprint == before.table.fingerprint or _another_secret(before, after):
        return None
    return _moved(_pairs(counts, table, create("modulo", after.hosts)))


def _another_secret(before: Membership, after: Membership) -> bool:
    checks = {one.ring.key_check for one in (before, after) if one.ring is not None}
    return len(checks) > 1


def _hosts(pairs: _Totals, before: Membership, after: Membership) -> tuple[HostPlan, ...]:
    old, new = _sums(pairs, 0), _sums(pairs, 1)
    old_weights, new_weights = before.weights(), after.weights()
    old_fair, new_fair = before.fair(), after.fair()
    old_arcs, new_arcs = before.arcs() or {}, after.arcs() or {}
    total = sum(requests for _, requests in pairs.values()) or 1
    return tuple(
        HostPlan(
            host=name,
            weight_before=old_weights.get(name),
            weight_after=new_weights.get(name),
            clients_before=old.get(name, (0, 0))[0],
            clients_after=new.get(name, (0, 0))[0],
            requests_before=old.get(name, (0, 0))[1],
            requests_after=new.get(name, (0, 0))[1],
            share_before=old.get(name, (0, 0))[1] / total,
            share_after=new.get(name, (0, 0))[1] / total,
            fair_before=old_fair.get(name, 0.0),
            fair_after=new_fair.get(name, 0.0),
            arc_before=old_arcs.get(name),
            arc_after=new_arcs.get(name),
        )
        for name in {**old_weights, **new_weights}
    )


def _sums(pairs: _Totals, side: int) -> dict[str | None, tuple[int, int]]:
    sums: dict[str | None, tuple[int, int]] = {}
    for pair, (clients, requests) in pairs.items():
        so_far = sums.get(pair[side], (0, 0))
        sums[pair[side]] = (so_far[0] + clients, so_far[1] + requests)
    return sums


def _flows(pairs: _Totals, arcs: Mapping[tuple[str, str], float]) -> tuple[Flow, ...]:
    exact: Mapping[Any, float] = arcs
    flows = [
        Flow(old, new, clients, requests, exact.get((old, new), 0.0) if arcs else None)
        for (old, new), (clients, requests) in pairs.items()
        if old != new
    ]
    return tuple(
        sorted(flows, key=lambda f: (-f.clients, -f.requests, f.origin or "", f.target or ""))
    )
