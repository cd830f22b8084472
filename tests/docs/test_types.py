"""A user's file that imports each name that the docs import passes mypy in strict mode."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_IMPORT = re.compile(r"^ *(?:>>> )?from (hashring[\w.]*) import (\([^)]*\)|[^\n#]+)", re.MULTILINE)
SERVING = ("COSTS", "Engine", "POLICIES", "PolicyResult", "SCENARIOS", "Serving", "serve")


def texts() -> Iterator[str]:
    """The guide, its examples and notebooks, and the docstrings of the package."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        yield path.read_text()
    for path in sorted((ROOT / "docs" / "examples").rglob("*.py")):
        yield path.read_text()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            yield "".join(cell["source"])
    for path in sorted((ROOT / "hashring").rglob("*.py")):
        yield "\n".join(line for line in path.read_text().split("\n") if ">>> from" in line)


def names() -> set[tuple[str, str]]:
    found = {("hashring.analysis.serving", name) for name in SERVING}
    for text in texts():
        for module, listed in _IMPORT.findall(text):
            for part in listed.strip("()").replace("...", "").split(","):
                name = part.split(" as ")[0].strip()
                if name:
                    found.add((module, name))
    return found


@pytest.mark.slow
def test_every_name_of_the_docs_is_exported_to_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    imported = sorted(names())
    assert len(imported) > 60
    lines = [f"from {module} import {name} as n{at}" for at, (module, name) in enumerate(imported)]
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    options = ["--strict", "--config-file=", "--cache-dir=cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "user.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    mine = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    assert mine == [], "\n".join(mine)
    assert "user.py" in done.stdout or "1 source file" in done.stdout, done.stdout + done.stderr
