"""The page of discovery: its Python runs, its URLs are accepted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hashring.discovery import names, source
from tests.docs.pages import DOCS
from tests.test_pages import blocks, run_python

PAGE = DOCS / "discovery.md"
TEXT = PAGE.read_text(encoding="utf-8")
NEEDED = {"dns": "dns", "file": "hashring", "static": "hashring"}
KUBECONFIG = """{
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001"}}]
}"""


def test_the_python_of_the_page_runs() -> None:
    scope: dict[str, Any] = {"__name__": "page"}
    found = [block for block in blocks(TEXT) if block.language == "python"]
    assert len(found) >= 2
    for block in found:
        run_python(block, scope, PAGE.name)


def test_every_url_of_the_table_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    (tmp_path / "config").write_text(KUBECONFIG)
    urls = re.findall(rf"^\| `((?:{'|'.join(names())}):[^`]+)`", TEXT, flags=re.MULTILINE)
    assert len(urls) >= 7
    for url in urls:
        kind = url.partition(":")[0]
        pytest.importorskip(NEEDED.get(kind, "httpx2"))
        assert str(source(url)).startswith(f"{kind}:")
