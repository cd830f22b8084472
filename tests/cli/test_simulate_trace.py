"""``hashring simulate`` on a trace of LLM serving."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Forty requests of ten sessions."""
    lines = []
    for number in range(40):
        session, turn = number % 10, number // 10
        blocks = [session * 100 + at for at in range(2 + turn)]
        row = {"timestamp": 500 * number, "input_length": 512 * len(blocks), "output_length": 20}
        lines.append(json.dumps({**row, "hash_ids": blocks}))
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


def test_the_json_has_the_policies_with_their_numbers(run: Run, trace: str) -> None:
    options = ["--format", "mooncake", "--hosts", "4", "--rate", "1.4", "--json"]
    policies = "round-robin,ring,ring+bounded,least-connections+pins,cache-aware"
    done = run(
        "simulate", trace, *options, "--policy", policies, "--prefill", "4000", "--lanes", "2"
    )
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert (report["schema"], report["command"], report["sessions"]) == (1, "simulate", 10)
    assert [policy["name"] for policy in report["policies"]] == policies.split(",")
    for policy in report["policies"]:
        assert set(policy["ttft"]) == {"mean", "p50", "p90", "p99"}
        assert 0 <= policy["reuse"] <= 1
        assert 0 <= policy["moved_turns"] <= 1
        assert policy["work_peak_to_mean"] >= 1
    assert report["engine"]["prefill"] == 4000
    assert report["hosts"] == ["gpu0", "gpu1", "gpu2", "gpu3"]


def test_a_trace_is_recognised_where_a_policy_is_given(run: Run, trace: str) -> None:
    done = run("simulate", trace, "--hosts", "a,b=2", "--policy", "ring")
    assert done.exit_code == 0
    assert "40 requests, 10 sessions" in done.stdout
    assert "mooncake" in done.stdout


def test_columns_are_a_trace_or_a_log_by_the_options(run: Run, tmp_path: Path) -> None:
    head = "when,user,input_length,output_length\n"
    rows = [f"{1772359200 + at},user-{at % 7},512,20\n" for at in range(40)]
    (tmp_path / "some.csv").write_text(head + "".join(rows))
    fields = ("--time", "when", "--session", "user")
    done = run("simulate", "some.csv", "--hosts", "3", "--policy", "ring", *fields)
    assert done.exit_code == 0, done.output
    assert "40 requests, 7 sessions, 39 s, csv" in done.stdout
    for more, sessions in ((fields, 7), (("--time", "when", "--key", "user"), 7)):
        done = run("advise", "some.csv", "--hosts", "3", *more)
        assert done.exit_code == 0, done.output
        assert f"{sessions} sessions" in done.stdout
    for command in (("simulate", "--add", "c"), ("spread",), ("plan", "--add", "c"), ("compare",)):
        more = ("--key", "user", *(("--time", "when") if command[0] == "simulate" else ()))
        done = run(*command, "some.csv", "--hosts", "a,b", *more, "--json")
        assert done.exit_code == 0, done.output
        log = json.loads(done.stdout)["log"]
        assert (log["format"], log["used"], log["unreadable"], log["clients"]) == ("csv", 40, 0, 7)


def test_pictures_and_a_page_are_written(run: Run, trace: str, tmp_path: Path) -> None:
    picture, page = tmp_path / "out.png", tmp_path / "out.html"
    options = ["--format", "trace", "--hosts", "3", "--plot", str(picture), "--report", str(page)]
    done = run("simulate", trace, *options, "--policy", "ring,round-robin")
    assert done.exit_code == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert "Time to first token" in text
    assert "seconds of prefill" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--policy", "rign"], "there is no policy 'rign': did you mean 'ring'?"),
        (["--policy", "ring", "--rate", "0"], "rate must be"),
        (["--policy", "ring", "--chunk", "9", "--lanes", "2"], "exclude each other"),
        (["--format", "moncake"], "did you mean 'mooncake'"),
    ],
)
def test_bad_options_are_usage_errors(
    run: Run, trace: str, options: list[str], message: str
) -> None:
    done = run("simulate", trace, "--hosts", "3", *options)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_file_that_is_not_a_trace_is_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text('1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1\n')
    done = run("simulate", str(path), "--hosts", "3", "--format", "trace")
    assert done.exit_code == 1
    assert "is not a trace of a known format" in done.stderr
    assert "Traceback" not in done.stderr
