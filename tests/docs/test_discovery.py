"""Does the page of discovery tell the truth?  Its Python runs, its URLs are taken."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hashring.discovery import names, source
from tests.docs.pages import DOCS
from tests.test_readme import blocks, run_python

PAGE = DOCS / "discovery.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_python_of_the_page_runs() -> None:
    scope: dict[str, Any] = {"__name__": "page"}
    found = [block for block in blocks(TEXT) if block.language == "python"]
    assert len(found) == 2
    for block in found:
        run_python(block, scope)


def test_every_url_of_the_table_is_taken() -> None:
    urls = re.findall(rf"^\| `((?:{'|'.join(names())}):[^`]+)`", TEXT, flags=re.MULTILINE)
    assert len(urls) >= 5
    for url in urls:
        kind = url.partition(":")[0]
        pytest.importorskip({"dns": "dns", "etcd": "httpx2"}.get(kind, "hashring"))
        assert str(source(url)).startswith(f"{kind}:")
