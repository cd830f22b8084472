"""Does a secret place the keys, and does nothing give it away?"""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import Host, LoadBalancer, NoHostsError
from hashring.errors import ConfigError, HashringError
from hashring.keys import Key, KeyedHash
from hashring.placement import create, recipe
from hashring.ring import HashRing, RingTable
from tests.ring.inputs import KEYS, keys, memberships
from tests.ring.naive import NaiveRing, encoded

SECRET = b"\x00 a secret with \xff every kind of byte"
OTHER = b"another secret, as long as it must be"


def stand(data: bytes, secret: bytes, seed: int) -> int:
    """Where a key stands, written out from the recipe alone."""
    digest = blake2b(
        data, digest_size=4, key=secret, salt=seed.to_bytes(16, "little"), person=b"hashring key 1"
    )
    return int(digest.hexdigest(), 16)


def test_the_recipe_is_frozen() -> None:
    ring = HashRing(key_secret=bytes(range(32)), seed=7)
    known: dict[Key, int] = {
        "": 3682741299,
        "session-42": 3730805013,
        b"\xff": 1448569850,
        42: 872829236,
        "é": 3784531567,
    }
    assert {key: ring.position(key) for key in known} == known


@given(memberships(), st.binary(min_size=16, max_size=64), st.lists(keys(), max_size=20))
def test_a_keyed_ring_is_the_public_ring_entered_elsewhere(
    weights: dict[str, float], secret: bytes, asked: list[Key]
) -> None:
    ring = HashRing(weights, vnodes=8, seed=3, key_secret=secret)
    public = HashRing(weights, vnodes=8, seed=3)
    naive = NaiveRing(weights, vnodes=8, seed=3)
    assert ring.vnode_list() == public.vnode_list()
    assert ring.shares() == public.shares()
    for key in (*asked, "x", b"x", 7, UUID(int=7), "\ud83d", ""):
        position = stand(encoded(key), secret, 3)
        walk = naive.walk_from(position)
        assert ring.position(key) == ring.table.position(key) == position
        assert list(ring.walk(key)) == walk
        assert ring.lookup(key) == ring.table.lookup(key) == walk[0]
        assert ring.lookup_n(key, 2) == walk[:2]
        assert ring.lookup_many([key]) == walk[:1]
        assert ring.table.lookup(key, walk[:1]) == ring.table.without(walk[:1]).lookup(key)


def test_it_stays_keyed_through_every_change() -> None:
    ring = HashRing(["a"], key_secret=SECRET, vnodes=16)
    ring.add("b")
    ring.set_weight("b", 3)
    ring.set_hosts({"b": 2, "c": 1, "d": 1})
    ring.remove("d")
    ring._check()
    built = HashRing({"b": 2, "c": 1}, key_secret=SECRET, vnodes=16)
    for other in (ring, ring.copy(), HashRing.from_dict(ring.to_dict(), key_secret=SECRET)):
        assert other == built
        assert other.fingerprint == built.fingerprint
        assert other.lookup_many(KEYS) == built.lookup_many(KEYS)
    down = ring.table.without(["b"])
    assert isinstance(down, RingTable)
    assert down.key_check == ring.table.key_check
    assert down.public_index is None


def test_an_empty_keyed_ring() -> None:
    ring = HashRing(key_secret=SECRET)
    assert ring.table.lookup("x") is None
    assert list(ring.walk("x")) == []
    with pytest.raises(NoHostsError):
        ring.lookup("x")
    assert HashRing.for_peak(1.05, hosts=20, key_secret=SECRET).vnodes == 1427


def test_growth_moves_the_added_hosts_share_and_nothing_else() -> None:
    before = HashRing(["a", "b", "c"], key_secret=SECRET)
    after = before.copy()
    after.add("d")
    diff = before.diff(after)
    assert diff.moved == after.shares()["d"]
    assert {to for _, to in diff.flows} == {"d"}
    for key in KEYS:
        assert after.lookup(key) in (before.lookup(key), "d")


def test_crafted_ids_spread() -> None:
    hosts = [f"web{number}" for number in range(1, 11)]
    public = HashRing(hosts)
    crafted = [key for key in map(str, range(120_000)) if public.lookup(key) == "web7"][:10_000]
    assert len(crafted) == 10_000
    loads = Counter(HashRing(hosts, key_secret=SECRET).lookup_many(crafted))
    assert len(loads) == 10
    assert max(loads.values()) <= 1.3 * 1_000


# -- a balancer takes the secret along -------------------------------------------------------------


@pytest.mark.parametrize(
    "placement",
    [HashRing(vnodes=64, key_secret=SECRET), recipe("ring", vnodes=64, key_secret=SECRET)],
)
def test_a_balancer_places_by_the_secret(placement: Any) -> None:
    ring = HashRing(["a", "b", "c"], vnodes=64, key_secret=SECRET)
    lb = LoadBalancer(["a", "b", "c"], placement=placement)
    public = HashRing(["a", "b", "c"], vnodes=64)
    assert any(ring.lookup(key) != public.lookup(key) for key in KEYS)
    for key in KEYS:
        assert lb.pick(key).name == ring.lookup(key)
        with lb.lease(key) as lease:
            assert lease.host.name == ring.lookup(key)
        told = lb.explain(key)
        assert (told.position, told.owner) == (ring.position(key), Host(ring.lookup(key)))
    lb.mark_down("a", "test")
    for key in KEYS:
        assert lb.pick(key).name == ring.table.without(["a"]).lookup(key)
    assert lb.plan(add=["d"]).exact
    assert lb.fingerprint.startswith(ring.fingerprint)


