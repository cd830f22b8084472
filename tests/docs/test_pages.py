"""The tables and outputs of the pages are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, CHOOSING, DOCS, README, regenerated, results
from tests.test_pages import Block, blocks, run_python

OWN = DOCS / "testing-your-own.md"


def page_blocks(page: Path) -> list[Block]:
    return list(blocks(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", BLOCKS, ids=lambda page: page.name)
def test_generated_blocks_of_a_page_are_current(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == regenerated(page, text), "write them again: python -m tests.docs.pages"


def test_an_outdated_table_is_detected() -> None:
    text = CHOOSING.read_text(encoding="utf-8")
    changed = text.replace("| `ring` |", "| `rings` |")
    assert regenerated(CHOOSING, changed) == regenerated(CHOOSING, text) != changed


def test_missed_targets_stand_on_the_front_page() -> None:
    shown = results()
    text = (DOCS.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    missed = [line.split(" | ") for line in text.splitlines() if line.endswith("| MISSED |")]
    words = " ".join(shown.split())
    assert [
        what
        for what, measured, *_ in missed
        if f"{what.removeprefix('| ')}: {measured.split(' (')[0].strip()} for" not in words
    ] == []


def test_the_guide_quotes_the_results_of_routers() -> None:
    results = (DOCS.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    guide = (DOCS / "three-ways.md").read_text(encoding="utf-8")
    text = results.partition("## Routers of language models\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in text.splitlines() if " | TTFT mean " in line]
    pattern = r"TTFT mean (\S+) s, p99 (\S+) s; reuse (\S+ %); (\S+ %) of turns moved"
    for name, measured, *_ in rows:
        found = re.fullmatch(pattern, measured)
        assert found is not None, measured
        assert f"{name} | {' | '.join(found.groups())} |" in guide
    assert len(rows) == 10


def test_a_missed_target_in_the_results_is_listed() -> None:
    text = (DOCS.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    worse = text.replace("<= 15 us | ok |", "<= 1 us | MISSED |", 1)
    assert "Tokens and secrets, issue a token" not in results(text)
    assert "Tokens and secrets, issue a token" in results(worse)


def test_the_front_page_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 140


def test_the_broken_placement_fails_as_the_page_shows() -> None:
    script, shown = page_blocks(OWN)[1:3]
    assert shown.body.startswith("$ python wheel.py\nAssertionError: ")
    with pytest.raises(AssertionError) as caught:
        run_python(script, {"__name__": "__main__"}, OWN.name)
    printed = "".join(f"{line}\n" for line in f"AssertionError: {caught.value}".splitlines())
    assert printed == shown.body.partition("\n")[2]
