"""The shard director against its own look-up loop written out, quirks included."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashring.errors import ConfigError
from hashring.placement import create

KEYS = [f"user:{number}" for number in range(60)] + ["", "clé"]


def number_of(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[-4:], "little")


def shard_lookup(points: list[tuple[int, str]], key: int) -> int:
    """The loop of vmod_directors_shard_dir.c, line by line."""
    high, low, last = len(points), 0, len(points) - 1
    while True:
        i = (high + low) // 2
        if points[i][0] == key:
            return i
        if i == last:
            return last
        if points[i][0] < key <= points[i + 1][0]:
            return i + 1
        if points[i][0] > key:
            if i == 0:
                return 0
            high = i
        else:
            low = i


def circle(weights: dict[str, float], replicas: int) -> list[tuple[int, str]]:
    return sorted(
        (number_of(f"{name}{j}"), name)
        for name, weight in weights.items()
        for j in range(int(replicas * weight))
    )


@settings(max_examples=150, deadline=None)
@given(
    weights=st.dictionaries(
        st.sampled_from(["b1", "b2", "web", "größe", "x"]), st.floats(1, 4), min_size=1
    ),
    replicas=st.integers(1, 9),
    data=st.data(),
)
def test_the_table_does_what_the_loop_does(
    weights: dict[str, float], replicas: int, data: st.DataObject
) -> None:
    sick = data.draw(st.sets(st.sampled_from(sorted(weights))))
    table = create("varnish-shard", weights, replicas=replicas)
    points = circle(weights, replicas)
    for key in KEYS:
        start = shard_lookup(points, number_of(key))
        order = list(dict.fromkeys(name for _, name in points[start:] + points[:start]))
        assert table.lookup(key) == order[0]
        assert list(table.walk(key)) == order
        well = [name for name in order if name not in sick]
        assert table.lookup(key, unavailable=sick) == next(iter(well), None)
        assert list(table.without(sick).walk(key)) == well


def test_a_key_above_the_highest_point_does_not_wrap() -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 1.0}
    points = circle(weights, 3)
    table = create("varnish-shard", weights, replicas=3)
    beyond = [key for key in map(str, range(2000)) if number_of(key) > points[-1][0]]
    assert beyond
    assert points[0][1] != points[-1][1]
    assert {table.lookup(key) for key in beyond} == {points[-1][1]}


def test_of_two_points_the_second_takes_every_key() -> None:
    table = create("varnish-shard", ["a", "b"], replicas=1)
    last = circle({"a": 1, "b": 1}, 1)[1][1]
    assert {table.lookup(key) for key in KEYS} == {last}


def test_a_fraction_of_a_weight_is_a_fraction_of_the_points() -> None:
    one, two = create("varnish-shard", {"a": 1.5}), create("varnish-shard", {"a": 1.505})
    assert one.fingerprint == two.fingerprint  # 100 points each
    assert create("varnish-shard", {"a": 1.52}).fingerprint != one.fingerprint


@pytest.mark.parametrize("replicas", [0, -1, 1.5, True, "67", 1 << 21])
def test_replicas_is_a_count(replicas: object) -> None:
    with pytest.raises(ConfigError, match="replicas must be an int from 1 to 1048576"):
        create("varnish-shard", ["a"], replicas=replicas)


def test_weights_that_varnish_would_refuse_name_their_host() -> None:
    with pytest.raises(ConfigError, match="host 'b': a weight of Varnish's shard director is at"):
        create("varnish-shard", {"a": 1, "b": 0.99})
    with pytest.raises(ConfigError, match="host 'b': 1048600 points are more than 1048576"):
        create("varnish-shard", {"a": 1, "b": 10486}, replicas=100)


@pytest.mark.parametrize("weight", [1e6, 1e308])
def test_a_weight_of_too_many_points_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="more than 1048576"):
        create("varnish-shard", {"a": weight, "b": 1})
