"""Does everything that goes wrong end in one clear line and the right exit code?"""

from __future__ import annotations

from pathlib import Path

import pytest

from hashring.cli._app import app
from tests.cli.conftest import Run

PLAN = ("plan", "-", "--hosts", "a,b,c")


def failure(run: Run, *args: str, stdin: bytes = b"ann\nbob\n") -> tuple[int, str]:
    done = run(*args, stdin=stdin)
    assert done.stdout == ""
    assert done.stderr.startswith("hashring: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.rstrip("\n").isprintable()
    return done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--remove", "zz"), "there is no host 'zz'; the hosts are a, b, c"),
        (("--weight", "zz=2"), "there is no host 'zz'"),
        (("--add", "a"), "'a' is there already"),
        (("--add", "d,d"), "'d' is given twice"),
        (("--remove", "a,b,c"), "no host would be left"),
        (("--remove", "a", "--weight", "a=2"), "both leave and get a weight"),
        (("--weight", "a"), "NAME=WEIGHT"),
        (("--weight", "a=x"), "'x' is not a number"),
        (("--weight", "a=0"), "finite number above 0"),
        (("--weight", "a=nan"), "finite number above 0"),
        (("--add", "=3"), "must not be empty"),
        (("--hosts", "a", "--add", "d"), "'a' is given twice"),
        ((), "give a change"),
        (("--add", " , "), "give a change"),
        (("--add", "d", "--placement", "nope"), "no placement 'nope'"),
        (("--add", "d", "--placement", "modulo", "--vnodes", "9"), "no option 'vnodes'"),
        (("--add", "d", "--vnodes", "0"), "--vnodes"),
        (("--add", "d", "--seed", "-1"), "--seed"),
        (("--add", "d", "--option", "vnodes"), "K=V"),
        (("--add", "d", "--option", "vnodes=many"), "vnodes must be"),
        (("--add", "d", "--option", "x=1"), "no option 'x'"),
        (("--add", "d", "--format", "xml"), "--format"),
        (("--add", "d", "--format", "jsonl"), "--key"),
        (("--add", "d", "--format", "ids", "--key", "k"), "--key"),
        (("-", "--add", "d"), "only once"),
        (("--bogus",), "--bogus"),
        (("--add", "d\x1b[31m", "--remove", "z\x1b[31m"), "z\\x1b[31m"),
    ],
)
def test_a_wrong_command_line_is_usage(run: Run, args: tuple[str, ...], words: str) -> None:
    code, line = failure(run, *PLAN, *args)
    assert code == 2
    assert words in line
    assert "hashring plan --help" in line


@pytest.mark.parametrize(
    "args",
    [
        ("nope",),
        ("plan",),
        ("plan", "-"),
        ("plan", "--hosts", "a"),
        ("spread", "-", "--hosts", ","),
        ("route", "--hosts", "a"),
        ("route", "x"),
        ("sample-log", "--lines", "0"),
        ("sample-log", "--lines", "5", "--clients", "6"),
    ],
)
def test_what_is_missing_is_usage(run: Run, args: tuple[str, ...]) -> None:
    assert failure(run, *args)[0] == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\0\1\2\n\0\n", "binary"),
        (b"one two\nthree four\n", "line 1 is 'one two'"),
        (b'{"a": 1}\n', "--key"),
        (b"BZh9", "bzip2"),
        (b"\x1f\x8b\x08", "ends too early"),
    ],
)
@pytest.mark.parametrize("command", [("spread",), ("plan", "--add", "d")])
def test_a_bad_log_is_a_failure(
    run: Run, tmp_path: Path, command: tuple[str, ...], data: bytes, words: str
) -> None:
    (tmp_path / "log").write_bytes(data)
    for source in ("log", "-"):
        code, line = failure(run, *command, source, "--hosts", "a,b", stdin=data)
        assert code == 1
        assert words in line


@pytest.mark.parametrize("name", ["missing", ".", "loop", "a\x1b[31mb"])
def test_a_log_that_cannot_be_opened_is_a_failure(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    code, line = failure(run, "spread", name, "--hosts", "a")
    assert code == 1
    assert "cannot read" in line


def test_without_a_command_help_is_shown(run: Run) -> None:
    done = run()
    assert done.exit_code == 2
    assert "Commands:" in done.stderr


def test_every_file_is_a_command_and_has_help(run: Run) -> None:
    folder = Path(str(app.callback.__code__.co_filename)).parent if app.callback else Path()
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    listed = run("--help").stdout
    assert files >= {"plan", "route", "sample_log", "spread"}
    for name in files:
        command = name.replace("_", "-")
        assert f"  {command} " in listed
        shown = run(command, "--help")
        assert shown.exit_code == 0
        assert shown.stdout.startswith(f"Usage: hashring {command} ")
