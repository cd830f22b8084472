"""The examples of the pages: their Python runs, their commands print what they show."""

from __future__ import annotations

import doctest
import re
import runpy
import shlex
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?P<skip><!-- not run: [^\n]+ -->\n+)?^```(?P<language>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
IMAGE = re.compile(r"!\[[^\]]+\]\((?P<to>[^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<to>[^)\s]+)\)")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

each_page = pytest.mark.parametrize(
    "page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES]
)


class Block(NamedTuple):
    """One fenced block: its first line, its language, its text."""

    line: int
    language: str
    body: str


def blocks(text: str) -> Iterator[Block]:
    """The blocks that run: all but those under a ``<!-- not run: why -->``."""
    for found in FENCE.finditer(text):
        if not found["skip"]:
            yield Block(text.count("\n", 0, found.start()) + 1, found["language"], found["body"])


def run_python(block: Block, names: dict[str, Any], page: str) -> None:
    if ">>>" not in block.body:
        exec(compile(block.body, f"{page}, line {block.line}", "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block.body, names, page, page, block.line)
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


@each_page
def test_examples_of_a_page_print_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From top to bottom: what a command writes is there for the Python under it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page.read_text("utf-8")):
        if block.language == "python":
            run_python(block, names, page.name)
        for command, shown in commands(block) if block.language == "text" else ():
            pytest.importorskip("click", reason="the command line is an extra: [cli]")
            run_command(command, shown, tmp_path)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_the_links_of_a_page_lead_to_files(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [found["to"] for found in (*LINK.finditer(text), *IMAGE.finditer(text))]
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if link and not (page.parent / link).exists()] == []


def test_pictures_of_the_guide_equal_those_of_its_script(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra: [plots]")
    folder = ROOT / "docs" / "pictures"
    runpy.run_path(str(folder / "make.py"))["main"](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in folder.glob("*.svg")
    )
    # bytes differ between versions of matplotlib; what is drawn has as many pieces in each
    for path in tmp_path.iterdir():
        drawn, kept = (each.read_text("utf-8") for each in (path, folder / path.name))
        assert drawn.count("<path") == kept.count("<path"), f"{path.name}: run make.py again"


def test_the_front_page_shows_python_and_commands() -> None:
    found = list(blocks(README.read_text("utf-8")))
    assert any(block.language == "python" for block in found)
    assert any(commands(block) for block in found)


def test_a_wrong_example_is_detected() -> None:
    (block,) = blocks("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected"):
        run_python(block, {}, "a page")


def test_blocks_are_found_and_skipped() -> None:
    page = "```python\na = 1\n```\n\n<!-- not run: needs a cluster -->\n```python\nb\n```\n"
    assert [block.body for block in blocks(page)] == ["a = 1\n"]


def test_commands_are_found() -> None:
    block = Block(1, "text", "$ hashring --version\n0\n$ make demo\n$ hashring x\n")
    assert commands(block) == [("hashring --version", "0\n"), ("hashring x", "")]


def test_links_are_found() -> None:
    assert LINK.findall("a [b](c.md), ![d](e.png) and [`f`](g/h.md#i)") == ["c.md", "g/h.md#i"]
