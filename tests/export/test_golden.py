"""Do the files still read as they did?  A change shows here line by line."""

from __future__ import annotations

import pytest

from hashring.export import proxies
from tests.export.golden import FOLDER, GOLDEN, text_of


@pytest.mark.parametrize("name", GOLDEN)
def test_the_file_is_the_one_on_record(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert text_of(name) == written, "write them again: python -m tests.export.golden"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_file_is_lines_that_end_and_hold_no_tabs(name: str) -> None:
    text = text_of(name)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\t" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_every_proxy_and_every_file_is_there() -> None:
    assert {proxy for proxy, _ in GOLDEN.values()} == set(proxies())
    assert {path.name for path in FOLDER.iterdir()} == set(GOLDEN)
