"""What is a host?  Its name is its identity; all else may differ."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, asdict, dataclass
from typing import Any, ClassVar

import pytest

from hashring.errors import ConfigError, DuplicateHostError, InvalidWeightError
from hashring.hosts import Host, as_host, as_hosts, as_weight

FULL = Host("web1", 2, address="10.0.0.1:80", id=7, guid="abc", meta={"zone": "a"})
BAD_WEIGHTS = [
    0,
    -1,
    0.0,
    -0.0,
    float("nan"),
    float("inf"),
    -float("inf"),
    "2",
    b"2",
    True,
    None,
    [],
    10**400,
]


def fields(host: Host) -> tuple[Any, ...]:
    return host.name, host.weight, host.address, host.id, host.guid, dict(host.meta)


def test_what_a_host_is_when_only_its_name_is_given() -> None:
    assert fields(Host("web1")) == ("web1", 1.0, "web1", None, None, {})
    assert fields(FULL) == ("web1", 2.0, "10.0.0.1:80", 7, "abc", {"zone": "a"})
    assert isinstance(FULL.weight, float)


def test_the_name_is_the_identity() -> None:
    assert Host("a", 2, address="x") == Host("a")
    assert hash(Host("a", 2, address="x")) == hash(Host("a"))
    assert Host("a") != Host("b")
    assert len({Host("a"), Host("a", 3), Host("b")}) == 2
    assert Host("a") != "a", "a host is no str: two kinds of keys in one dict would hide mistakes"
    assert str(Host("a", 2, address="x")) == f"{Host('a')}" == "a"


def test_same_looks_at_every_field() -> None:
    others: list[dict[str, Any]] = [
        {"weight": 3},
        {"address": "x"},
        {"id": 8},
        {"guid": "x"},
        {"meta": {"zone": "b"}},
    ]
    mine: dict[str, Any] = {
        "weight": 2,
        "address": "10.0.0.1:80",
        "id": 7,
        "guid": "abc",
        "meta": {"zone": "a"},
    }
    assert FULL.same(Host("web1", **mine))
    for other in others:
        assert Host("web1", **{**mine, **other}) == FULL
        assert not FULL.same(Host("web1", **{**mine, **other}))
    assert not FULL.same(Host("web2", **mine))


def test_a_host_is_frozen() -> None:
    for name in ("name", "weight", "address", "id", "guid", "meta"):
        with pytest.raises(FrozenInstanceError):
            setattr(FULL, name, None)
    with pytest.raises(TypeError):
        FULL.meta["zone"] = "b"  # type: ignore[index]  # this is what is refused
    given = {"zone": "a"}
    host = Host("a", meta=given)
    given["zone"] = "b"
    assert host.meta == {"zone": "a"}


def test_all_but_name_and_weight_are_given_by_keyword() -> None:
    with pytest.raises(TypeError):
        Host("a", 1, "10.0.0.1")  # type: ignore[call-arg]  # this is what is refused


@pytest.mark.parametrize("host", [FULL, Host("a"), Host("\ud83d")], ids=repr)
def test_a_host_travels(host: Host) -> None:
    twins: list[Any] = [pickle.loads(pickle.dumps(host)), copy.copy(host), copy.deepcopy(host)]
    for twin in twins:
        assert twin.same(host)
        with pytest.raises(TypeError):
            twin.meta["x"] = 1


def test_the_repr_makes_the_host_again() -> None:
    for host in (FULL, Host("a"), Host("it's", 0.5)):
        assert eval(repr(host)).same(host)


def test_another_weight_leaves_the_rest() -> None:
    assert fields(FULL.with_weight(0.5)) == ("web1", 0.5, "10.0.0.1:80", 7, "abc", {"zone": "a"})
    assert FULL.weight == 2
    with pytest.raises(InvalidWeightError):
        FULL.with_weight(0)


@pytest.mark.parametrize("name", ["", None, 7, b"a", True, 1.5, ["a"], object()])
def test_a_name_is_a_non_empty_str(name: Any) -> None:
    ways: list[Callable[[], object]] = [
        lambda: Host(name),
        lambda: as_host((name, 1)),
        lambda: as_host({"name": name}),
        lambda: as_hosts([name]),
    ]
    for way in ways:
        with pytest.raises(ConfigError):
            way()


@pytest.mark.parametrize("weight", BAD_WEIGHTS, ids=lambda weight: repr(weight)[:9])
def test_a_weight_is_finite_and_above_zero(weight: Any) -> None:
    ways: list[Callable[[], object]] = [
        lambda: Host("web1", weight),
        lambda: as_host(("web1", weight)),
        lambda: as_hosts({"web1": weight}),
        lambda: as_weight(weight, "web1"),
    ]
    for way in ways:
        with pytest.raises(InvalidWeightError, match=r"'web1'.*above 0") as caught:
            way()
        assert caught.value.host == "web1"
        assert caught.value.weight is weight


@pytest.mark.parametrize(
    "option", [{"address": ""}, {"address": 80}, {"id": "7"}, {"id": True}, {"guid": 7}]
)
def test_the_other_fields_are_checked(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(option))) as caught:
        Host("web1", **option)
    assert caught.value.option == next(iter(option))


def test_every_shape_of_hosts_is_understood_and_keeps_its_order() -> None:
    wanted = [("b", 2.0), ("a", 1.0)]
    shapes: list[Any] = [
        [("b", 2), "a"],
        (["b", 2], Host("a")),
        {"b": 2, "a": 1},
        {"b": 2, "a": 1}.items(),
        iter([Host("b", 2), "a"]),
        (pair for pair in [("b", 2), ("a", 1)]),
        [{"name": "b", "weight": 2}, {"name": "a"}],
        as_hosts([("b", 2), "a"]),
    ]
    for shape in shapes:
        assert [(host.name, host.weight) for host in as_hosts(shape)] == wanted
    assert {host.name for host in as_hosts({"a", "b"})} == {"a", "b"}
    assert as_hosts([]) == as_hosts({}) == ()


def test_a_given_host_is_kept_whole() -> None:
    (host,) = as_hosts([FULL])
    assert host is FULL
    (made,) = as_hosts([{"name": "web1", "weight": 2, "address": "x", "meta": {"k": 1}}])
    assert made.same(Host("web1", 2, address="x", meta={"k": 1}))


@pytest.mark.parametrize("bare", ["abc", b"abc", bytearray(b"abc"), "", Host("abc")])
def test_one_bare_host_is_not_a_list_of_hosts(bare: Any) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        as_hosts(bare)


def test_the_hint_for_a_bare_str_is_what_to_write() -> None:
    with pytest.raises(ConfigError) as caught:
        as_hosts("abc")
    caught.match(r"did you mean \['abc'\]\?")


@pytest.mark.parametrize(
    "hosts",
    [
        None,
        7,
        [None],
        [7],
        [("a", 1, 2)],
        [("a",)],
        [["a"]],
        [{"nam": "a"}],
        [{"name": "a", "port": 80}],
    ],
)
def test_what_is_not_a_host_is_refused(hosts: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        as_hosts(hosts)
    assert len(str(caught.value)) > 20


def test_an_unknown_field_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"port.*name, weight, address"):
        as_host({"name": "a", "port": 80})


@pytest.mark.parametrize("hosts", [["a", "b", "a"], [("a", 1), ("a", 2)], ["a", Host("a", 3)]])
def test_a_name_comes_once(hosts: Any) -> None:
    with pytest.raises(DuplicateHostError, match="'a'") as caught:
        as_hosts(hosts)
    assert caught.value.name == "a"


@dataclass(frozen=True, eq=False)
class Zoned(Host):
    """A host with a field of its own."""

    zone: str = ""


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))]
)
def test_a_subclass_survives_copies(how: Callable[[Host], Host]) -> None:
    host = Zoned("a", 2, zone="eu", meta={"x": 1})
    twin = how(host)
    assert isinstance(twin, Zoned)
    assert twin.same(host)
    assert not twin.same(Zoned("a", 2, zone="us", meta={"x": 1}))
    assert not Host("a").same(Zoned("a"))
    assert host.with_weight(3).zone == "eu"  # type: ignore[attr-defined]  # a Zoned


def test_a_host_is_plain_data_for_asdict_and_json() -> None:
    data = asdict(FULL)
    assert json.loads(json.dumps(data)) == data
    assert Host(**data).same(FULL)


@pytest.mark.parametrize(
    "pair", [("10.0.0.1", 80), ("::1", 11211), ("localhost", 443), ("cache1", 11211)]
)
def test_an_address_with_its_port_is_not_a_weight(pair: tuple[str, int]) -> None:
    with pytest.raises(ConfigError, match="an address and its port, or a name and its weight"):
        as_host(pair)


@pytest.mark.parametrize(
    "pair", [("web1", 2), ("cache1", 11211.0), ("10.0.0.1:80", 2048), ("web1", 70_000)]
)
def test_a_name_with_a_weight_stays_one(pair: tuple[str, float]) -> None:
    assert (as_host(pair).name, as_host(pair).weight) == pair


def test_weight_0_names_the_drain() -> None:
    with pytest.raises(InvalidWeightError, match="drain it"):
        Host("a", 0)


class Array:
    """Compares by element, as arrays do."""

    def __eq__(self, other: object) -> Any:
        return Ambiguous()

    __hash__ = None  # type: ignore[assignment]  # as arrays


class Ambiguous:
    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


@pytest.mark.parametrize(
    "meta", [{"vector": Array()}, 7, "zone", [1]], ids=["array", "int", "str", "list"]
)
def test_meta_that_cannot_be_compared_is_refused(meta: Any) -> None:
    with pytest.raises(ConfigError, match="meta") as caught:
        Host("a", meta=meta)
    assert caught.value.option == "meta"


def test_an_object_with_weights_gives_its_hosts_with_them() -> None:
    class Pool:
        weights: ClassVar[dict[str, float]] = {"a": 1.0, "b": 5.0}

        def __iter__(self) -> Iterator[str]:
            return iter(self.weights)

    assert [host.weight for host in as_hosts(Pool())] == [1.0, 5.0]
