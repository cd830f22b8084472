"""The ring with uhashring's interface against uhashring, after any changes."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashring.integrations.uhashring import HashRing

uhashring = pytest.importorskip("uhashring")

KEYS: list[Any] = [*(f"key-{i}" for i in range(60)), b"bytes", 7, None, ("a", 1), "é"]
NAMES = st.sampled_from([f"node{i}" for i in range(7)])
CONFS = st.one_of(
    st.integers(1, 4),
    st.fixed_dictionaries(
        {},
        optional={
            "weight": st.integers(1, 3),
            "vnodes": st.integers(1, 30),
            "hostname": st.just("h"),
            "port": st.integers(1, 9),
            "instance": st.just("instance"),
            "unknown": st.just(1),
        },
    ),
)
NODES = st.one_of(NAMES, st.lists(NAMES, unique=True), st.dictionaries(NAMES, CONFS))


def crc(key: object) -> int:
    """A small hash, so that points collide."""
    return crc32(str(key).encode()) % 997


OPTIONS: list[dict[str, Any]] = [
    {},
    {"vnodes": 40},
    {"hash_fn": crc, "vnodes": 40},
    {"hash_fn": "ketama"},
    {"hash_fn": "ketama", "replicas": 3, "vnodes": 20},
    {"weight_fn": lambda **conf: 1 + len(conf["hostname"]) % 3},
]


def view(ring: Any) -> dict[str, Any]:
    """Everything that a user can see."""
    seen: dict[str, Any] = {
        "conf": ring.conf,
        "nodes": list(ring.get_nodes()),
        "points": ring.get_points(),
        "ring": ring.ring,
        "size": ring.size,
        "distribution": {name: n for name, n in ring.distribution.items() if n},
        "instances": ring.get_instances(),
    }
    for name in (
        *("get", "get_node", "get_node_hostname", "get_node_instance", "get_node_port"),
        *("get_node_pos", "get_node_weight", "get_server", "get_key", "__getitem__"),
    ):
        seen[name] = [getattr(ring, name)(key) for key in KEYS]
    if ring.size:
        for size in (None, 1, 2):
            for unique in (True, False):
                seen[f"range {size} {unique}"] = [
                    list(ring.range(key, size, unique))[:9] for key in KEYS[:5]
                ]
    seen["iterate"] = [list(ring.iterate_nodes(key)) for key in KEYS]
    return seen


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "default")
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])  # two rings an example
@given(nodes=NODES, changes=st.lists(st.tuples(NAMES, st.none() | CONFS), max_size=6))
def test_it_is_uhashring_after_any_changes(
    options: dict[str, Any], nodes: Any, changes: list[tuple[str, Any]]
) -> None:
    ours, its = HashRing(nodes, **options), uhashring.HashRing(nodes, **options)
    assert view(ours) == view(its)
    for name, conf in changes:
        if name in its.get_nodes() and conf is None and len(its.get_nodes()) > 1:
            ours.remove_node(name)
            its.remove_node(name)
        elif conf is None:
            ours.add_node(name)
            its.add_node(name)
        else:
            ours[name] = conf
            its[name] = conf
        assert view(ours) == view(its)
    ours.regenerate()
    its.regenerate()
    assert view(ours) == view(its)


def test_an_empty_ring_is_that_of_uhashring(capsys: pytest.CaptureFixture[str]) -> None:
    ours, its = HashRing(), uhashring.HashRing()
    for ring in (ours, its):
        ring.print_continuum()
        ring.add_node("a", {"vnodes": 2})
        ring.print_continuum()
        del ring["a"]
        assert ring.get("x") is None
        assert list(ring.iterate_nodes("x")) == [None]
        with pytest.raises(KeyError, match="node 'a' not found"):
            ring.remove_node("a")
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


@pytest.mark.parametrize(
    ("nodes", "options", "error"),
    [
        (7, {}, ValueError),
        ({"a": "heavy"}, {}, ValueError),
        (["a"], {"hash_fn": "sha1"}, TypeError),
        (["a"], {"weight_fn": 3}, TypeError),
    ],
)
def test_what_uhashring_refuses_is_refused(
    nodes: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    for kind in (HashRing, uhashring.HashRing):
        with pytest.raises(error):
            kind(nodes, **options)


@given(st.lists(st.lists(NAMES, unique=True), max_size=6))
def test_a_followed_list_is_the_members(lists: list[list[str]]) -> None:
    ring = HashRing({"node0": {"vnodes": 9}, "node1": 2})
    for nodes in lists:
        before = ring.conf
        for given_list in (nodes, list(nodes), nodes[::-1]):
            ring.sync_nodes(given_list)
            assert set(ring.get_nodes()) == set(nodes)
        kept = {name: before[name] for name in before if name in nodes}
        assert {name: ring.conf[name] for name in kept} == kept
        fresh = uhashring.HashRing(ring.conf)
        assert [ring.get_node(key) for key in KEYS] == [fresh.get_node(key) for key in KEYS]
        if nodes:
            ring.remove_node(nodes[0])
            ring.sync_nodes(nodes)
            assert set(ring.get_nodes()) == set(nodes), "a change in between is seen"


def test_a_list_that_is_changed_in_place_is_followed() -> None:
    ring, nodes = HashRing(), ["a", "b"]
    ring.sync_nodes(nodes)
    nodes[1] = "c"
    ring.sync_nodes(nodes)
    assert set(ring.get_nodes()) == {"a", "c"}


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda ring: pickle.loads(pickle.dumps(ring))]
)
def test_copies_are_independent(how: Callable[[HashRing], HashRing]) -> None:
    ring = HashRing(["a", "b"], hash_fn="ketama")
    twin = how(ring)
    assert twin.get_points() == ring.get_points()
    twin.add_node("c")
    assert list(ring.get_nodes()) == ["a", "b"]


def test_look_ups_during_changes_see_whole_rings() -> None:
    ring = HashRing([f"node{i}" for i in range(8)], vnodes=20)
    with_x, without_x = HashRing(list(ring.get_nodes()), vnodes=20), list(ring.get_nodes())
    with_x.add_node("x")
    allowed = {key: {ring.get_node(key), with_x.get_node(key)} for key in KEYS[:20]}
    problems: list[object] = []
    stop = threading.Event()

    def look_up() -> None:
        while not stop.is_set():
            for key, nodes in allowed.items():
                found = ring.get_node(key)
                conf = ring.get(key)
                if found not in nodes or conf is None or len(list(ring.range(key))) not in (8, 9):
                    problems.append((key, found))

    readers = [threading.Thread(target=look_up) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(150):
        ring.sync_nodes([*without_x, "x"])
        ring.sync_nodes(without_x)
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems


def test_remembered_keys_follow_every_change() -> None:
    ring, keys = HashRing(["a", "b", "c"]), [f"key-{number}" for number in range(9_000)]

    def check() -> None:
        fresh = HashRing(dict(ring.conf))
        for _ in range(2):  # the second time some are remembered
            assert [ring.get_node(key) for key in keys] == [fresh.get_node(key) for key in keys]

    check()
    ring.add_node("d")
    check()
    ring.remove_node("a")
    check()
    ring.sync_nodes(["b", "e"])
    check()
    copied = pickle.loads(pickle.dumps(ring))
    assert [copied.get_node(key) for key in keys] == [ring.get_node(key) for key in keys]
    ring.sync_nodes([])
    assert ring.get_node(keys[0]) is None
