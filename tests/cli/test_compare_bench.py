"""``hashring compare --bench``."""

from __future__ import annotations

import json

from tests.cli.conftest import Run


def test_the_command_measures_without_a_log(run: Run) -> None:
    words = ("compare", "--bench", "--hosts", "8", "--placements", "ring,jump")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "Placements measured\n8 hosts\n" in done.stdout
    for words_of in (words, (*words[:3], "a,b,c,d,e=2,f,g,h", *words[4:])):
        report = json.loads(run(*words_of, "--json").stdout)
        assert (report["command"], report["hosts"]) == ("compare", 8)
        assert [row["name"] for row in report["rows"]][:2] == ["ring", "jump"]


def test_a_log_and_measures_exclude_each_other(run: Run) -> None:
    done = run("compare", "access.log", "--bench", "--hosts", "8")
    assert (done.exit_code, "--bench reads no LOG" in done.output) == (2, True)
    done = run("compare", "--hosts", "a,b")
    assert (done.exit_code, "Missing argument 'LOG...'" in done.output) == (2, True)
