"""Who owns a key?  Look-up, walk and without, held against a naive ring and against each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import InvalidKeyError, NoHostsError
from hashring.keys import Key
from hashring.ring import HashRing
from tests.ring.inputs import KEYS, SEEDS, VNODES, keys, memberships, rings
from tests.ring.naive import NaiveRing, encoded, stand


@given(memberships(), VNODES, SEEDS, st.lists(keys(), max_size=20))
def test_a_ring_answers_as_a_naive_ring(
    hosts: dict[str, float], vnodes: int, seed: int, some: list[Key]
) -> None:
    ring, naive = (
        HashRing(hosts, vnodes=vnodes, seed=seed),
        NaiveRing(hosts, vnodes=vnodes, seed=seed),
    )
    assert ring.vnode_list() == naive.vnodes
    for key in some:
        assert ring.position(key) == stand(encoded(key), seed)
        assert list(ring.walk(key)) == naive.walk(key)
    assert ring.lookup_many(some) == [naive.walk(key)[0] for key in some]
    assert [ring.lookup(key) for key in some] == ring.lookup_many(some)


@given(rings(), keys())
def test_walk_gives_each_host_once_and_the_owner_first(ring: HashRing, key: Key) -> None:
    walk = list(ring.walk(key))
    assert sorted(walk) == list(ring.hosts)
    assert walk[0] == ring.lookup(key) == next(ring.walk(key)) == ring.table.lookup(key)
    assert walk == list(ring.table.walk(key))


@given(rings(), keys(), st.integers(1, 20))
def test_lookup_n_is_the_start_of_the_walk(ring: HashRing, key: Key, n: int) -> None:
    found = ring.lookup_n(key, n)
    assert found == list(islice(ring.walk(key), n))
    assert len(found) == len(set(found)) == min(n, len(ring))
    assert ring.lookup_n(key, 1) == [ring.lookup(key)]


@given(rings(), keys(), st.data())
def test_without_is_the_first_of_the_walk_that_is_left(
    ring: HashRing, key: Key, data: st.DataObject
) -> None:
    down = data.draw(st.sets(st.sampled_from(ring.hosts)))
    table = ring.table
    left = [name for name in table.walk(key) if name not in down]
    less = table.without(down)
    assert list(less.walk(key)) == left
    assert less.lookup(key) == table.lookup(key, unavailable=down) == (left[0] if left else None)
    assert less.hosts == tuple(sorted(left))
    rest = {name: weight for name, weight in ring.weights.items() if name not in down}
    assert less.fingerprint == HashRing(rest, vnodes=ring.vnodes, seed=ring.seed).fingerprint
    assert next(table.walk(key)) == ring.lookup(key), "the table itself is as it was"


def test_without_and_unavailable_take_any_iterable() -> None:
    table = HashRing(["a", "b", "c"]).table
    for key in KEYS:
        owner, second, third = table.walk(key)
        assert table.lookup(key, unavailable=["nobody"]) == owner
        assert table.lookup(key, unavailable=iter([owner])) == second
        assert table.lookup(key, unavailable={owner: 1, second: 1}) == third
        assert table.lookup(key, unavailable=(owner, second, third)) is None
        assert table.without(iter([owner])).lookup(key) == second
        assert table.without([]).lookup(key) == owner
        assert table.without([owner]).without([second]).lookup(key) == third


@pytest.mark.parametrize("leavers", [["a", "b"], ["b", "a"], ["c", "a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("back", ["a", "b", "c"])
def test_a_host_that_came_back_can_go_down(leavers: list[str], back: str) -> None:
    # what a name left behind when it went must not be taken for the host that came back under it
    ring = HashRing(["a", "b", "c", "stays"], vnodes=8)
    for name in leavers:
        ring.remove(name)
    if back not in ring:
        ring.add(back)
    ring._check()
    less = ring.table.without([back])
    assert back not in less.hosts
    assert back not in {less.lookup(key) for key in KEYS}
    assert back not in {name for _, name in less.vnode_list()}
    assert {less.lookup(key) for key in KEYS} == {ring.table.lookup(k, [back]) for k in KEYS}


@given(st.text(st.characters(), max_size=12), rings())
def test_a_str_and_its_bytes_are_one_key(text: str, ring: HashRing) -> None:
    same = (text, text.encode("utf-8", "surrogatepass"), type("Text", (str,), {})(text))
    assert len({ring.position(key) for key in same}) == 1
    assert len({tuple(ring.walk(key)) for key in same}) == 1


def test_a_walk_ends_on_the_ring_it_began_on() -> None:
    ring = HashRing(["a", "b", "c", "d"])
    wanted, walk = list(ring.walk("x")), ring.walk("x")
    begun = [next(walk)]
    ring.set_hosts(["e", "f"])
    assert begun + list(walk) == wanted


def test_the_empty_key_is_legal() -> None:
    ring = HashRing(["a", "b", "c"])
    assert ring.lookup("") == ring.lookup(b"")
    assert ring.position("") == 0  # murmur3 of nothing, with seed 0


def test_the_one_host_has_everything() -> None:
    ring = HashRing(["only"], vnodes=1)
    assert set(ring.lookup_many(KEYS)) == {"only"}
    assert ring.lookup_n("x", 5) == list(ring.walk("x")) == ["only"]
    assert ring.shares() == {"only": 1.0}
    assert ring.table.without(["only"]).lookup("x") is None
    assert list(ring.table.without(["only"]).walk("x")) == []


def test_an_empty_ring_names_what_to_do() -> None:
    ring = HashRing()
    for ask in (
        lambda: ring.lookup("x"),
        lambda: ring.lookup(7),
        lambda: ring.lookup("\ud83d"),
        lambda: ring.lookup_n("x", 2),
        lambda: ring.lookup_many(["x"]),
    ):
        with pytest.raises(NoHostsError, match="add a host"):
            ask()
    assert ring.lookup_many([]) == []
    assert list(ring.walk("x")) == []
    assert ring.table.lookup("x") is None
    assert (len(ring), ring.hosts, ring.vnode_list(), list(ring)) == (0, (), [], [])


def test_a_ring_that_was_emptied_is_an_empty_ring() -> None:
    ring = HashRing(["a"])
    ring.remove("a")
    assert ring == HashRing()
    assert ring.fingerprint == HashRing().fingerprint
    with pytest.raises(NoHostsError):
        ring.lookup("x")


@pytest.mark.parametrize("n", [0, -1])
def test_lookup_n_below_one_is_refused(n: int) -> None:
    for ring in (HashRing(["a"]), HashRing()):
        with pytest.raises(ValueError, match="at least 1"):
            ring.lookup_n("x", n)


@pytest.mark.parametrize("hosts", [[], ["a", "b"]])
@pytest.mark.parametrize("key", [True, None, 1.5, bytearray(b"x"), ["x"], object(), 1 << 64])
def test_a_bad_key_is_refused_by_every_question(hosts: list[str], key: Key) -> None:
    ring = HashRing(hosts)
    for ask in (
        lambda: ring.lookup(key),
        lambda: ring.lookup_n(key, 1),
        lambda: ring.lookup_many([key]),
        lambda: next(ring.walk(key)),
        lambda: ring.position(key),
        lambda: ring.table.lookup(key),
        lambda: ring.table.lookup(key, unavailable=["a"]),
    ):
        with pytest.raises(InvalidKeyError):
            ask()


def test_what_the_caller_raises_while_giving_keys_is_the_callers() -> None:
    def broken() -> Iterator[str]:
        yield "x"
        raise IndexError("of the caller's own")

    with pytest.raises(IndexError, match="own") as caught:
        HashRing(["a"]).lookup_many(broken())
    assert not isinstance(caught.value, NoHostsError)
