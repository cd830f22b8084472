"""What do the tests of the command line share?  A way to run it, in this process and in its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from hashring.cli._app import app

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("plan", "log", ...)`` in an empty directory, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*args: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, args, prog_name="hashring", input=stdin)

    return invoke


@pytest.fixture
def log(tmp_path: Path) -> str:
    """A log of 3,000 lines and 300 clients, two of whose lines are broken."""
    from hashring.analysis import sample_log

    lines = [*sample_log(2998, 300), b"\n"]
    lines.insert(7, b"\0\xff\n")
    (tmp_path / "access.log").write_bytes(b"".join(lines))
    return "access.log"
