"""Does the front page tell the truth?  Its Python runs, its commands print what it shows."""

from __future__ import annotations

import doctest
import re
import shlex
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any, NamedTuple

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^\n]+ -->\n+)?^```(?P<language>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """One fenced block: where it starts, what it is written in, what it says."""

    line: int
    language: str
    body: str


def blocks(text: str) -> Iterator[Block]:
    """The blocks that run: all but those under a ``<!-- not run: why -->``."""
    for found in FENCE.finditer(text):
        if not found["skip"]:
            yield Block(text.count("\n", 0, found.start()) + 1, found["language"], found["body"])


def run_python(block: Block, names: dict[str, Any]) -> None:
    if ">>>" not in block.body:
        exec(compile(block.body, f"{README.name}, line {block.line}", "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block.body, names, "README", README.name, block.line)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)  # a reader goes on where the last block ended
    assert not runner.failures, "".join(said)


def commands(block: Block) -> list[tuple[str, str]]:
    """``(command, what it should print)`` for each ``$ hashring ...`` of a text block."""
    parts = re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]
    pairs = [part.partition("\n")[::2] for part in parts]
    return [(command, shown) for command, shown in pairs if command.startswith("hashring ")]


def run_command(command: str, shown: str, where: Path) -> None:
    line, _, into = command.partition(" > ")
    program = str(Path(sysconfig.get_path("scripts")) / "hashring")
    done = run(
        [program, *shlex.split(line)[1:]], cwd=where, capture_output=True, text=True, check=False
    )
    printed = done.stdout + done.stderr
    if into:
        (where / into).write_text(done.stdout, encoding="utf-8")
        printed = done.stderr
    same = doctest.OutputChecker().check_output(shown, printed, OPTIONS)
    assert same, f"$ {command}\nshould print:\n{shown}\nbut prints:\n{printed}"


def test_the_python_of_the_readme_runs() -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    found = [block for block in blocks(README.read_text("utf-8")) if block.language == "python"]
    assert found, "the front page shows no Python"
    for block in found:
        run_python(block, names)


def test_the_commands_of_the_readme_print_what_it_shows(tmp_path: Path) -> None:
    pytest.importorskip("click", reason="the command line is an extra: sticky-hashring[cli]")
    for block in blocks(README.read_text("utf-8")):
        for command, shown in commands(block) if block.language == "text" else ():
            run_command(command, shown, tmp_path)


def test_a_wrong_example_is_noticed() -> None:
    (block,) = blocks("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run_python(block, {})


def test_blocks_are_found_and_skipped() -> None:
    page = "```python\na = 1\n```\n\n<!-- not run: needs a cluster -->\n```python\nb\n```\n"
    assert [block.body for block in blocks(page)] == ["a = 1\n"]


def test_commands_are_found() -> None:
    block = Block(1, "text", "$ hashring --version\n0\n$ make demo\n$ hashring x\n")
    assert commands(block) == [("hashring --version", "0\n"), ("hashring x", "")]
