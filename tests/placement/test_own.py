"""Do our own placements, ring and modulo, keep the laws of a table?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import placement
from hashring.errors import ConfigError, DuplicateHostError, InvalidKeyError, InvalidWeightError
from hashring.hosts import Host, as_hosts
from hashring.keys import Key, position
from hashring.placement import ring as native
from hashring.ring import HashRing
from tests.ring.inputs import KEYS, SEEDS, VNODES, keys, memberships

OWN = ("modulo", "ring")
SMALL: dict[str, dict[str, int]] = {
    "modulo": {},
    "ring": {"vnodes": 16},
}  # options that keep the builds short
own = pytest.mark.parametrize("name", OWN)


@own
@given(hosts=memberships(), key=keys(), data=st.data())
def test_the_laws_of_a_table(
    name: str, hosts: dict[str, float], key: Key, data: st.DataObject
) -> None:
    table = placement.create(name, hosts, **SMALL[name])
    walk = list(table.walk(key))
    assert sorted(walk) == sorted(table.hosts) == sorted(hosts)
    assert table.lookup(key) == walk[0] == next(table.walk(key))
    down = data.draw(st.sets(st.sampled_from(sorted(hosts))))
    less = table.without(down)
    found = table.lookup(key, unavailable=down)
    assert found == less.lookup(key)
    assert found not in down
    assert (found is None) == (down == set(hosts))
    assert set(less.hosts) == set(hosts) - down
    left = {n: hosts[n] for n in less.hosts}
    assert less.fingerprint == placement.create(name, left, **SMALL[name]).fingerprint
    assert list(table.walk(key)) == walk, "a table never changes"


@own
@given(hosts=memberships(), data=st.data())
def test_order_never_matters(name: str, hosts: dict[str, float], data: st.DataObject) -> None:
    assert "order_free" in placement.module(name).GUARANTEES
    shuffled = data.draw(st.permutations(list(hosts.items())))
    one, two = (placement.create(name, given, **SMALL[name]) for given in (hosts, shuffled))
    assert one.fingerprint == two.fingerprint
    assert [list(one.walk(key)) for key in KEYS[:9]] == [list(two.walk(key)) for key in KEYS[:9]]


@given(memberships(), VNODES, SEEDS)
def test_the_native_placement_is_the_ring(hosts: dict[str, float], vnodes: int, seed: int) -> None:
    ring = HashRing(hosts, vnodes=vnodes, seed=seed)
    for table in (
        placement.create("ring", hosts, vnodes=vnodes, seed=seed),
        placement.recipe("ring", vnodes=vnodes, seed=seed)(as_hosts(hosts)),
        native.build(as_hosts(hosts), vnodes=vnodes, seed=seed),
    ):
        assert table.fingerprint == ring.fingerprint
        assert [list(table.walk(key)) for key in KEYS] == [list(ring.walk(key)) for key in KEYS]


@given(st.lists(memberships(least=0), min_size=1, max_size=5))
def test_a_recipe_that_patches_gives_what_a_new_one_gives(states: list[dict[str, float]]) -> None:
    grow = placement.recipe("ring", vnodes=8)
    tables = [grow(as_hosts(hosts)) for hosts in states]
    for table, hosts in zip(tables, states, strict=True):  # the first ones must not have changed
        fresh = placement.recipe("ring", vnodes=8)(as_hosts(hosts))
        assert table.fingerprint == fresh.fingerprint
        assert [table.lookup(key) for key in KEYS] == [fresh.lookup(key) for key in KEYS]


@given(memberships(), st.lists(keys(), min_size=1, max_size=9))
def test_modulo_is_the_position_modulo_the_sorted_hosts(
    hosts: dict[str, float], some: list[Key]
) -> None:
    table, names = placement.create("modulo", hosts), sorted(hosts)
    assert [table.lookup(key) for key in some] == [
        names[position(key) % len(names)] for key in some
    ]


@own
def test_a_table_without_hosts_answers_none(name: str) -> None:
    empty = placement.create(name, [])
    assert empty.lookup("x") is None
    assert list(empty.walk("x")) == []
    assert empty.hosts == ()
    gone = placement.create(name, ["a", "b"]).without(["a", "b"])
    assert gone.lookup("x") is None
    assert gone.fingerprint == empty.fingerprint


@own
def test_strangers_among_the_unavailable_are_ignored(name: str) -> None:
    table = placement.create(name, ["a", "b", "c"])
    for key in KEYS:
        owner = table.lookup(key)
        assert table.lookup(key, unavailable=["nobody"]) == owner
        assert table.without(["nobody"]).lookup(key) == owner
        assert table.lookup(key, unavailable=iter([owner or ""])) != owner


@pytest.mark.parametrize("name", placement.names())
def test_a_host_among_the_unavailable_counts_as_its_name(name: str) -> None:
    hosts = [Host(f"10.0.0.{n}:80", id=n) for n in (1, 2, 3)]
    table = placement.create(name, hosts)
    for gone in hosts:
        assert gone.name not in table.without([gone]).hosts  # type: ignore[list-item]
        for key in ("10.1.2.3", "10.9.8.7"):
            answer = table.lookup(key, unavailable=[gone])  # type: ignore[list-item]
            assert answer == table.lookup(key, unavailable=[gone.name]) != gone.name


@pytest.mark.parametrize("name", placement.names())
@pytest.mark.parametrize("bare", ["a", b"a", Host("a")])
def test_a_bare_name_is_not_several(name: str, bare: Any) -> None:
    table = placement.create(name, ["a", "b", "c"])
    with pytest.raises(ConfigError, match="did you mean"):
        table.without(bare)
    with pytest.raises(ConfigError, match="did you mean"):
        table.lookup("10.1.2.3", unavailable=bare)


@own
@pytest.mark.parametrize("key", [True, None, 1.5, object()])
def test_a_bad_key_is_refused(name: str, key: Any) -> None:
    with pytest.raises(InvalidKeyError):
        placement.create(name, ["a", "b"]).lookup(key)


@own
@pytest.mark.parametrize(
    ("hosts", "error"),
    [
        ("abc", ConfigError),
        (b"abc", ConfigError),
        (["a", "a"], DuplicateHostError),
        ({"a": 0}, InvalidWeightError),
        ([""], ConfigError),
        ([None], ConfigError),
    ],
)
def test_bad_hosts_are_refused(name: str, hosts: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        placement.create(name, hosts)


@own
def test_names_that_are_more_than_their_text(name: str) -> None:
    plain = placement.create(name, ["a", "b"])
    hosts = placement.create(name, [Host("b", address="10.0.0.2"), Host("a", meta={"k": 1})])
    assert hosts.fingerprint == plain.fingerprint
    odd = type("Odd", (str,), {"__repr__": lambda _: "odd"})
    assert placement.create(name, [odd("a"), odd("b")]).fingerprint == plain.fingerprint


def test_the_placements_are_the_files() -> None:
    known = placement.names()
    assert known == sorted(set(known))
    assert set(OWN) <= set(known)
    for name in known:
        assert not name.startswith(("_", "-"))
        assert callable(placement.module(name).build)


@pytest.mark.parametrize("name", ["nonsense", "", "_base", "-base", "Ring", None, 7])
def test_an_unknown_placement_lists_the_known_ones(name: Any) -> None:
    for ask in (placement.module, placement.options, placement.recipe):
        with pytest.raises(ConfigError, match=r"modulo.*ring|did you mean 'ring'") as caught:
            ask(name)
        assert caught.value.option == "placement"


def test_an_unknown_option_lists_the_known_ones() -> None:
    assert dict(placement.options("ring")) == {"vnodes": 512, "seed": 0}
    assert dict(placement.options("modulo")) == {}
    with pytest.raises(ConfigError, match="vnodes=512, seed=0") as caught:
        placement.create("ring", ["a"], vnode=4)
    assert caught.value.option == "vnode"
    with pytest.raises(ConfigError, match="none"):
        placement.recipe("modulo", seed=1)


@pytest.mark.parametrize("option", [{"vnodes": 0}, {"seed": -1}])
def test_a_bad_option_is_refused_when_the_recipe_is_made(option: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))):
        placement.recipe("ring", **option)


@own
def test_the_file_states_what_it_promises_and_costs(name: str) -> None:
    module = placement.module(name)
    assert {
        "minimal_move", "monotone_weight", "order_free", "stable_under_down", "weighted",
    } >= module.GUARANTEES  # fmt: skip
    assert module.SOURCE
    assert "O(" in module.COST
    assert isinstance(module.EXPORTS, tuple)
