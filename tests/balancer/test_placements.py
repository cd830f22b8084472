"""Is the balancer the same over every placement?  The ring, another one, and somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring import placement
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host
from hashring.placement import Table
from tests.balancer.rig import CLIENTS, HighestTable, balancer, heard

HOSTS = ("a", "b", "c", "d", "e")
# a recipe may keep a ring of its own, and what it made before must not show: all tests share these
PLACEMENTS: dict[str, Any] = {
    **{name: placement.recipe(name) for name in placement.names()},
    "ring": placement.recipe("ring", vnodes=16),
    "somebody else's": HighestTable,
}
EACH = pytest.mark.parametrize("name", sorted(PLACEMENTS))


def made(name: str, **options: Any) -> tuple[LoadBalancer, Table]:
    """A balancer over this placement, and a table of its own to compare with."""
    lb = balancer(HOSTS, placement=PLACEMENTS[name], **options)
    return lb, PLACEMENTS[name](lb.hosts)


def in_order(table: Table, client: str, away: set[str], exclude: set[str]) -> list[str]:
    """The contract's order: the answer of the table without ``away``, then the full walk."""
    first = table.without(away).lookup(client)
    order = [*([first] if first else []), *table.walk(client)]
    return list(dict.fromkeys(name for name in order if name not in away | exclude))


@EACH
@settings(max_examples=25)  # of 29 placements, some with tables of 65,537 slots
@given(
    down=st.sets(st.sampled_from(HOSTS), max_size=4),
    draining=st.sets(st.sampled_from(HOSTS), max_size=2),
    exclude=st.sets(st.sampled_from(HOSTS), max_size=3),
    client=st.sampled_from(CLIENTS),
)
def test_unusable_hosts_are_skipped_in_the_order_of_the_table(
    name: str, down: set[str], draining: set[str], exclude: set[str], client: str
) -> None:
    lb, table = made(name)
    for host in sorted(down):
        lb.mark_down(host, "x")
    for host in sorted(draining):
        lb.drain(host)
    order = in_order(table, client, down | draining, exclude)
    if not order:
        with pytest.raises(NoHostsError):
            lb.pick(client, exclude=exclude)
        return
    if table.without(down | draining).lookup(client) is None:  # it gives up, as nginx does
        with lb.lease(client, exclude=exclude) as lease:
            assert (lease.reason, lease.host.name in order) == ("fallback", True)
        return
    assert lb.pick(client, exclude=exclude).name == order[0]
    with lb.lease(client, exclude=exclude) as lease:
        assert lease.host.name == order[0]
        if order[0] == table.lookup(client):
            assert lease.reason == "owner"
        elif table.lookup(client) in down | draining | exclude:
            assert lease.reason == "next"
    for host in HOSTS:
        answer = lb.pick(client, prefer=host, exclude=exclude).name
        assert answer == (host if host not in down | exclude else order[0])


@EACH
def test_leases_overflow_in_the_tables_own_order(name: str) -> None:
    lb, table = made(name, load_factor=1.0625)
    lb.mark_down("b", "x")
    for client in CLIENTS[:15]:
        leases = [lb.lease(client).acquire() for _ in range(3)]
        assert [lease.host.name for lease in leases] == in_order(table, client, {"b"}, set())[:3]
        assert [lease.reason == "overflow" for lease in leases] == [False, True, True]
        for lease in leases:
            lease.release()
    assert sum(lb.load(host).in_flight for host in lb.hosts) == 0


@EACH
def test_a_host_comes_home_and_its_fingerprint_with_it(name: str) -> None:
    lb, table = made(name)
    before = lb.fingerprint, [lb.pick(client) for client in CLIENTS]
    assert [host.name for host in before[1]] == [table.lookup(client) for client in CLIENTS]
    events = heard(lb)
    lb.mark_down("c", "x")
    lb.drain("a")
    lb.mark_up("c")
    lb.replace("e", address="new:1")
    lb.resume("a")
    assert (lb.fingerprint, [lb.pick(client) for client in CLIENTS]) == before
    assert [event.moved > 0 for event in events] == [True, True, True, False, True]


