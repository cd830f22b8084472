"""Does ``hashring placements`` say of each placement what its file says?"""

from __future__ import annotations

import json

from hashring import placement
from hashring.cli.placements import GUARANTEES
from hashring.testing import _laws
from tests.cli.conftest import Run


def test_the_schema_of_placements_is_frozen(run: Run) -> None:
    done = run("placements", "--json")
    assert done.exit_code == 0, done.output
    assert done.stdout.isascii()
    found = json.loads(done.stdout)
    assert set(found) == {"schema", "command", "placements"}
    assert (found["schema"], found["command"]) == (1, "placements")
    assert [each["name"] for each in found["placements"]] == placement.names()
    for each in found["placements"]:
        assert set(each) == {"name", "guarantees", "exports", "cost", "source", "options"}
        module = placement.module(each["name"])
        assert each["guarantees"] == sorted(module.GUARANTEES)
        assert each["exports"] == sorted(module.EXPORTS)
        assert (each["cost"], each["source"]) == (module.COST, module.SOURCE)
        assert each["options"] == dict(placement.options(each["name"]))


def test_placements_reads_well(run: Run) -> None:
    done = run("placements")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in placement.names():
        rows = [line for line in lines if line.startswith(f"  {name} ")]
        promised = len(placement.module(name).GUARANTEES)
        assert rows, name
        assert all(row.count("✓") == promised for row in rows)
        assert all(row.count("·") == 5 - promised for row in rows)
    assert f"{len(placement.names())} placements; ✓ guaranteed and tested, · not" in lines


def test_a_terminal_without_the_signs_gets_others(run: Run) -> None:
    from hashring.cli.placements import _signs

    assert _signs("utf-8") == ("✓", "·")
    assert _signs("ascii") == _signs("nonsense") == ("x", ".")


def test_every_guarantee_has_a_column() -> None:
    assert set(GUARANTEES) == set(_laws.GUARANTEES)
