"""Is a host's load bounded, exactly?  Beside a naive model in exact fractions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.balancer import Lease, LoadBalancer
from hashring.errors import NoHostsError
from tests.balancer.rig import CLIENTS, balancer, client_of, open_lease, walk

NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")
# all of these are exact in binary, so that the bound has no rounding to hide behind
WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
FACTORS = st.sampled_from([1.0625, 1.25, 1.5, 2.0, 3.5])
ANY_WEIGHT = st.floats(0.01, 10, allow_nan=False)
ANY_FACTOR = st.floats(1.001, 4, allow_nan=False)


class Bounds:
    """``in_flight < max(floor, ceil(c * (L + 1) * w / W))`` over some hosts, in exact fractions."""

    def __init__(self, factor: float, floor: int, weights: dict[str, float], load: Counter[str]):
        self.floor, self.load = floor, load
        total = sum(load[name] for name in weights)
        whole = sum(map(Fraction, weights.values()))
        self.shares = {
            name: Fraction(factor) * (total + 1) * Fraction(weight) / whole
            for name, weight in weights.items()
        }

    def has_room(self, name: str, slack: Fraction = Fraction(0)) -> bool:
        return self.load[name] < max(self.floor, ceil(self.shares[name] + slack))


@given(
    weights=st.dictionaries(st.sampled_from(NAMES), WEIGHTS, min_size=1),
    factor=FACTORS,
    floor=st.integers(1, 4),
    data=st.data(),
)
def test_a_lease_goes_to_the_first_host_below_its_bound(
    weights: dict[str, float], factor: float, floor: int, data: st.DataObject
) -> None:
    lb = balancer(weights, load_factor=factor, load_floor=floor)
    load: Counter[str] = Counter()
    leases: list[Lease] = []
    away: set[str] = set()
    names = st.sampled_from(sorted(weights))
    for _ in range(data.draw(st.integers(1, 40))):
        act = data.draw(st.sampled_from(["lease"] * 6 + ["pinned", "release", "away", "back"]))
        if act == "away" and data.draw(st.booleans()):
            away.add(name := data.draw(names))
            lb.drain(name)
        elif act == "away":
            away.add(name := data.draw(names))
            lb.mark_down(name, "x")
        elif act == "back":
            away.discard(name := data.draw(names))
            lb.mark_up(name)
            lb.resume(name)
        elif act == "release" and leases:
            lease = leases.pop(data.draw(st.integers(0, len(leases) - 1)))
            lease.release()
            load[lease.host.name] -= 1
        elif act == "pinned":
            name = data.draw(names)
            if lb.state(name) != "down":
                leases.append(lb.lease(CLIENTS[0], prefer=name).acquire())
                load[name] += 1
        elif act == "lease":
            exclude = data.draw(st.sets(names, max_size=2))
            left = {n: w for n, w in weights.items() if n not in away | exclude}
            client = data.draw(st.sampled_from(CLIENTS[:4]))
            lease = lb.lease(client, exclude=exclude)
            if not left:
                with pytest.raises(NoHostsError):
                    lease.acquire()
                continue
            order, bounds = walk(left, client), Bounds(factor, floor, left, load)
            with_room = [name for name in order if bounds.has_room(name)]
            assert with_room, "some host is always below its bound"
            assert lease.acquire().host.name == with_room[0]
            assert (lease.reason == "overflow") == (with_room[0] != order[0])
            leases.append(lease)
            load[lease.host.name] += 1
        assert {n: lb.load(n).in_flight for n in weights} == {n: load[n] for n in weights}


@given(
    weights=st.dictionaries(st.sampled_from(NAMES), ANY_WEIGHT, min_size=1),
    factor=ANY_FACTOR,
    clients=st.lists(st.sampled_from(CLIENTS[:5]), max_size=60),
    exclude=st.sets(st.sampled_from(NAMES), max_size=3),
)
def test_the_bound_holds_with_any_weights(
    weights: dict[str, float], factor: float, clients: list[str], exclude: set[str]
) -> None:
    left = {name: weight for name, weight in weights.items() if name not in exclude}
    lb = balancer(weights, load_factor=factor)
    load: Counter[str] = Counter()
    slack = Fraction(1, 10**9)
    for client in clients if left else []:
        bounds = Bounds(factor, 1, left, load)
        host = open_lease(lb, client, exclude=exclude).host.name
        order = walk(left, client)
        assert bounds.has_room(host, slack)
        for passed in order[: order.index(host)]:
            assert not bounds.has_room(passed, -slack)
        load[host] += 1


def test_a_light_host_serves_when_a_heavy_one_is_excluded() -> None:
    lb = balancer({"light": 1e-20, "heavy": 1.0}, load_factor=1.25)
    for _ in range(3):
        assert open_lease(lb, "x", exclude=["heavy"]).host.name == "light"


def test_the_greatest_load_factor_bounds_nothing() -> None:
    lb = balancer(["a", "b"], load_factor=1.7976931348623157e308)
    client = client_of("a", ["a", "b"])
    assert {open_lease(lb, client).host.name for _ in range(5)} == {"a"}


# -- what the floor is for ------------------------------------------------------------------------


@pytest.mark.parametrize(("floor", "hosts"), [(1, 6), (2, 3), (3, 2), (6, 1), (8, 1)])
def test_six_parallel_requests_of_one_session_on_ten_idle_hosts(floor: int, hosts: int) -> None:
    lb = balancer([f"web{i}" for i in range(10)], load_factor=1.25, load_floor=floor)
    with ExitStack() as stack:
        leases = [stack.enter_context(lb.lease("session")) for _ in range(6)]
        assert len({lease.host for lease in leases}) == hosts


def test_with_eight_of_ten_hosts_down_two_serve_all() -> None:
    lb = balancer([f"web{i}" for i in range(10)], load_factor=1.25)
    for i in range(8):
        lb.mark_down(f"web{i}", "flood")
    for client in CLIENTS:
        open_lease(lb, client)
    # ceil(1.25 * 200 / 2) = 125 is the highest bound of all, as all 200 came in
    load = {host.name: lb.load(host).in_flight for host in lb.hosts}
    assert sum(load.values()) == load["web8"] + load["web9"] == 200
    assert max(load.values()) <= 125


def test_load_on_hosts_that_are_away_raises_nobodys_bound() -> None:
    lb = balancer(["a", "b", "c"], load_factor=1.5)
    for _ in range(30):
        open_lease(lb, "x", prefer="c")
    lb.drain("c")
    client = client_of("a", ["a", "b"])
    # W = 2, and L = 0, 1, 2, 3: bounds of 1, 2, 3 and 3
    assert [open_lease(lb, client).host.name for _ in range(4)] == ["a", "a", "a", "b"]
    lb.resume("c")
    client = client_of("a", ["a", "b", "c"])
    # L = 34, W = 3: ceil(1.5 * 35 / 3) = 18
    assert open_lease(lb, client).reason == "owner"


def test_overflow_goes_down_the_walk() -> None:
    lb = balancer(NAMES, load_factor=1.0625)
    for client in CLIENTS[:20]:
        with ExitStack() as stack:
            order = [stack.enter_context(lb.lease(client)).host.name for _ in range(8)]
        # L + 1 requests on eight equal hosts: the bound is 1 for the first seven of them
        assert order[:7] == walk(NAMES, client)[:7]


# -- what looks at no load ------------------------------------------------------------------------


def test_pick_never_looks_at_load_for_a_known_client() -> None:
    lb = balancer(NAMES, load_factor=1.0625)
    before = {client: lb.pick(client) for client in CLIENTS}
    for _ in range(50):
        open_lease(lb, "x", prefer="a")
    assert {client: lb.pick(client) for client in CLIENTS} == before
    assert lb.explain(client_of("a", NAMES)).reason == "owner"


def test_pinned_leases_ignore_the_bound() -> None:
    lb = balancer(NAMES, load_factor=1.0625)
    for _ in range(50):
        assert open_lease(lb, "x", prefer="a").reason == "pinned"
    assert lb.load("a").in_flight == 50


def test_without_a_load_factor_nothing_overflows() -> None:
    lb = balancer(NAMES)
    client = client_of("c", NAMES)
    assert {open_lease(lb, client).reason for _ in range(50)} == {"owner"}
    assert lb.load("c").in_flight == 50


def test_anonymous_leases_count_in_the_bounds_of_others() -> None:
    lb = balancer(["a", "b"], load_factor=1.5, fallback=lambda view: view.hosts[0])
    client = client_of("a", ["a", "b"])
    for _ in range(3):
        assert open_lease(lb).host.name == "a"
    # L = 3: ceil(1.5 * 4 / 2) = 3, and a has 3
    assert open_lease(lb, client).host.name == "b"


@pytest.mark.parametrize(
    "change",
    [
        lambda lb: lb.mark_down("b", "x"),
        lambda lb: lb.unregister("b"),
        lambda lb: lb.set_hosts(["a"]),
        lambda lb: lb.drain("b"),
    ],
)
def test_the_bound_follows_the_pool(change: Callable[[LoadBalancer], object]) -> None:
    lb = balancer(["a", "b"], load_factor=1.5)
    client = client_of("a", ["a", "b"])
    # L = 0, 1, 2, 3: bounds of 1, 2, 3 and 3
    assert [open_lease(lb, client).host.name for _ in range(4)] == ["a", "a", "a", "b"]
    change(lb)
    # alone, a has all of W, and its bound is above L
    assert [open_lease(lb, client).host.name for _ in range(4)] == ["a"] * 4
    assert lb.load("a").in_flight == 7


def test_weights_whose_sum_overflows_are_served() -> None:
    lb = LoadBalancer({"a": 1e308}, placement=None, load_factor=1.25)
    lb.register("b", weight=1e308)
    with lb.lease() as one, lb.lease(exclude=[one.host]) as other:
        assert {one.host.name, other.host.name} == {"a", "b"}
    lb.unregister("a")
    assert lb.pick("x").name == "b"