@EACH
def test_the_pool_may_grow_shrink_and_empty(name: str) -> None:
    lb, _ = made(name)
    lb.register("f")
    lb.unregister("b")
    table = PLACEMENTS[name](lb.hosts)
    assert [lb.pick(client).name for client in CLIENTS] == [table.lookup(c) for c in CLIENTS]
    for host in lb.hosts:
        lb.mark_down(host, "x")
    for client in (None, "x"):
        with pytest.raises(NoHostsError, match="none of the pool's 5 hosts"):
            lb.pick(client)
    assert lb.explain("x").host is None
    lb.set_hosts([])
    with pytest.raises(NoHostsError, match="empty"):
        lb.pick("x")
    lb.set_hosts(["z"])
    assert lb.pick("x").name == "z"


@EACH
def test_a_plan_moves_nothing_and_shows_what_would_move(name: str) -> None:
    lb, table = made(name)
    before = [lb.pick(client).name for client in CLIENTS]
    plan = lb.plan(remove=["c"])
    share = sum(owner == "c" for owner in before) / len(CLIENTS)
    assert plan.moved >= share - 0.15  # at least those that c has: 200 clients against all
    assert all(old != new for old, new in plan.flows)
    assert sum(plan.flows.values()) == pytest.approx(plan.moved)
    assert [lb.pick(client).name for client in CLIENTS] == before
    assert lb.snapshot.table is not None
    assert lb.snapshot.table.fingerprint == table.fingerprint


# -- tables of a user's own -----------------------------------------------------------------------


class LookupAndWalk:
    """The least that the placement kit checks: ``lookup`` and ``walk``, of bytes."""

    def __init__(self, hosts: Iterable[Host]) -> None:
        self.names = sorted(host.name for host in hosts)

    def lookup(self, key: bytes, unavailable: Iterable[str] = ()) -> str | None:
        gone = set(unavailable)
        return next((name for name in self.walk(key) if name not in gone), None)

    def walk(self, key: bytes) -> Iterator[str]:
        return iter(sorted(self.names, key=lambda name: blake2b(key + name.encode()).digest()))


def by_function(hosts: Iterable[Host]) -> Callable[[bytes], str]:
    names = sorted(host.name for host in hosts)
    return lambda key: names[sum(key) % len(names)]


@pytest.mark.parametrize("recipe", [LookupAndWalk, by_function])
def test_lookup_and_walk_or_a_function_are_enough(recipe: Any) -> None:
    lb = LoadBalancer(["a", "b", "c"], placement=recipe)
    lb.keeps_sessions(True)
    clients: list[Any] = [*CLIENTS[:50], 5, b"raw", "\ud83d"]
    before = {client: lb.pick(client).name for client in clients}
    assert set(before.values()) == {"a", "b", "c"}
    assert lb.fingerprint == LoadBalancer(["c", "a", "b"], placement=recipe).fingerprint
    lb.mark_down("b", "reboot")
    for client, name in before.items():
        assert lb.pick(client).name == name or name == "b"
        assert lb.pick(client).name != "b"
        assert lb.pick(client, exclude=["a"]).name == "c"
        assert "goes to" in str(lb.explain(client))
    lb.mark_up("b")
    assert {client: lb.pick(client).name for client in clients} == before
    plan = lb.plan(add=["d"])
    assert not plan.exact
    assert 0 < plan.moved <= 1
    lb.register("d")
    assert lb.fingerprint != LoadBalancer(["a", "b", "c"], placement=recipe).fingerprint
    lb.drain("a")
    assert {lb.pick(client).name for client in clients} <= {"b", "c", "d"}


def test_a_table_that_answers_with_a_stranger_is_refused() -> None:
    with pytest.raises(ConfigError, match="returned 'x', which is not one of its hosts"):
        LoadBalancer(["a", "b"], placement=lambda hosts: lambda key: "x").pick("client")
