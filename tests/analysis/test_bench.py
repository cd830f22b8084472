"""The seven measures of placements, and other libraries beside ours."""

from __future__ import annotations

import pytest

from hashring import placement
from hashring.analysis import bench
from hashring.errors import ConfigError


def test_each_placement_is_measured_or_refused() -> None:
    pytest.importorskip("uhashring", reason="a library to compare with: a development tool")
    seen: list[str] = []
    report = bench(8, keys=400, progress=seen.append)
    rows = {row.name: row for row in report.rows}
    assert list(rows) == seen
    assert {*placement.names(), "lib: uhashring"} <= rows.keys()
    able = [row for row in report.rows if row.refusal is None]
    assert {row.name for row in able} >= {"ring", "modulo", "envoy-maglev", "nginx-ip-hash"}
    for row in able:
        assert min(row.memory, row.build, row.resize, row.lookup) >= 0, row
        assert 1 <= row.balance <= 8, row
        assert 1 <= row.balance_after <= 4, row
    for name, row in rows.items():
        if name in placement.names() and "minimal_move" in placement.module(name).GUARANTEES:
            assert row.stray == 0, name
    assert rows["modulo"].stray > 0.5
    # the library and the placement that follows it have the same owners
    theirs, ours = rows["lib: uhashring"], rows["uhashring"]
    assert (theirs.balance, theirs.stray) == (ours.balance, ours.stray)
    assert report.sentence().count("move no key between other hosts") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": 3}, "at least 4 hosts"),
        ({"keys": 99}, "at least 4 hosts and 100 keys, got 100 and 99"),
        ({"placements": ["rink"]}, "did you mean 'ring'"),
    ],
)
def test_what_cannot_be_measured_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bench(**options)  # type: ignore[arg-type]  # mypy sees any option
