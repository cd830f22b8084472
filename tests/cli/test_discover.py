"""Do ``hashring discover`` and ``hashring doctor`` say who is in, and what is wrong?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hashring import LoadBalancer
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
HOSTS = "web1=2@10.0.0.1:80\nweb2=0@10.0.0.2:80\n"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts"
    path.write_text(HOSTS)
    return path


def test_the_members_are_listed_with_the_fingerprint(run: Run, hosts: Path) -> None:
    done = run("discover", "file:hosts")
    assert done.exit_code == 0, done.output
    first, *rest = done.stdout.splitlines()
    assert "2 hosts, 1 draining" in first
    lb = LoadBalancer({"web1": 2, "web2": 1})
    assert lb.fingerprint.partition(".")[0] in first
    assert rest == [
        "  + web1 10.0.0.1:80 weight 2",
        "  + web2 10.0.0.2:80 weight 1 draining",
    ]


def test_the_json_is_one_line_and_its_schema_frozen(run: Run, hosts: Path) -> None:
    done = run("discover", "file:hosts", "--json")
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert set(found) == {
        *("schema", "command", "source", "revision", "fingerprint", "hosts", "problems"),
    }
    assert (found["schema"], found["command"], found["source"]) == (1, "discover", "file:hosts")
    assert found["hosts"] == [
        {"name": "web1", "address": "10.0.0.1:80", "weight": 2.0, "draining": False},
        {"name": "web2", "address": "10.0.0.2:80", "weight": 1.0, "draining": True},
    ]


def test_watching_prints_each_change_as_it_comes(hosts: Path) -> None:
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = f"{heed}from hashring.cli import main; main()"
    args = ["discover", "file:hosts?interval=0.02", "--watch", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=hosts.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert len(json.loads(process.stdout.readline())["hosts"]) == 2
            hosts.write_text(f"{HOSTS}web3\n")
            assert len(json.loads(process.stdout.readline())["hosts"]) == 3
            hosts.write_text("web1\nweb1\n")
            assert "lost file:hosts" in process.stderr.readline()
            hosts.write_text("")
            assert "back file:hosts" in process.stderr.readline()
            assert "held file:hosts" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
            assert process.stdout.read() == ""
        finally:
            process.kill()  # else the with would wait for it for ever, whatever failed above


def started(hosts: Path, *args: str, stdout: int) -> subprocess.Popen[str]:
    code = "from hashring.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "discover", "file:hosts?interval=0.02", "--json", *args],
        cwd=hosts.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watching_ends_with_its_reader(hosts: Path) -> None:
    with started(hosts, "--watch", stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            hosts.write_text(f"{HOSTS}web3\n")
            assert process.wait(timeout=20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_what_cannot_be_written_is_an_error(hosts: Path) -> None:
    with Path("/dev/full").open("w") as full, started(hosts, stdout=full.fileno()) as process:
        try:
            assert process.wait(timeout=20) == 1
            assert process.stderr is not None
            assert "cannot write" in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("static:", 4, "lists no host"),
        ("file:missing", 1, "No such file"),
        ("nonsense", 2, "a source is a URL"),
        ("carrier-pigeon:web", 2, "there is no source 'carrier-pigeon'"),
        ("file:hosts?colour=red", 2, "no option 'colour'"),
        ("static:a=x", 2, "weight must be"),
        ("static:a=1e6,b", 1, "and the most is"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, hosts: Path, url: str, code: int, said: str) -> None:
    done = run("discover", url, "--within", "0.3")
    assert done.exit_code == code, done.output
    assert said in done.stderr.splitlines()[-1]


def test_options_may_stand_beside_the_url(run: Run, hosts: Path) -> None:
    assert run("discover", "file:hosts", "--option", "interval=0.1").exit_code == 0
    assert run("discover", "file:hosts", "--option", "interval=x").exit_code == 2
    assert run("discover", "file:hosts", "--option", "interval").exit_code == 2


def test_the_doctor_lists_what_it_finds_and_what_is_wrong(run: Run, hosts: Path) -> None:
    hosts.chmod(0o644)
    done = run("doctor", "file:hosts")
    assert done.exit_code == 0, done.output
    assert "2 hosts at revision" in done.stdout
    assert "warning  1 of 2 hosts drain: web2" in done.stdout
    hosts.write_text("web1=0@10.0.0.1:80\nweb2=0@10.0.0.1:80\n")
    done = run("doctor", "file:hosts", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert set(found) == {"schema", "command", "source", "findings"}
    levels = [finding["level"] for finding in found["findings"]]
    assert levels == ["ok", "ok", "error", "warning"]


@pytest.mark.parametrize(
    ("url", "said"), [("file:missing", "No such file"), ("static:", "0 hosts")]
)
def test_a_source_that_is_ill_is_an_error(run: Run, url: str, said: str) -> None:
    done = run("doctor", url, "--within", "0.5")
    assert done.exit_code == 1
    errors = [line for line in done.stdout.splitlines() if line.startswith("  error")]
    assert len(errors) == 1
    assert said in errors[0]
