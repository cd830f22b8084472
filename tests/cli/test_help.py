"""Help, suggestions, completion, narrow terminals and closed streams."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click
import pytest

from hashring.cli._app import app
from tests.cli.conftest import Run
from tests.cli.test_process import COMMAND, POSIX, environment

HOSTS = ("--hosts", "web1.example.internal,web2.example.internal=2,web3")
COMMANDS = app.list_commands(click.Context(app))


def test_every_summary_is_whole_and_fits(run: Run) -> None:
    done = run("--help")
    assert done.stdout.count("...") == 1  # of the usage
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        assert 10 < len(command.get_short_help_str(limit=1000)) <= 60, name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_help_of_a_command(run: Run, name: str) -> None:
    assert run("help", name).stdout == run(name, "--help").stdout
    assert run("help").stdout == run("--help").stdout


@pytest.mark.parametrize("args", [("plann",), ("help", "plann")])
def test_an_unknown_command_has_a_suggestion(run: Run, args: tuple[str, ...]) -> None:
    done = run(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no command 'plann': did you mean 'plan'?" in done.stderr


def test_an_unknown_placement_has_a_suggestion(run: Run) -> None:
    done = run("route", "a", "--hosts", "x", "--placement", "rng")
    assert done.exit_code == 2
    assert "there is no placement 'rng': did you mean 'ring'?" in done.stderr


def test_a_misspelled_variable_has_a_suggestion(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASHRING_GATEWAY_LISEN", "127.0.0.1:1")
    monkeypatch.setenv("HASHRING_SERVICE_HOST", "10.0.0.1")  # of an orchestrator
    done = run("serve", "--hosts", "127.0.0.1:9001", "--show-config")
    assert done.exit_code == 3
    hint = "did you mean HASHRING_GATEWAY_LISTEN?"
    assert done.stderr.splitlines() == [
        f"environment HASHRING_GATEWAY_LISEN: there is no such key: {hint}",
        "hashring: 1 problem",
    ]


def test_hosts_separated_by_a_space_are_refused(run: Run) -> None:
    done = run("route", "k", "--hosts", "a b")
    assert done.exit_code == 2
    assert "--hosts 'a b': separate the hosts by commas" in done.stderr


def test_route_reads_standard_input(run: Run) -> None:
    done = run("route", "first", "-", "--hosts", "a,b", stdin=b"k 1\n\nk2\r\n\xff\n")
    assert [line.split("  ")[0].strip() for line in done.stdout.splitlines()] == [
        "first",
        "k 1",
        "k2",
        "\\xff",
    ]


def test_check_prints_problems_as_json(run: Run) -> None:
    Path("h.toml").write_text('[pool]\nhosts = ["127.0.0.1:9001"]\ncapacity = true\n[x]\n')
    done = run("check", "h.toml", "--json")
    assert (done.exit_code, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    assert (found["schema"], found["command"], found["file"]) == (1, "check", "h.toml")
    first, second = found["problems"]
    assert first["where"] == "h.toml:3"
    assert first["key"] == "pool.capacity"
    assert first["line"] == 3
    assert first["what"].startswith("must be an int of at least 1")
    assert second["key"] == "x"


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_hosts_never_disappear_in_a_narrow_terminal(
    run: Run, log: str, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for args in (("spread", log), ("plan", log, "--add", "web4")):
        lines = run(*args, *HOSTS).stdout.splitlines()
        assert max(map(len, lines[3:-1])) <= width
        table = [line[2:12] for line in lines if line[2:6] in ("web1", "web2", "web3")]
        assert len(table) >= 3
        assert any(line.startswith("web1") for line in table)


@POSIX
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_not_an_error(closed: str) -> None:
    script = f'"$0" -m hashring route a --hosts x,y {closed}'
    done = subprocess.run(
        ["sh", "-c", script, COMMAND[0]], capture_output=True, env=environment(), check=False
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_completion_knows_commands_and_options() -> None:
    def complete(words: str, at: int) -> str:
        more = {"_HASHRING_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        done = subprocess.run([*COMMAND], capture_output=True, env=environment(**more), check=False)
        return done.stdout.decode()

    assert "plain,placements" in complete("hashring pla", 1)
    assert "plain,--one-by-one" in complete("hashring plan --one", 2)
