"""Is a bad log counted, never guessed at?  What the commands say of lines that they cannot use."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

TAIL = b' - - [06/Jan/2025:00:00:01 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n'
GOOD = b"".join(b"192.0.2.%d%s" % (i % 250, TAIL) for i in range(2_000))
COMMANDS = (("spread", "--hosts", "a,b"), ("plan", "--hosts", "a,b", "--add", "c"))
NASTY = {
    "mixed formats": (GOOD + b'{"client": "192.0.2.1"}\n' + GOOD, "another format", 1),
    "zero bytes": (GOOD + b"\0" * 512 + GOOD, "zero bytes", 1),
    "a line of 10 MB": (GOOD + b"x" * 10_000_000 + b"\n" + GOOD, "too long", 1),
    "no UTF-8": (GOOD + b"\xff\xfe\xfd\n" * 3 + GOOD, "not UTF-8", 3),
    "empty lines": (GOOD + b"\n\r\n \n" + GOOD, "empty", 3),
    "no line end": (GOOD * 2 + b"192.0.2.1 - - [06/Jan", "malformed", 1),
}


def log_of(run: Run, *arguments: str) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    log: dict[str, Any] = json.loads(done.stdout)["log"]
    return log


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("what", NASTY)
def test_bad_lines_are_counted_by_their_kind(
    run: Run, tmp_path: Path, command: tuple[str, ...], what: str
) -> None:
    data, kind, count = NASTY[what]
    (tmp_path / "web.log").write_bytes(data)
    used = 4_000 - (what == "zero bytes")  # a line that begins with zeros is lost with them
    first = 4_001 if what == "no line end" else 2_001
    log = log_of(run, *command, "web.log")
    assert (log["lines"], log["used"], log["unreadable"]) == (used + count, used, count)
    assert log["requests"] == used
    assert log["kinds"] == [{"kind": kind, "lines": count, "first": first, "source": "web.log"}]
    lines = run(*command, "web.log").stdout.splitlines()
    assert f"{used:,} lines used, {count} unreadable" in " ".join(lines)
    where = f"line {first:,}" if count == 1 else f"the first is line {first:,}"
    assert f"  {count} {kind}, {where}" in lines


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_truncated_gzip_gives_what_is_whole_in_it(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "web.log.gz"
    path.write_bytes(gzip.compress(GOOD * 20)[:-2_000])
    done = run(*command, str(path))
    assert done.exit_code == 0
    assert "ends too early" in done.stderr
    log = log_of(run, *command, str(path))
    assert 0 < log["used"] < 40_000
    assert [bad["kind"] for bad in log["kinds"]] in ([], ["cut off"])
    assert log["used"] + log["unreadable"] == log["lines"]


def test_json_lines_without_the_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "web.jsonl"
    lines = [b'{"user": {"id": %d}}' % (i % 90) for i in range(1_000)]
    lines[7] = lines[9] = b'{"user": {}}'
    lines[8] = b'{"user": {"id": [1]}}'
    path.write_bytes(b"\n".join(lines))
    log = log_of(run, "spread", str(path), "--hosts", "a,b", "--key", "user.id")
    assert [(bad["kind"], bad["lines"], bad["first"]) for bad in log["kinds"]] == [
        ("without the key", 2, 8),
        ("unusable key", 1, 9),
    ]
    assert (log["used"], log["lines"]) == (997, 1_000)
