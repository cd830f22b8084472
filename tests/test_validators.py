"""Validators of options, and options that are declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from hashring import validators as v
from hashring.errors import ConfigError

NUMBERS = [v.SECONDS, v.SECONDS_OR_ZERO, v.NUMBER, v.ABOVE_0, v.ABOVE_1, v.FRACTION]
INTS = [v.COUNT, v.WHOLE, v.PORT, v.SEED, v.int_between(0, 3)]


@pytest.mark.parametrize("check", [*NUMBERS, *INTS], ids=repr)
@pytest.mark.parametrize("value", [True, False, "1", None, math.nan, math.inf, -1, []])
def test_a_number_is_never_a_bool_text_or_out_of_range(
    check: v.Validator[Any], value: object
) -> None:
    with pytest.raises(ConfigError, match=r"^speed must be .*, got ") as caught:
        check(value, "speed")
    assert caught.value.option == "speed"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (v.SECONDS, 5, 5.0),
        (v.SECONDS_OR_ZERO, 0, 0.0),
        (v.FRACTION, 1, 1.0),
        (v.ABOVE_1, 1.25, 1.25),
        (v.COUNT, 1, 1),
        (v.PORT, 65535, 65535),
        (v.FLAG, False, False),
        (v.TEXTS, ["a", "b"], ("a", "b")),
        (v.LISTEN_ADDRESS, "[::1]:0", "[::1]:0"),
        (v.LOOPBACK_ADDRESS, "localhost:9090", "localhost:9090"),
        (v.choice("a", "b"), "b", "b"),
    ],
)
def test_a_valid_value_is_returned_as_it_is_used(
    check: v.Validator[Any], value: object, result: object
) -> None:
    assert check(value) == result
    assert type(check(value)) is type(result)


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (v.SECONDS, 2e9, "must be seconds above 0, got 2000000000.0: the maximum is 1e+09"),
        (v.choice(True, "auto"), 1, 'must be true or "auto", got 1'),
        (v.choice("text", "json"), "jsno", "did you mean 'json'?"),
        (v.TEXTS, "a", "must be a list of texts, got 'a': did you mean ['a']?"),
        (v.ADDRESS, "web1:0", "must be ADDRESS:PORT, such as '127.0.0.1:8080', got 'web1:0'"),
        (v.LOOPBACK_ADDRESS, "10.0.0.1:80", "without a token, only this machine may reach it"),
        (v.TEXT, "a\x1bb", "must be a text, got 'a\\x1bb'"),
    ],
)
def test_the_message_has_the_shape_the_value_and_a_hint(
    check: v.Validator[Any], value: object, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(value)
    assert words in str(caught.value)


@pytest.mark.parametrize("check", [*NUMBERS, v.PORT], ids=repr)
def test_a_huge_int_is_refused_in_a_short_message(check: v.Validator[Any]) -> None:
    with pytest.raises(ConfigError, match="got <int>"):
        check(10**5000)


def test_the_off_value_returns_none_and_keeps_hints() -> None:
    check = v.optional(v.LOOPBACK_ADDRESS, "")
    assert (check(""), check(None), check.off) == (None, None, "")
    with pytest.raises(ConfigError, match="without a token, only this machine may reach it"):
        check("10.0.0.1:80")
    with pytest.raises(ConfigError, match="or 0 for no limit, got False"):
        v.optional(v.SECONDS, 0, "no limit")(False)


@dataclass(frozen=True, slots=True)
class Declared:
    """Options of a test."""

    size: int = v.option(3, check=v.COUNT, help="Number of things.")
    wait: float | None = v.option(None, check=v.optional(v.SECONDS, 0), help="Seconds. 0 is none.")
    other: str = "not an option"

    def __post_init__(self) -> None:
        v.check_options(self)


@dataclass
class Settings:
    """Options of another class, under their names."""

    size: int = v.inherit_option(Declared, "size")
    wait: float | None = 7.0


def test_an_option_is_declared_once_and_checked() -> None:
    assert [each.name for each in v.options_of(Declared)] == ["size", "wait"]
    assert Declared(wait=2).wait == 2.0
    assert Declared(wait=0).wait is None
    with pytest.raises(ConfigError, match="size must be an int of at least 1, got 0") as caught:
        Declared(size=0)
    assert caught.value.option == "size"


def test_an_inherited_option_has_the_same_default_and_validator() -> None:
    (inherited,) = v.options_of(Settings)
    assert inherited == next(v.options_of(Declared))
    assert v.inherit_options(Declared, Settings(size=9)) == Declared(9, 7.0)
    with pytest.raises(AttributeError, match="declares no option 'other'"):
        v.inherit_option(Declared, "other")
