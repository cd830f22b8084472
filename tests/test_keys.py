"""What is a key?  Text, bytes, whole numbers and UUIDs have one stable form; nothing else has."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.errors import ConfigError, InvalidKeyError
from hashring.keys import Key, check_seed, key_bytes, position, text_bytes

ROOT = Path(__file__).resolve().parents[1]
ANY_TEXT = st.text(st.characters())  # with lone surrogates


class Text(str):
    """A str of one's own, with everything overridden that might be asked for the text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"

    __repr__ = __str__

    def encode(self, *_: object) -> bytes:
        return b"other bytes"


class Blob(bytes):
    """Bytes of one's own."""

    def __repr__(self) -> str:
        return "other bytes"


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


@given(ANY_TEXT)
def test_a_str_is_its_utf8(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert text_bytes(text) == key_bytes(text) == key_bytes(data) == data
    assert key_bytes(Text(text)) == key_bytes(Blob(data)) == data
    assert type(key_bytes(Blob(data))) is bytes


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_an_int_is_its_decimal_text(number: int) -> None:
    assert key_bytes(number) == str(number).encode() == key_bytes(str(number))


@given(st.uuids())
def test_a_uuid_is_its_text(uuid: UUID) -> None:
    assert key_bytes(uuid) == str(uuid).encode() == key_bytes(str(uuid))
    assert key_bytes(uuid) == key_bytes(UUID(uuid.hex.upper()))


@given(st.one_of(ANY_TEXT, st.binary()), st.integers(0, (1 << 32) - 1))
def test_a_position_is_the_unsigned_murmur3_of_the_bytes(key: Key, seed: int) -> None:
    assert position(key, seed) == mmh3.hash(key_bytes(key), seed, signed=False)
    assert 0 <= position(key, seed) < 1 << 32


def test_an_enum_of_text_is_its_text() -> None:
    assert key_bytes(Colour.RED) == b"red"


@pytest.mark.parametrize(
    ("key", "kind", "hint"),
    [
        (True, "bool", "is not an ID"),
        (False, "bool", "is not an ID"),
        (None, "NoneType", "no argument"),
        (1.0, "float", r"str\("),
        (bytearray(b"x"), "bytearray", r"bytes\("),
        (memoryview(b"x"), "memoryview", r"bytes\("),
        (["x"], "list", "use a str, bytes, int or"),
        (("a", 1), "tuple", "use a str"),
        (object(), "object", "use a str"),
        (Decimal(1), "Decimal", "use a str"),
        (date(2020, 1, 1), "date", "use a str"),
        (Number.ONE, "Number", "use a str"),
        (1 << 64, "int", r"use its str"),
        (-(1 << 63) - 1, "int", r"use its str"),
        pytest.param(10**5000, "int", r"use its str", id="too long for repr"),
    ],
)
def test_what_has_no_stable_text_is_refused_with_a_hint(key: Any, kind: str, hint: str) -> None:
    for ask in (key_bytes, position):
        with pytest.raises(InvalidKeyError, match=hint) as caught:
            ask(key)
        assert caught.value.key_type == kind
        assert kind in str(caught.value)
        assert len(str(caught.value)) < 200


class Unspeakable:
    """Not even its repr can be had, as that of a list with a number of 5,000 digits."""

    def __repr__(self) -> str:
        raise ValueError("no repr")


def test_what_has_no_repr_is_refused_as_all_else() -> None:
    with pytest.raises(InvalidKeyError, match="use a str") as caught:
        key_bytes(Unspeakable())  # type: ignore[arg-type]  # this is what is refused
    assert caught.value.key_type == "Unspeakable"


def test_the_error_stays_short() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        key_bytes(["x" * 10_000])  # type: ignore[arg-type]  # this is what is refused
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("seed", [0, 1, (1 << 32) - 1])
def test_a_seed_is_what_murmur3_takes(seed: int) -> None:
    assert check_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, 1 << 32, True, 1.0, "1", None])
def test_other_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ConfigError, match="seed") as caught:
        check_seed(seed)
    assert caught.value.option == "seed"


SURROGATES = """
import json
from hashring.keys import position
from hashring.placement import create
from hashring.ring import HashRing

lone = json.loads('"\\\\ud83d"')  # what mmh3 itself ends the process on
texts = [lone, lone + "x", "x" + lone, chr(0xDFFF), chr(0xDC00) + chr(0xD800), lone * 1000]
ring = HashRing(texts, vnodes=4)
ring.add(lone + "new")
ring.set_weight(lone, 2)
ring.remove(lone + "new")
for key in texts:
    assert ring.lookup(key) == next(ring.walk(key)) == ring.lookup_n(key, 1)[0]
    assert ring.table.lookup(key, [ring.lookup(key)]) != ring.lookup(key)
    assert create("modulo", texts).lookup(key) in texts
    position(key)
assert len(ring.lookup_many(texts)) == len(texts)
ring.fingerprint, repr(ring), ring.copy(), ring.to_dict()
print("alive")
"""


def test_lone_surrogates_end_no_process() -> None:
    # in a process of its own: a crash would take the test run with it
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SURROGATES],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


def test_a_lone_surrogate_has_its_own_position() -> None:
    lone = json.loads('"\\ud83d"')
    assert key_bytes(lone) == b"\xed\xa0\xbd"
    assert len({position(key) for key in (lone, "?", "\ufffd", "", "\\ud83d")}) == 5
