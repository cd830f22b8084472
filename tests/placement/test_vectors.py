"""Does every placement give the answers that the real program gave, key by key?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hashring.placement import create

VECTORS = sorted((Path(__file__).parents[1] / "golden" / "compat").glob("*.json"))


@pytest.fixture(params=VECTORS, ids=lambda path: path.stem)
def vector(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return found


def test_the_recordings_are_there() -> None:
    assert len(VECTORS) >= 65


def test_every_key_goes_where_the_program_sent_it(vector: Mapping[str, Any]) -> None:
    table = create(vector["algorithm"], vector["hosts"], **vector["options"])
    answers = {key: table.lookup(key, unavailable=vector["down"]) for key in vector["lookups"]}
    assert answers == vector["lookups"]


def test_a_table_without_the_down_hosts_answers_the_same(vector: Mapping[str, Any]) -> None:
    table = create(vector["algorithm"], vector["hosts"], **vector["options"])
    table = table.without(vector["down"])
    assert {key: table.lookup(key) for key in vector["lookups"]} == vector["lookups"]
