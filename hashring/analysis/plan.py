"""What would a change of hosts do to the real clients of a log?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hashring.analysis._counting import Moved, Totals, count_moved, step, sums, totals
from hashring.analysis.balance import Balance
from hashring.analysis.change import Change
from hashring.analysis.placed_hosts import PlacedHosts
from hashring.analysis.planned import Flow, HostPlan, PlanReport, Step
from hashring.errors import ConfigError
from hashring.placement import create
from hashring.ring import Diff


def plan(
    counts: Mapping[bytes, int],
    before: PlacedHosts,
    after: PlacedHosts | None = None,
    *,
    steps: Iterable[Change] = (),
) -> PlanReport:
    """What these clients do when ``before`` becomes ``after``, or changes in ``steps``.

    Cost: four look-ups a client, and one more for each step. Raises ``ConfigError`` unless just
    one of ``after`` and ``steps`` is given, and what a step itself raises.

    >>> old, new = PlacedHosts.of(["a", "b"]), PlacedHosts.of(["a", "b", "c"])
    >>> report = plan({b"%d" % i: 1 for i in range(1000)}, old, new)
    >>> {flow.target for flow in report.flows}, report.moved.clients < 400 < report.modulo.clients
    ({'c'}, True)
    >>> both = plan({b"x": 1}, old, steps=[Change(add=["c"]), Change(remove=("a",))])
    >>> [str(step.change) for step in both.steps]
    ['add c', 'remove a']
    """
    changes = tuple(steps)
    if (after is None) != bool(changes):
        raise ConfigError("a plan needs either the membership after it or its steps")
    stages = [before, after] if after is not None else [before]
    for change in changes:
        stages.append(stages[-1].after(change))
    ways = totals(counts, [stage.table for stage in stages])
    return _plan(counts, stages, ways, _steps(changes, stages, ways))


def _plan(
    counts: Mapping[bytes, int],
    stages: list[PlacedHosts],
    ways: Totals,
    steps: tuple[Step, ...],
) -> PlanReport:
    before, after = stages[0], stages[-1]
    pairs = step(ways, 0, -1)
    diff = _diff(before, after)
    return PlanReport(
        clients=len(counts),
        requests=sum(requests for _, requests in pairs.values()),
        moved=count_moved(pairs),
        collateral=between_stayers(pairs, before, after),
        minimum=minimum(before, after),
        arc=None if diff is None else diff.moved,
        modulo=_modulo(counts, before, after),
        hosts=_hosts(pairs, before, after),
        flows=_flows(pairs, {} if diff is None else diff.flows),
        fingerprint=before.table.fingerprint,
        fingerprint_after=after.table.fingerprint,
        steps=steps,
    )


def _diff(before: PlacedHosts, after: PlacedHosts) -> Diff | None:
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


def _another_secret(before: PlacedHosts, after: PlacedHosts) -> bool:
    checks = {one.ring.key_check for one in (before, after) if one.ring is not None}
    return len(checks) > 1


def between_stayers(pairs: Totals, before: PlacedHosts, after: PlacedHosts) -> Moved:
    """Who moves between two hosts that are in both memberships with one weight."""
    stay = before.same_hosts(after)
    return count_moved(pairs, lambda pair: pair[0] in stay and pair[1] in stay)


def minimum(before: PlacedHosts, after: PlacedHosts) -> float:
    """The fraction that any placement must move to reach the new fair shares.

    >>> round(minimum(PlacedHosts.of(["a", "b"]), PlacedHosts.of(["a", "b", "c"])), 3)
    0.333
    """
    fair = before.fair()
    return sum(max(0.0, new - fair.get(host, 0.0)) for host, new in after.fair().items())


def _steps(
    changes: tuple[Change, ...], stages: list[PlacedHosts], ways: Totals
) -> tuple[Step, ...]:
    made = []
    for number, change in enumerate(changes):
        old, new = stages[number], stages[number + 1]
        pairs = step(ways, number, number + 1)
        ever: Totals = {}
        for path, (clients, requests) in ways.items():
            seen = path[: number + 2]
            so_far = ever.get(seen, (0, 0))
            ever[seen] = (so_far[0] + clients, so_far[1] + requests)
        diff = _diff(old, new)
        made.append(
            Step(
                change=str(change),
                hosts=len(new.hosts),
                moved=count_moved(pairs),
                collateral=between_stayers(pairs, old, new),
                moved_so_far=count_moved(ever),
                minimum=minimum(old, new),
                arc=None if diff is None else diff.moved,
                request_balance=balance(new, sums(ways, number + 1)),
                fingerprint=new.table.fingerprint,
            )
        )
    return tuple(made)


def balance(
    membership: PlacedHosts, found: Mapping[str | None, tuple[int, int]], *, of: int = 1
) -> Balance:
    """How even the hosts' requests are (clients with ``of=0``), of those that are routed."""
    fair = membership.fair()
    routed = sum(numbers[of] for host, numbers in found.items() if host is not None) or 1
    return Balance.of((found.get(host, (0, 0))[of] / routed, fair[host]) for host in fair)


def _modulo(counts: Mapping[bytes, int], before: PlacedHosts, after: PlacedHosts) -> Moved | None:
    table = create("modulo", before.hosts)
    if table.fingerprint == before.table.fingerprint or _another_secret(before, after):
        return None
    return count_moved(totals(counts, [table, create("modulo", after.hosts)]))


def _hosts(pairs: Totals, before: PlacedHosts, after: PlacedHosts) -> tuple[HostPlan, ...]:
    old, new = sums(pairs, 0), sums(pairs, 1)
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


def _flows(pairs: Totals, arcs: Mapping[tuple[str, str], float]) -> tuple[Flow, ...]:
    exact: Mapping[Any, float] = arcs
    flows = [
        Flow(old, new, clients, requests, exact.get((old, new), 0.0) if arcs else None)
        for (old, new), (clients, requests) in pairs.items()
        if old != new
    ]
    return tuple(
        sorted(flows, key=lambda f: (-f.clients, -f.requests, f.origin or "", f.target or ""))
    )
