"""When are two rings the same?  Whatever the order, the process or the way they were made."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.ring import HashRing, RingTable
from tests.ring.inputs import KEYS, NAMES, SEEDS, VNODES, WEIGHTS, memberships, rings, state

ROOT = Path(__file__).resolve().parents[2]


@given(memberships(least=2), VNODES, SEEDS, st.data())
def test_order_of_registration_never_matters(
    hosts: dict[str, float], vnodes: int, seed: int, data: st.DataObject
) -> None:
    at_once = HashRing(hosts, vnodes=vnodes, seed=seed)
    one_by_one = HashRing(vnodes=vnodes, seed=seed)
    for name in data.draw(st.permutations(sorted(hosts))):
        one_by_one.add(name, hosts[name])
    shuffled = data.draw(st.permutations(list(hosts.items())))
    assert (
        state(at_once) == state(one_by_one) == state(HashRing(shuffled, vnodes=vnodes, seed=seed))
    )
    assert at_once == one_by_one


@given(rings(least=0), memberships(least=0))
def test_set_hosts_is_a_fresh_ring(ring: HashRing, hosts: dict[str, float]) -> None:
    ring.set_hosts(hosts)
    assert state(ring) == state(HashRing(hosts, vnodes=ring.vnodes, seed=ring.seed))
    ring._check()


@given(rings(least=2), NAMES, WEIGHTS)
def test_a_copy_is_independent(ring: HashRing, name: str, weight: float) -> None:
    twin, before = ring.copy(), state(ring)
    assert twin == ring
    assert state(twin) == before
    twin.remove(twin.hosts[0])
    if name not in twin:
        twin.add(name, weight)
    assert state(ring) == before
    after = state(twin)
    ring.set_weight(ring.hosts[0], weight)
    ring.remove(ring.hosts[-1])
    assert state(twin) == after
    twin._check()
    ring._check()


@given(rings(), NAMES, WEIGHTS)
def test_an_old_table_stays_as_it_was(ring: HashRing, name: str, weight: float) -> None:
    table = ring.table
    walks = [list(table.walk(key)) for key in KEYS]
    seen = (table.hosts, table.fingerprint, table.vnode_list(), table.shares())
    if name not in ring:
        ring.add(name, weight)
    ring.set_weight(ring.hosts[0], weight)
    ring.remove(ring.hosts[0])
    ring.set_hosts(["x", "y", "z"])
    assert [list(table.walk(key)) for key in KEYS] == walks
    assert (table.hosts, table.fingerprint, table.vnode_list(), table.shares()) == seen
    assert len(table) == len(walks[0])


@given(rings(least=0))
def test_pickle_and_copy_give_an_equal_ring(ring: HashRing) -> None:
    for twin in (pickle.loads(pickle.dumps(ring)), copy.copy(ring), copy.deepcopy(ring)):
        assert state(twin) == state(ring)
        assert twin == ring
        twin.set_hosts(["x"])
        twin._check()
        assert list(ring.hosts) == sorted(ring.weights)
    table: RingTable = pickle.loads(pickle.dumps(ring.table))
    assert (table.fingerprint, table.vnode_list()) == (ring.fingerprint, ring.vnode_list())
    diff = pickle.loads(pickle.dumps(ring.diff(HashRing(vnodes=ring.vnodes, seed=ring.seed))))
    assert diff == ring.diff(HashRing(vnodes=ring.vnodes, seed=ring.seed))


@given(rings(least=0))
def test_to_dict_survives_json(ring: HashRing) -> None:
    # JSON cannot tell two lone surrogates that meet from the one character they spell together
    assume(all(json.loads(json.dumps(name)) == name for name in ring))
    data = json.loads(json.dumps(ring.to_dict()))
    assert data == ring.to_dict()
    assert state(HashRing.from_dict(data)) == state(ring)
    assert HashRing.from_dict(data) == ring


@pytest.mark.parametrize(
    "change",
    [
        {"layout": 2},
        {"layout": None},
        {"placement": "modulo"},
        {"hosts": "abc"},
        {"hosts": {"": 1}},
        {"hosts": {"a": 0}},
        {"vnodes": 0},
        {"vnodes": "512"},
        {"seed": -1},
        {"seed": 1 << 32},
    ],
)
def test_from_dict_refuses_other_data(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w{4}") as caught:
        HashRing.from_dict({**HashRing(["a"]).to_dict(), **change})
    assert type(caught.value).__module__ == "hashring.errors"


@pytest.mark.parametrize("missing", ["placement", "layout", "vnodes", "seed", "hosts"])
def test_from_dict_names_what_is_missing(missing: str) -> None:
    data = HashRing(["a"]).to_dict()
    del data[missing]
    with pytest.raises(ConfigError, match=missing):
        HashRing.from_dict(data)


def test_from_dict_refuses_other_shapes() -> None:
    others: list[Any] = [[], "ring", None]
    for data in others:
        with pytest.raises(ConfigError):
            HashRing.from_dict(data)


def test_what_makes_rings_different() -> None:
    ring = HashRing(["a", "b"])
    others = [
        HashRing(["a", "c"]),
        HashRing(["a"]),
        HashRing({"a": 1, "b": 2}),
        HashRing(["a", "b"], seed=1),
        HashRing(["a", "b"], vnodes=511),
    ]
    for other in others:
        assert ring != other
        assert ring.fingerprint != other.fingerprint
    assert ring != ["a", "b"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(ring)


def test_equal_vnode_counts_are_an_equal_fingerprint() -> None:
    # 512 * 1.0005 is 512 vnodes too, so each key has the same walk
    heavy, plain = HashRing({"a": 1.0005, "b": 1}), HashRing(["a", "b"])
    assert heavy.vnode_list() == plain.vnode_list()
    assert heavy.fingerprint == plain.fingerprint


def test_an_address_moves_no_key_and_weights_have_a_default() -> None:
    ring = HashRing([Host("a", 2, address="10.0.0.1:80"), Host("b", meta={"zone": 1})])
    assert state(ring) == state(HashRing({"a": 2, "b": 1}))
    ring.add(Host("c", 3))
    ring.add(Host("d", 3), 0.5)
    ring.add("e")
    ring.add(("f", 4))
    assert dict(ring.weights) == {"a": 2, "b": 1, "c": 3, "d": 0.5, "e": 1, "f": 4}
    assert "a" in ring
    assert Host("a") in ring
    assert "z" not in ring
    assert list(ring) == list(ring.hosts) == ["a", "b", "c", "d", "e", "f"]
    assert len(ring) == 6


class Named(StrEnum):
    """Names with another repr and str than their text, as numpy.str_ or an enum has."""

    A = "a"
    B = "b"

    def __repr__(self) -> str:
        return "something else"

    __str__ = __repr__


def test_a_name_is_its_text_whatever_its_repr() -> None:
    odd, plain = HashRing(list(Named)), HashRing(["a", "b"])
    assert odd.vnode_list() == plain.vnode_list()
    assert [odd.lookup(key) for key in KEYS] == [plain.lookup(key) for key in KEYS]
    assert odd == plain
    assert odd.lookup(Named.A) == plain.lookup("a")
    assert json.loads(json.dumps(odd.to_dict())) == plain.to_dict()
    assert odd.fingerprint == plain.fingerprint


SCRIPT = """
import hashlib, json
from hashring.ring import HashRing
# a set: its order is the process's own
names = {f"web{i}" for i in range(40)} | {"\\u00e9", chr(0xD83D)}
ring = HashRing(names, vnodes=32)
for name in names - {"web0", "web1"}:
    ring.set_weight(name, 1 + len(name) / 8)
for name in {"web3", "web4", "web5"}:
    ring.remove(name)
for name in {"web3", "new"}:
    ring.add(name)
told = [
    ring.to_dict(), ring.fingerprint, ring.vnode_list(), ring.shares(),
    [list(ring.walk(key)) for key in ("x", b"y", 3)],
    [(pair, part) for pair, part in ring.diff(HashRing(names, vnodes=32)).flows.items()],
    [ring.table.lookup(str(i), {"web7", "web8", "new"}) for i in range(300)],
    ring.table.without({"web7", "web8", "new"}).vnode_list(),
]
print(hashlib.sha256(json.dumps(told).encode()).hexdigest())
"""


def test_the_hash_seed_of_python_never_matters() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64