def test_a_table_by_name() -> None:
    table = create("ring", ["a", "b", "c"], key_secret=SECRET)
    assert table.fingerprint == HashRing(["a", "b", "c"], key_secret=SECRET).fingerprint


# -- nothing gives it away -------------------------------------------------------------------------


def test_fingerprints_tell_secrets_apart() -> None:
    rings = [HashRing(["a", "b"], key_secret=secret) for secret in (None, SECRET, OTHER)]
    assert len({ring.fingerprint for ring in rings}) == 3
    assert len({ring.table.key_check for ring in rings}) == 3
    for ring in rings:
        assert [ring == other for other in rings].count(True) == 1


@pytest.mark.parametrize(("one", "two"), [(SECRET, OTHER), (SECRET, None), (None, SECRET)])
def test_rings_of_different_secrets_are_not_compared(one: bytes, two: bytes) -> None:
    left, right = HashRing(["a"], key_secret=one), HashRing(["a"], key_secret=two)
    with pytest.raises(ConfigError, match="different secrets"):
        left.diff(right)
    with pytest.raises(ConfigError, match="different secrets"):
        left.table.diff(right.table)


@pytest.mark.parametrize(
    ("made", "given", "why"),
    [
        (SECRET, OTHER, "another secret"),
        (SECRET, None, "give it as key_secret"),
        (None, SECRET, "leave key_secret out"),
    ],
)
def test_from_dict_refuses_the_wrong_secret(
    made: bytes | None, given: bytes | None, why: str
) -> None:
    data = json.loads(json.dumps(HashRing(["a"], key_secret=made).to_dict()))
    with pytest.raises(ConfigError, match=why):
        HashRing.from_dict(data, key_secret=given)


def test_what_holds_a_secret_is_not_pickled() -> None:
    ring = HashRing(["a"], key_secret=SECRET)
    ways: list[Callable[[Any], Any]] = [pickle.dumps, copy.deepcopy]
    for what in (ring, ring.table, ring.table.without(["a"]), KeyedHash(SECRET, 0)):
        for way in ways:
            with pytest.raises(ConfigError, match="from_dict"):
                way(what)


SPELLINGS = (SECRET, SECRET.hex().encode(), repr(SECRET)[2:-1].encode(), b"a secret with")


def test_no_text_of_it_holds_the_secret() -> None:
    ring = HashRing(["a", "b"], key_secret=SECRET)
    lb = LoadBalancer(["a", "b"], placement=HashRing(key_secret=SECRET))
    told: list[object] = [
        ring,
        ring.table,
        KeyedHash(SECRET, 0),
        ring.to_dict(),
        ring.fingerprint,
        lb,
        lb.fingerprint,
        lb.snapshot,
        lb.explain("x"),
        lb.plan(add=["c"]),
    ]
    told += list(errors(ring))
    assert "keyed" in repr(ring)
    assert ring.to_dict()["key_check"] == ring.table.key_check
    for thing in told:
        for text in (repr(thing), str(thing)):
            data = text.encode("utf-8", "backslashreplace")
            assert not any(spelling in data for spelling in SPELLINGS), text


def errors(ring: HashRing) -> list[HashringError]:
    wrong: list[Callable[[], object]] = [
        lambda: HashRing(key_secret=SECRET + bytes(64)),
        lambda: HashRing(key_secret=SECRET[:15]),
        lambda: HashRing(key_secret=SECRET.decode("latin-1")),  # type: ignore[arg-type]  # that is what is wrong
        lambda: HashRing(key_secret=bytearray(SECRET)),  # type: ignore[arg-type]  # as above
        lambda: HashRing.from_dict(ring.to_dict(), key_secret=SECRET + b"."),
        lambda: ring.diff(HashRing(["a"])),
        lambda: pickle.dumps(ring),
        lambda: ring.add("a"),
        lambda: recipe("ring", key_secret=SECRET, other=1),
        lambda: LoadBalancer(placement=ring),
    ]
    found = []
    for act in wrong:
        with pytest.raises(HashringError) as caught:
            act()
        found.append(caught.value)
    return found


@pytest.mark.parametrize("secret", [b"", b"x" * 15, b"x" * 65, "x" * 32, 7, bytearray(32)])
def test_secrets_that_cannot_be(secret: Any) -> None:
    with pytest.raises(ConfigError, match="key_secret must") as caught:
        HashRing(key_secret=secret)
    assert caught.value.option == "key_secret"


@pytest.mark.parametrize("length", [16, 64])
def test_secrets_that_can(length: int) -> None:
    assert HashRing(["a"], key_secret=b"x" * length).lookup("x") == "a"


def test_a_column_of_keys_goes_where_each_key_goes() -> None:
    np = pytest.importorskip("numpy", reason="columns need the extra analysis")
    ring = HashRing(["a", "b", "c"], key_secret=SECRET)
    keys = [f"session-{number}" for number in range(500)]
    owners = [ring.hosts[code] for code in ring.assign(np.array(keys))]
    assert owners == ring.lookup_many(keys)
    assert owners != HashRing(["a", "b", "c"]).lookup_many(keys)
