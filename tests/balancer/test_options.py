"""What may a balancer be made with?  Each option works, or one ConfigError says why not."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from hashring import placement
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError, NoHostsError
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.strategies import LeastConnections, Random, RoundRobin, View, names
from hashring.strategies import create as create_strategy
from tests.balancer.rig import CLIENTS, HighestTable, balancer, client_of, left_alone, owners

HOSTS = ["a", "b", "c"]


# -- placement ------------------------------------------------------------------------------------


def test_the_default_is_the_native_ring() -> None:
    lb = LoadBalancer(HOSTS)
    assert owners(lb) == HashRing(HOSTS).lookup_many(CLIENTS)
    assert lb.fingerprint == LoadBalancer(HOSTS, placement="ring").fingerprint


def test_an_empty_ring_gives_its_vnodes_and_seed() -> None:
    lb = LoadBalancer(HOSTS, placement=HashRing(vnodes=7, seed=99))
    twin = HashRing(HOSTS, vnodes=7, seed=99)
    assert owners(lb) == twin.lookup_many(CLIENTS)
    assert lb.fingerprint.split(".")[0] == twin.fingerprint
    lb.mark_down("a", "x")
    assert owners(lb) == HashRing(HOSTS[1:], vnodes=7, seed=99).lookup_many(CLIENTS)


@pytest.mark.parametrize("hosts", [["a"], HOSTS])
def test_a_ring_with_hosts_is_refused(hosts: list[str]) -> None:
    with pytest.raises(ConfigError, match="empty HashRing") as error:
        LoadBalancer(placement=HashRing(hosts))
    assert error.value.option == "placement"


@pytest.mark.parametrize("name", placement.names())
def test_a_name_is_the_placement_of_that_name(name: str) -> None:
    lb = LoadBalancer(HOSTS, placement=name)
    table = placement.create(name, HOSTS)
    assert owners(lb) == [table.lookup(client) for client in CLIENTS]


def test_a_recipe_places() -> None:
    lb = LoadBalancer(HOSTS, placement=placement.recipe("ring", vnodes=9, seed=3))
    assert owners(lb) == HashRing(HOSTS, vnodes=9, seed=3).lookup_many(CLIENTS)
    own = LoadBalancer(HOSTS, placement=HighestTable)
    assert owners(own) == [next(HighestTable(own.hosts).walk(client)) for client in CLIENTS]


def test_one_recipe_serves_two_balancers_in_turn() -> None:
    shared = placement.recipe("ring", vnodes=9)
    one, other = LoadBalancer(HOSTS, placement=shared), LoadBalancer(["x", "y"], placement=shared)
    one.register("d")
    other.unregister("x")
    one.plan(add=["e"])
    one.mark_down("a", "x")
    assert owners(one) == HashRing(["b", "c", "d"], vnodes=9).lookup_many(CLIENTS)
    assert owners(other) == ["y"] * len(CLIENTS)


def test_no_placement_is_a_plain_load_balancer() -> None:
    lb = LoadBalancer(HOSTS, placement=None)
    for client in (None, "", "x", 0):
        assert sorted(lb.pick(client).name for _ in range(9)) == sorted(HOSTS * 3)
    with lb.lease("x") as lease:
        assert lease.reason == "fallback"
    assert lb.snapshot.table is None
    lb.mark_down("a", "x")
    assert {lb.pick("x").name for _ in range(9)} == {"b", "c"}
    assert lb.pick("x", prefer="c").name == "c"
    assert lb.pick("x", exclude=["b"]).name == "c"
    with pytest.raises(NoHostsError, match="operator: x"):
        lb.pick("x", exclude=["b", "c"])
    other = LoadBalancer(["c", "b", "a"], placement=None)
    other.mark_down("a", "y")
    assert lb.fingerprint == other.fingerprint


def test_a_key_that_a_table_would_not_hash_goes_to_the_fallback() -> None:
    lb = LoadBalancer(HOSTS, placement=HighestTable, fallback=lambda view: view.hosts[-1])
    assert lb.pick("skip-1").name == "c"
    assert lb.pick("skip-1", exclude=["c"]).name == "b"
    assert lb.pick("skip-1", prefer="a").name == "a"
    with lb.lease("skip-1") as lease:
        assert (lease.host.name, lease.reason) == ("c", "fallback")
    assert lb.explain("skip-1").reason == "fallback"
    lb.mark_down("c", "x")
    assert lb.pick("skip-1").name == "b"
    with pytest.raises(NoHostsError):
        lb.pick("skip-1", exclude=HOSTS)


def test_a_recipe_that_makes_no_table_changes_nothing() -> None:
    with pytest.raises(ConfigError, match="not a table"):
        balancer(HOSTS, placement=lambda hosts: [host.name for host in hosts])
    lb = balancer([], placement=lambda hosts: None)
    with left_alone(lb, ConfigError):
        lb.register("a")


def test_what_a_recipe_raises_changes_nothing() -> None:
    def at_most_two(hosts: tuple[Host, ...]) -> HighestTable:
        if len(hosts) > 2:
            raise RuntimeError("three is a crowd")
        return HighestTable(hosts)

    lb = LoadBalancer(["a", "b"], placement=at_most_two)
    with left_alone(lb, RuntimeError, "crowd"):
        lb.register("c")
    with left_alone(lb, RuntimeError, "crowd"):
        lb.plan(add=["c"])
    lb.unregister("a")
    assert set(owners(lb)) == {"b"}


# -- fallback -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_a_strategy_object_serves_one_balancer(name: str) -> None:
    strategy = create_strategy(name)
    lb = LoadBalancer(HOSTS, fallback=strategy)
    assert {lb.pick().name for _ in range(300)} == set(HOSTS)
    with pytest.raises(ConfigError, match="already serves a balancer"):
        LoadBalancer(HOSTS, fallback=strategy)
    with pytest.raises(ConfigError, match="already serves a balancer"):
        LoadBalancer(fallback=strategy)


def test_a_failed_constructor_leaves_the_strategy_free() -> None:
    strategy = RoundRobin()
    bad: list[dict[str, Any]] = [{"placement": "rong"}, {"load_factor": 1}, {"capacity": 0}]
    for options in ({"hosts": "abc"}, *bad):
        with pytest.raises(ConfigError):
            LoadBalancer(**{"fallback": strategy, **options})
    assert LoadBalancer(HOSTS, fallback=strategy).pick().name in HOSTS


def test_each_balancer_makes_its_own_round_robin() -> None:
    one, other = LoadBalancer(HOSTS), LoadBalancer(HOSTS)
    for lb in (one, other, one):
        assert sorted(lb.pick().name for _ in range(3)) == HOSTS


def test_objects_with_choose_and_functions_are_fallbacks() -> None:
    class Last:
        def choose(self, view: View) -> Host:
            return view.hosts[-1]

    for fallback in (Last(), Last().choose, lambda view: view.hosts[-1]):
        lb = balancer(HOSTS, fallback=fallback)
        assert lb.pick().name == "c"
        assert lb.pick(exclude=["c"]).name == "b"


def test_the_view_of_a_fallback_is_the_usable_hosts_by_name() -> None:
    seen: list[tuple[str, ...]] = []

    def first(view: View) -> Host:
        seen.append(tuple(host.name for host in view.hosts))
        return view.hosts[0]

    lb = balancer(["d", "b", "a", "c"], fallback=first)
    lb.pick()
    lb.mark_down("a", "x")
    lb.drain("c")
    lb.pick()
    lb.pick(exclude=["b", "a"])
    assert seen == [("a", "b", "c", "d"), ("b", "d"), ("d",)]


def test_a_view_keeps_its_tuple_while_hosts_are_the_same() -> None:
    seen: list[tuple[Host, ...]] = []

    def first(view: View) -> Host:
        seen.append(view.hosts)
        return view.hosts[0]

    lb = balancer(["a", "b", "c"], fallback=first)
    lb.mark_down("c", "one")
    lb.pick()
    lb.mark_down("c", "two")
    lb.drain("c")
    lb.pick()
    lb.set_weight("a", 2)
    lb.pick()
    assert seen[0] is seen[1]
    assert seen[2] is not seen[1]
    assert seen[2][0].weight == 2


@pytest.mark.parametrize("rubbish", [None, "a", 5, Host("zz"), Host("d"), ["a"]])
def test_a_fallback_that_answers_rubbish_is_refused_as_if_to(rubbish: Any) -> None:
    lb = balancer(["a", "b", "d"], fallback=lambda view: rubbish)
    lb.mark_down("d", "x")
    with pytest.raises(ConfigError, match="fallback") as error:
        lb.pick()
    assert error.value.option == "fallback"
    with pytest.raises(ConfigError), lb.lease():
        pass
    assert sum(lb.load(host).in_flight for host in lb.hosts) == 0
    assert lb.pick(client_of("a", ["a", "b"])).name == "a"


def test_a_fallback_may_not_answer_with_an_excluded_host() -> None:
    lb = balancer(["a", "b"], fallback=lambda view: Host("a"))
    with pytest.raises(ConfigError):
        lb.pick(exclude=["a"])


def test_a_replaced_host_of_a_fallback_has_its_new_address() -> None:
    remembered: list[Host] = []

    def first(view: View) -> Host:
        remembered.append(view.hosts[0])
        return remembered[0]

    lb = balancer([Host("a", address="old:1"), "b"], fallback=first)
    assert lb.pick().address == "old:1"
    lb.replace("a", address="new:1")
    with suppress(ConfigError):  # to refuse it is as good
        assert lb.pick().address == "new:1"


def test_what_a_fallback_raises_reaches_the_caller() -> None:
    lb = balancer(HOSTS, fallback=lambda view: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        lb.pick()
    with pytest.raises(ZeroDivisionError), lb.lease():
        pass
    assert sum(lb.load(host).in_flight for host in lb.hosts) == 0
    with lb.lease("x"):  # and no lock is left taken
        assert sum(lb.load(host).in_flight for host in lb.hosts) == 1


# -- randomness -----------------------------------------------------------------------------------


def test_an_rng_repeats_a_run() -> None:
    for made in (Random, RoundRobin, LeastConnections):
        runs = []
        for _ in range(2):
            lb = LoadBalancer(HOSTS, placement=None, fallback=made(), rng=random.Random(7))
            runs.append([lb.pick().name for _ in range(30)])
        assert runs[0] == runs[1], made


@pytest.mark.parametrize("made", [RoundRobin, LeastConnections])
def test_a_rotation_starts_at_a_random_host(made: Any) -> None:
    hosts = [f"web{i}" for i in range(20)]
    starts = {LoadBalancer(hosts, placement=None, fallback=made()).pick().name for _ in range(60)}
    assert len(starts) > 1  # all sixty the same: 1 in 20^59


# -- what cannot work -----------------------------------------------------------------------------

# lists of their own, for they hold what no type fits
BAD_FAILURES: list[Any] = [5, "OSError", (OSError, 3), (int,), None, [OSError()]]
BAD_FALLBACKS: list[Any] = ["round-robin", 5, RoundRobin, [], object()]
BAD_RNGS: list[Any] = [5, "random", object()]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("capacity", value) for value in (0, -1, 2.5, "3", True, float("nan"))),
        *(
            ("load_factor", value)
            for value in (1, 1.0, 0.5, -2, 0, float("nan"), float("inf"), "2", True)
        ),
        pytest.param("load_factor", 10**400, id="load_factor-beyond-floats"),
        *(("load_floor", value) for value in (0, -1, 1.5, "1", True, None)),
        *(("failures", value) for value in BAD_FAILURES),
        *(("fallback", value) for value in BAD_FALLBACKS),
        *(("placement", value) for value in ("rong", "", 5, b"ring")),
        *(("rng", value) for value in BAD_RNGS),
        *(("clock", value) for value in (5, "time", 0.0)),
    ],
)
def test_a_bad_option_is_one_config_error(option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        LoadBalancer(HOSTS, **{option: value})
    assert error.value.option == option


def test_failures_may_be_one_type_or_none_at_all() -> None:
    lb = LoadBalancer(HOSTS, failures=ValueError)
    with pytest.raises(ValueError, match="no"), lb.lease("x", prefer="a"):
        raise ValueError("no")
    assert lb.load("a").failed == 1
    lb = LoadBalancer(HOSTS, failures=())
    with pytest.raises(OSError, match="no"), lb.lease("x", prefer="a"):
        raise OSError("no")
    assert lb.load("a").failed == 0
