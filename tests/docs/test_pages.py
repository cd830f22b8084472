"""Do the pages tell the truth?  Their Python runs, their tables and outputs are the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import CHOOSING, DOCS, regenerated
from tests.test_pages import Block, blocks, run_python

OWN = DOCS / "testing-your-own.md"


def page_blocks(page: Path) -> list[Block]:
    return list(blocks(page.read_text(encoding="utf-8")))


def test_the_tables_are_what_the_code_says() -> None:
    text = CHOOSING.read_text(encoding="utf-8")
    assert text == regenerated(text), "write them anew: python -m tests.docs.pages"


def test_a_table_that_is_out_of_date_is_noticed() -> None:
    text = CHOOSING.read_text(encoding="utf-8")
    assert regenerated(text.replace("| `ring` |", "| `rings` |")) == regenerated(text)
    assert text.replace("| `ring` |", "| `rings` |") != regenerated(text)


def test_the_broken_placement_is_caught_as_the_page_shows() -> None:
    script, shown = page_blocks(OWN)[1:3]
    assert shown.body.startswith("$ python wheel.py\nAssertionError: ")
    with pytest.raises(AssertionError) as caught:
        run_python(script, {"__name__": "__main__"}, OWN.name)
    printed = "".join(f"{line}\n" for line in f"AssertionError: {caught.value}".splitlines())
    assert printed == shown.body.partition("\n")[2]


def test_the_python_of_the_page_runs() -> None:
    names: dict[str, Any] = {
        "__name__": "wheel"
    }  # imported, so that the page's script only defines
    found = [block for block in page_blocks(OWN) if block.language == "python"]
    assert len(found) > 4
    for block in found:
        run_python(block, names, OWN.name)
