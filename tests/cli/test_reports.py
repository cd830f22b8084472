"""Do compare, simulate and advise say what they should, and do pictures and pages get written?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

HOSTS = ("--hosts", "web1,web2,web3")
MOVED = {"clients", "requests", "client_share", "request_share"}


def found(run: Run, *args: str) -> dict[str, Any]:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert done.stdout.isascii()
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["schema"], report["command"]) == (1, args[0])
    return report


def readable(run: Run, *args: str) -> list[str]:
    done = run(*args)
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.splitlines()
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)
    assert "\x1b" not in done.stdout
    return [*lines, last]


def test_the_schema_of_compare_is_frozen(run: Run, log: str) -> None:
    args = ("compare", log, *HOSTS, "--add", "web4", "--placements", "ring:vnodes=8,modulo")
    report = found(run, *args)
    assert set(report) == {
        *("schema", "command", "change", "log", "clients", "requests", "hosts", "minimum"),
        *("lost", "even_surge", "candidates"),
    }
    ring, modulo = report["candidates"]
    assert set(ring) == {
        *("placement", "options", "guarantees", "client_balance", "request_balance"),
        *("request_balance_after", "moved", "collateral", "loss", "unrouted", "fingerprint"),
        "refusal",
    }
    assert set(ring["moved"]) == set(modulo["collateral"]) == MOVED
    assert set(ring["loss"]) == {
        *("heirs", "largest_heir", "largest_heir_share", "surge", "collateral"),
    }
    assert ring["options"] == {"vnodes": 8}
    assert (report["clients"], report["hosts"], report["minimum"]) == (300, 3, 0.25)
    plan = found(run, "plan", log, *HOSTS, "--add", "web4", "--vnodes", "8")
    assert ring["moved"] == plan["moved"]
    assert ring["collateral"] == plan["collateral"]


def test_compare_reads_well(run: Run, log: str) -> None:
    lines = readable(run, "compare", log, *HOSTS, "--remove", "web2")
    assert lines[0] == "Placements compared: remove web2"
    assert "When web2 dies" in lines
    for name in ("ring ", "envoy-ring ", "modulo ", "theoretical minimum "):
        assert any(line.startswith(name) for line in lines), name
    assert "between hosts that stay, no client moves with ring" in lines[-1]
    assert readable(run, "compare", log, *HOSTS)[0] == "Placements compared: no change"


def test_the_schema_of_simulate_is_frozen(run: Run, log: str) -> None:
    args = ("simulate", log, *HOSTS, "--add", "web4", "--at", "6h", "--service", "2m")
    report = found(run, *args, "--load-floors", "4", "--session-gap", "2h")
    assert set(report) == {
        *("schema", "command", "placement", "options", "fingerprint", "log", "change", "requests"),
        *("clients", "seconds", "session_gap", "service", "hosts", "changes", "bin_seconds"),
        "outcomes",
    }
    assert report["changes"] == [[21600.0, "add web4"]]
    assert report["service"]["mean"] == 120.0
    assert report["session_gap"] == 7200.0
    assert [outcome["scenario"]["name"] for outcome in report["outcomes"]] == [
        *("placement alone", "remembered", "remembered, drained", "bounded 1.25, floor 4"),
    ]
    alone, kept, *_ = report["outcomes"]
    assert set(alone) == {
        *("scenario", "requests", "sessions", "broken", "switches", "reasons", "served"),
        *("peak_in_flight", "p99_in_flight", "in_flight"),
    }
    assert alone["requests"] == report["log"]["used"] == 2998
    assert kept["broken"] == 0 < alone["broken"]


def test_simulate_reads_well(run: Run, log: str) -> None:
    lines = readable(run, "simulate", log, *HOSTS, "--remove", "web1", "--at", "50%")
    assert lines[0] == "Simulation: remove web1 after 12.0 h"
    assert "2,998 lines used, 2 unreadable (the first is line 8)" in " ".join(lines[2:4])
    assert lines[-1].startswith("Of ")


def test_advise_reads_well_and_its_schema_is_frozen(run: Run) -> None:
    lines = readable(run, "advise", "--hosts", "10", "--peak", "1.1", "--export", "nginx")
    assert lines[0] == "Advice for 10 hosts and a peak/mean of 1.1"
    assert lines[-1].startswith("Take nginx-consistent with weight 2 for each host")
    report = found(run, "advise", "--hosts", "10")
    assert set(report) == {*("schema", "command", "hosts", "peak", "export", "minimum", "choices")}
    assert set(report["choices"][0]) == {
        *("placement", "options", "weight", "points", "peak", "reaches", "moved", "collateral"),
        "why",
    }


def test_a_plan_shows_what_moves_between_hosts_that_stay(run: Run, log: str) -> None:
    lines = readable(run, "plan", log, *HOSTS, "--add", "web4", "--placement", "envoy-ring")
    report = found(run, "plan", log, *HOSTS, "--add", "web4", "--placement", "envoy-ring")
    (line,) = (line for line in lines if "between hosts that stay" in line)
    moved = report["collateral"]
    assert moved["clients"] > 0
    assert line.split()[4:7] == [
        str(moved["clients"]), f"{100 * moved['client_share']:.1f}", "%",
    ]  # fmt: skip


def test_a_plan_goes_step_by_step(run: Run, log: str) -> None:
    args = ("plan", log, *HOSTS, "--add", "web4,web5", "--remove", "web1", "--one-by-one")
    lines = readable(run, *args)
    assert [line.split("  ")[0] for line in lines if line[:2] in ("1.", "2.", "3.")] == [
        *("1. add web4", "2. add web5", "3. remove web1"),
    ]
    steps = found(run, *args)["steps"]
    assert [step["hosts"] for step in steps] == [4, 5, 4]
    assert steps[-1]["fingerprint"] == found(run, *args)["fingerprint_after"]


@pytest.mark.parametrize(
    "args",
    [
        ("spread", "LOG", *HOSTS),
        ("plan", "LOG", *HOSTS, "--add", "web4"),
        ("compare", "LOG", *HOSTS, "--add", "web4", "--placements", "ring,modulo"),
        ("simulate", "LOG", *HOSTS, "--add", "web4"),
        ("advise", "--hosts", "4"),
    ],
    ids=lambda args: args[0],
)
def test_pictures_and_pages_are_written_beside_the_report(
    run: Run, log: str, tmp_path: Path, args: tuple[str, ...]
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra plots")
    asked = [log if arg == "LOG" else arg for arg in args]
    plain = run(*asked)
    done = run(*asked, "--plot", "out.png", "--report", "out.html")
    assert done.exit_code == 0, done.output
    assert done.stdout == plain.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "<table" in page
    assert "://" not in page
    assert plain.stdout.splitlines()[0] in page


def test_a_hostile_client_is_text_on_the_page(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra plots")
    stdin = b"<script>alert(1)</script>\n" * 3 + b"bob\n"
    args = ("spread", "-", "--format", "ids", "--hosts", "<b>x</b>,y", "--report", "o.html")
    done = run(*args, stdin=stdin)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "o.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("plan", "nolog", *HOSTS, "--add", "d", "--plot", "x.jpg"), 2, "a picture is written as"),
        (("compare", "nolog", "--hosts", " , "), 2, "--hosts has no host"),
        (("compare", "nolog", *HOSTS, "--placements", "rong"), 2, "there is no placement 'rong'"),
        (("compare", "nolog", *HOSTS, "--placements", "ring:vnodes"), 2, "give K=V"),
        (("compare", "nolog", *HOSTS, "--remove", "z"), 2, "no host 'z'"),
        (("compare", "nolog", *HOSTS, "--lose", "z"), 2, "no host 'z' to lose"),
        (("compare", "nolog", *HOSTS), 1, "cannot read nolog"),
        (("simulate", "nolog", *HOSTS, "--at", "5x"), 2, "'5x' is not a time"),
        (("simulate", "nolog", *HOSTS, "--service", "5%"), 2, "'5%' is not a time"),
        (("simulate", "nolog", *HOSTS, "--service", "0s"), 2, "a mean above 0 seconds"),
        (("simulate", "nolog", *HOSTS, "--session-gap", "0"), 2, "session_gap is above 0"),
        (("simulate", "-", "-", *HOSTS), 2, "only once"),
        (("simulate", "nolog", *HOSTS, "--load-floors", "0"), 2, "whole numbers from 1"),
        (("simulate", "nolog", *HOSTS, "--load-factor", "1"), 2, "load_factor"),
        (("simulate", "nolog", *HOSTS, "--remove", "z"), 2, "no host 'z'"),
        (("simulate", "nolog", *HOSTS), 1, "cannot read nolog"),
        (("advise", "--hosts", "0"), 2, "--hosts"),
        (("advise", "--hosts", "5", "--peak", "1"), 2, "above 1"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, args: tuple[str, ...], code: int, words: str) -> None:
    done = run(*args)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_picture_that_cannot_be_written_is_named(run: Run, log: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra plots")
    done = run("spread", log, *HOSTS, "--report", "no/such/page.html")
    assert done.exit_code == 1
    assert done.stderr == "hashring: cannot write no/such/page.html: No such file or directory\n"


@pytest.mark.parametrize("at", ["200%", "90d"])
def test_a_change_after_the_end_of_the_log_is_refused(run: Run, log: str, at: str) -> None:
    done = run("simulate", log, *HOSTS, "--add", "web4", "--at", at)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "is after the log" in done.stderr


def test_a_log_without_times_cannot_be_replayed(run: Run) -> None:
    done = run("simulate", "-", *HOSTS, stdin=b"ann\nbob\n")
    assert done.exit_code == 1
    assert "replay a log with times" in done.stderr
