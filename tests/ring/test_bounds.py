"""Limits and wrong arguments: the error names the reason and the ring is unchanged."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hashring.errors import (
    ConfigError,
    DuplicateHostError,
    HashringError,
    InvalidKeyError,
    InvalidWeightError,
    UnknownHostError,
)
from hashring.hosts import Host
from hashring.ring import HashRing
from hashring.ring.layout import check_total, vnode_count, vnode_positions
from tests.ring.inputs import KEYS, state
from tests.ring.naive import NaiveRing, stand

HOST_MOST, RING_MOST = 1 << 20, 1 << 23


def broken() -> Iterator[str]:
    yield "c"
    raise OSError("the source of hosts broke")


MUTATIONS: list[tuple[str, Callable[[HashRing], None], type[Exception]]] = [
    ("add twice", lambda ring: ring.add("a"), DuplicateHostError),
    ("add twice, heavier", lambda ring: ring.add("a", 5), DuplicateHostError),
    ("remove unknown", lambda ring: ring.remove("z"), UnknownHostError),
    ("weigh unknown", lambda ring: ring.set_weight("z", 2), UnknownHostError),
    ("hosts are a str", lambda ring: ring.set_hosts("abc"), ConfigError),
    ("hosts are bytes", lambda ring: ring.set_hosts(b"abc"), ConfigError),  # type: ignore[arg-type]  # refused
    ("hosts are None", lambda ring: ring.set_hosts(None), ConfigError),  # type: ignore[arg-type]  # refused
    ("a host twice", lambda ring: ring.set_hosts(["x", "y", ("x", 2)]), DuplicateHostError),
    ("a bad last host", lambda ring: ring.set_hosts(["x", ("y", 0)]), InvalidWeightError),
    ("a bad last name", lambda ring: ring.set_hosts({"x": 1, "": 1}), ConfigError),
    ("a broken source", lambda ring: ring.set_hosts(broken()), OSError),
    ("too heavy to add", lambda ring: ring.add("c", HOST_MOST), ConfigError),
    ("too heavy", lambda ring: ring.set_weight("a", 1e308), ConfigError),
    (
        "too many",
        lambda ring: ring.set_hosts({f"h{i}": HOST_MOST / 8 for i in range(9)}),
        ConfigError,
    ),
    *(
        (f"add {name!r}", lambda ring, name=name: ring.add(name), ConfigError)
        for name in ("", 7, None, b"c", True, ["c"], ("c",), ("c", 1, 2), ("", 1))
    ),
    *(
        (f"{what} {bad!r}", lambda ring, bad=bad, do=do: do(ring, bad), InvalidWeightError)
        for bad in (0, -1, float("nan"), float("inf"), "2", True, [1], 10**400)
        for what, do in (
            ("add with", lambda ring, bad: ring.add("c", bad)),
            ("add a pair with", lambda ring, bad: ring.add(("c", bad))),
            ("weigh", lambda ring, bad: ring.set_weight("a", bad)),
        )
    ),
]


@pytest.mark.parametrize(
    ("change", "error"), [pytest.param(change, error, id=what) for what, change, error in MUTATIONS]
)
def test_a_change_that_fails_changes_nothing(
    change: Callable[[HashRing], None], error: type[Exception]
) -> None:
    ring = HashRing({"a": 1, "b": 2}, vnodes=8)
    before, table = state(ring), ring.table
    with pytest.raises(error) as caught:
        change(ring)
    assert str(caught.value)
    assert ring.table is table
    assert state(ring) == before
    assert dict(ring.weights) == {"a": 1, "b": 2}
    ring._check()
    ring.add("c", 3)  # and it still works
    ring._check()


def test_a_change_that_changes_nothing_keeps_the_table() -> None:
    ring = HashRing({"a": 1, "b": 2})
    table = ring.table
    ring.set_weight("a", 1)
    ring.set_hosts([("b", 2), "a"])
    assert ring.table is table


@pytest.mark.parametrize("vnodes", [0, -1, True, 1.5, "512", None, HOST_MOST + 1])
def test_bad_vnodes_are_refused(vnodes: Any) -> None:
    with pytest.raises(ConfigError, match="vnodes") as caught:
        HashRing(vnodes=vnodes)
    assert caught.value.option == "vnodes"


@pytest.mark.parametrize("seed", [-1, 1 << 32, True, 1.0, "7", None])
def test_bad_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="seed") as caught:
        HashRing(seed=seed)
    assert caught.value.option == "seed"


@pytest.mark.parametrize(
    ("vnodes", "weight", "count"),
    [
        (512, 1.0, 512),
        (512, 0.001, 1),
        (512, 0.0001, 1),
        (16, 1000, 16_000),
        (1, 1.5, 2),
        (1, 2.5, 3),  # halves go up, not to the even one
        (1, 2.49, 2),
        (100, 1.005, 100),  # 100.49999999999999 in binary
        (3, 1.5, 5),
    ],
)
def test_a_host_has_its_weight_in_vnodes(vnodes: int, weight: float, count: int) -> None:
    ring = HashRing({"a": weight}, vnodes=vnodes)
    assert len(ring.vnode_list()) == count


def test_a_heavier_hosts_first_vnodes_are_the_lighter_ones() -> None:
    light, heavy = HashRing({"a": 1}, vnodes=64), HashRing({"a": 2.5}, vnodes=64)
    assert set(light.vnode_list()) < set(heavy.vnode_list())


def test_the_separator_keeps_hosts_apart() -> None:
    # without it vnode 11 of "1" and vnode 1 of "11" would both be that of "111"
    assert vnode_positions("1", 11, 12, 0) == [stand(b"1#11", 0)]
    assert vnode_positions("11", 1, 2, 0) == [stand(b"11#1", 0)]
    ones = ["1", "11", "111", "1#1"]
    places = [position for position, _ in HashRing(ones, vnodes=200).vnode_list()]
    assert len(set(places)) == len(places)


def test_the_most_vnodes_of_a_host_and_of_a_ring() -> None:
    assert vnode_count(HOST_MOST, 1.0, "a") == vnode_count(512, 2048.0, "a") == HOST_MOST
    check_total(RING_MOST)
    with pytest.raises(ConfigError):
        vnode_count(512, 2048.001, "a")  # half a vnode more
    with pytest.raises(ConfigError):
        check_total(RING_MOST + 1)


COST_IN_TIME = r"[\d.,]+ (s|min|h|seconds|minutes|hours)\b"
COST_IN_MEMORY = r"[\d.,]+ [MG]B\b"


def test_too_many_vnodes_say_what_they_would_cost_and_what_to_do() -> None:
    ring = HashRing(vnodes=HOST_MOST)
    with pytest.raises(ConfigError, match=COST_IN_TIME) as caught:
        ring.set_hosts([f"h{i}" for i in range(9)])
    caught.match(COST_IN_MEMORY)
    caught.match("fewer vnodes")
    caught.match(f"{RING_MOST:,}")
    assert ring == HashRing(vnodes=HOST_MOST)


def test_too_many_vnodes_of_a_host_are_refused_with_the_cost() -> None:
    ring = HashRing(["a"])
    with pytest.raises(ConfigError, match="weights are ratios") as caught:
        ring.add("b", 4096)
    caught.match("'b'")
    caught.match(f"{HOST_MOST:,}")
    caught.match(COST_IN_TIME)
    caught.match(COST_IN_MEMORY)


@pytest.mark.parametrize("weights", [{"a": 0.001, "b": 1000.0}, {"a": 0.001, "b": 0.001, "c": 1}])
def test_extreme_weights(weights: dict[str, float]) -> None:
    ring = HashRing(weights, vnodes=16)
    assert ring.vnode_list() == NaiveRing(weights, vnodes=16).vnodes
    assert sum(ring.shares().values()) == 1.0
    assert all(share > 0 for share in ring.shares().values())
    ring.set_weight("a", 1000)
    ring.set_weight("a", 0.001)
    assert ring == HashRing(weights, vnodes=16)
    ring._check()


@pytest.mark.slow
def test_two_thousand_hosts() -> None:
    names = {f"host-{i}": 1.0 for i in range(2000)}
    ring = HashRing(names, vnodes=16)
    naive = NaiveRing(names, vnodes=16)
    assert ring.vnode_list() == naive.vnodes
    assert [list(ring.walk(key))[:3] for key in KEYS] == [naive.walk(key)[:3] for key in KEYS]
    assert sorted(ring.walk("x")) == sorted(names)
    ring.remove("host-7")
    ring.add("late")
    ring.set_weight("host-8", 3)
    changed = {**names, "late": 1.0, "host-8": 3.0}
    del changed["host-7"]
    assert ring == HashRing(changed, vnodes=16)
    ring._check()


def test_the_errors_of_a_ring_are_hashrings() -> None:
    assert all(issubclass(error, (HashringError, OSError)) for _, _, error in MUTATIONS)


def test_several_keys_are_not_one_text() -> None:
    ring = HashRing(["a"])
    for keys in ("abc", b"abc"):
        with pytest.raises(InvalidKeyError, match="did you mean"):
            ring.lookup_many(keys)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2", None, float("inf"), [1]], ids=repr)
def test_a_number_of_hosts_is_a_whole_number_above_0(n: Any) -> None:
    with pytest.raises(ConfigError, match="n must be"):
        HashRing(["a"]).lookup_n("x", n)


def test_a_host_is_removed_and_weighed_by_itself() -> None:
    ring = HashRing(["a", "b"])
    ring.set_weight(Host("a"), 3)
    assert ring.weights["a"] == 3
    ring.remove(Host("a"))
    assert ring.hosts == ("b",)


@pytest.mark.parametrize("name", [["a"], {"a": 1}, None, 7], ids=repr)
def test_what_is_not_a_name_is_unknown(name: Any) -> None:
    ring = HashRing(["a"])
    assert name not in ring
    with pytest.raises(UnknownHostError):
        ring.remove(name)
    with pytest.raises(ConfigError):
        ring.table.without([["x"]])  # type: ignore[list-item]  # this is what is refused


def test_a_ring_of_a_ring_keeps_weights_and_options() -> None:
    ring = HashRing({"a": 1, "b": 5}, vnodes=64, seed=9)
    assert HashRing(ring, vnodes=64, seed=9) == ring
    options: dict[str, dict[str, Any]] = {"vnodes": {"seed": 9}, "seed": {"vnodes": 64}}
    for option, others in options.items():
        with pytest.raises(ConfigError, match=r"ring\.copy\(\)") as caught:
            HashRing(ring, **others)
        assert caught.value.option == option
    keyed = HashRing(["a"], key_secret=b"sixteen or more random bytes")
    with pytest.raises(ConfigError) as caught:
        HashRing(keyed)
    assert caught.value.option == "key_secret"
    other = HashRing()
    other.set_hosts(ring)
    assert dict(other.weights) == {"a": 1.0, "b": 5.0}


class Named(HashRing):
    """A ring with more to it."""

    label = "none"


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, HashRing.copy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_subclass_survives_copies(how: Callable[[HashRing], HashRing]) -> None:
    ring = Named({"a": 1, "b": 2}, vnodes=8, seed=3)
    ring.label = "mine"
    twin = how(ring)
    assert isinstance(twin, Named)
    assert twin == ring
    assert twin.label == "mine"
    twin.add("c")
    assert "c" not in ring
    twin._check()
    ring._check()


def test_rings_and_hosts_can_be_referenced_weakly() -> None:
    ring, host = HashRing(["a"]), Host("a")
    assert weakref.ref(ring)() is ring
    assert weakref.ref(host)() is host
