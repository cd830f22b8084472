"""Do the commands say what they should, in text and in JSON?"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hashring.analysis import PlacedHosts, read_clients
from hashring.keys import position
from hashring.placement import create
from tests.cli.conftest import Run

REAL = Path(__file__).resolve().parents[3] / "shared/data/access.log.gz"
CLIENTS = b"ann\nbob\nann\ncid\n"
COMMON = {"schema", "command", "fingerprint", "placement", "options"}
LOG = {
    *("clients", "requests", "format", "lines", "used", "unreadable", "first_unreadable"),
    *("first_unreadable_in", "kinds", "sources", "warnings"),
}
MOVED = {"clients", "requests", "client_share", "request_share"}
BALANCE = {"peak", "cov", "gini"}


def report(run: Run, *args: str, stdin: bytes | None = CLIENTS) -> dict[str, Any]:
    done = run(*args, "--json", stdin=stdin)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert done.stdout.isascii()
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["schema"] == 1
    assert found["command"] == args[0]
    return found


def test_the_schema_of_route_is_frozen(run: Run) -> None:
    found = report(run, "route", "ann", "bob", "--hosts", "a,b=2,c,d")
    assert set(found) == COMMON | {"keys"}
    table = create("ring", {"a": 1, "b": 2, "c": 1, "d": 1})
    assert found["fingerprint"] == table.fingerprint
    assert found["options"] == {"vnodes": 512, "seed": 0}
    for route in found["keys"]:
        assert set(route) == {"key", "host", "position", "vnode", "walk"}
        assert route["host"] == table.lookup(route["key"])
        assert route["walk"] == list(table.walk(route["key"]))[:3]
        # the owner's vnode is at or after the position; only the wrap breaks the order
        assert route["vnode"] >= route["position"]


def test_the_schema_of_spread_is_frozen(run: Run) -> None:
    found = report(run, "spread", "-", "--hosts", "a,b")
    assert set(found) == COMMON | {
        *("log", "clients", "requests", "unrouted_clients", "unrouted_requests", "hosts"),
        *("client_balance", "request_balance", "arc_balance", "hottest"),
        *("chi2", "placement_variance"),
    }
    assert set(found["log"]) == LOG
    assert set(found["hosts"][0]) == {
        *("host", "weight", "clients", "requests", "client_share", "request_share", "fair", "arc"),
        "band",
    }
    assert set(found["hottest"][0]) == {"client", "requests", "share", "host"}
    assert set(found["client_balance"]) == set(found["arc_balance"]) == BALANCE


def test_the_schema_of_plan_is_frozen(run: Run) -> None:
    found = report(run, "plan", "-", "--hosts", "a,b", "--add", "c=2", "--weight", "b=3")
    assert set(found) == COMMON | {
        *("fingerprint_after", "change", "log", "clients", "requests", "moved", "minimum"),
        *("arc", "modulo", "hosts", "flows", "collateral", "steps"),
    }
    both = ("weight", "clients", "requests", "share", "fair", "arc")
    assert set(found["hosts"][0]) == {"host"} | {
        f"{name}_{when}" for name in both for when in ("before", "after")
    }
    assert set(found["moved"]) == set(found["collateral"]) == MOVED
    assert set(found["modulo"]) == MOVED
    assert found["change"] == {"add": {"c": 2.0}, "remove": [], "weights": {"b": 3.0}}
    flows = report(run, "plan", "-", "--hosts", "a", "--add", "b", "--remove", "a")["flows"]
    assert flows == [{"origin": "a", "target": "b", "clients": 3, "requests": 4, "arc": 1.0}]


def test_plan_reads_well(run: Run, log: str) -> None:
    done = run("plan", log, "--hosts", "web1,web2", "--hosts", "web3", "--add", "web4=2")
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.splitlines()
    assert lines[0] == "Plan: add web4=2"
    assert lines[1] == "3 -> 4 hosts, placement ring (vnodes=512, seed=0)"
    # the file's second-last line is blank: lines 8 and 3,000 are broken
    assert "access.log: combined, 2,998 lines used, 2 unreadable (the first is line 8)," in lines[2]
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines)
    assert any(line.startswith("+ web4       2") and "█" in line for line in lines)
    for words in ("moved by ring", "theoretical minimum", "hash % n", "from  to", "fingerprint "):
        assert any(line.startswith(words) for line in lines), words
    assert "all of them to web4; hash % n would have moved " in last
    assert last.endswith(" %).")
    assert "\x1b" not in done.stdout


def test_plan_of_the_real_log(run: Run) -> None:
    if not REAL.exists():
        pytest.skip(f"the sample log is not here: {REAL.name}")
    hosts = ["web1", "web2", "web3", "web4"]
    found = report(run, "plan", str(REAL), "--hosts", ",".join(hosts), "--add", "web5", stdin=None)
    counts = read_clients([REAL]).counts
    before, after = PlacedHosts.of(hosts).table, PlacedHosts.of([*hosts, "web5"]).table
    movers = [key for key in counts if before.lookup(key) != after.lookup(key)]
    assert found["moved"]["clients"] == len(movers)
    assert found["moved"]["requests"] == sum(counts[key] for key in movers)
    assert found["modulo"]["clients"] == 1398


def test_many_flows_and_long_names_stay_readable(run: Run, log: str) -> None:
    hosts = ",".join(f"ip-10-0-12-{i}.eu-central-1.compute.internal:8080" for i in range(30))
    done = run("plan", log, "--hosts", hosts, "--add", "x", "--placement", "modulo")
    assert done.exit_code == 0, done.output
    *lines, _ = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("smaller flows: --json has them all" in line for line in lines)
    assert all("8080" in line for line in lines if "ip-10" in line)


def test_a_wide_terminal_gets_wide_bars(
    run: Run, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bar() -> int:
        return run("spread", log, "--hosts", "a,b").stdout.count("█")

    narrow = bar()
    monkeypatch.setenv("COLUMNS", "120")
    assert bar() > narrow + 60  # two bars, 40 columns more for each


def test_spread_reads_well(run: Run, log: str) -> None:
    done = run("spread", log, log, "--hosts", "a,b=2,c")
    assert done.exit_code == 0, done.output
    *lines, last = done.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "access.log, access.log: combined, 5,996 lines used, 4 unreadable" in done.stdout
    assert "of access.log" in " ".join(lines[2:4])
    for words in ("peak/mean", "hottest clients", "fingerprint ", "fair", "arc"):
        assert words in done.stdout
    assert " would be the busiest: " in last


def test_spread_works_with_every_kind_of_placement(run: Run) -> None:
    done = run("spread", "-", "--hosts", "a,b", "--placement", "modulo", stdin=CLIENTS)
    assert done.exit_code == 0, done.output
    assert " arc" not in done.stdout
    options = report(
        run, "spread", "-", "--hosts", "a,b", "--option", "vnodes=64", "--option", "seed=5"
    )["options"]
    assert options == {"vnodes": 64, "seed": 5}
    assert report(run, "route", "x", "--hosts", "a,b", "--vnodes", "9")["options"]["vnodes"] == 9


def test_hosts_and_clients_cannot_write_to_the_terminal(run: Run) -> None:
    evil = "\x1b[31m[bold]x[/]"
    stdin = (f"\x9b{evil}\n" * 2).encode()
    for args in (("spread", "-"), ("plan", "-", "--add", f"{evil}2"), ("route", evil)):
        done = run(*args, "--hosts", f"{evil},b", stdin=b"a\xc2\x9bb\n" + stdin + b"c\n" * 30)
        assert done.exit_code == 0, done.output
        assert all(line.isprintable() for line in done.output.splitlines())
        assert "\\x1b[31m[bold]x[/]" in done.output, args


def test_route_explains_the_host(run: Run) -> None:
    table = create("ring", ["a", "b", "c"])
    done = run("route", "session-42", "x", "--hosts", "a,b,c")
    assert done.stdout == f"session-42  {table.lookup('session-42')}\nx           a\n"
    assert done.stderr == f"fingerprint {table.fingerprint}\n"
    lines = run("route", "session-42", "--hosts", "a,b,c", "--explain").stdout.splitlines()
    assert lines[0] == f"session-42 -> {table.lookup('session-42')}"
    assert lines[1].startswith(f"  position  {position('session-42'):,}, ")
    assert lines[3] == f"  walk      {', '.join(table.walk('session-42'))}"
    assert lines[4] == f"fingerprint {table.fingerprint}"


def test_route_takes_the_bytes_that_were_typed(run: Run) -> None:
    typed = os.fsdecode(b"\xff")
    done = run("route", typed, "", "--hosts", "a,b,c,d,e,f,g")
    table = create("ring", list("abcdefg"))
    assert done.stdout.splitlines()[0] == f"\\xff  {table.lookup(bytes([255]))}"


def test_route_explains_without_a_circle(run: Run) -> None:
    done = run("route", "x", "--hosts", "a,b,c", "--placement", "modulo", "--explain")
    assert "position" not in done.stdout
    assert "walk" in done.stdout


def test_sample_log_is_a_log(run: Run) -> None:
    done = run("sample-log", "--lines", "500", "--clients", "40")
    found = report(run, "spread", "-", "--hosts", "a", stdin=done.stdout_bytes)
    assert (found["clients"], found["requests"]) == (40, 500)
    assert run("sample-log", "--lines", "30").stdout.count("\n") == 30


def test_a_cut_gzip_is_reported_and_warned_about(run: Run, tmp_path: Path, log: str) -> None:
    whole = gzip.compress((tmp_path / log).read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    done = run("plan", "cut.gz", "--hosts", "a,b", "--add", "c", "--json")
    assert done.exit_code == 0
    assert done.stderr == (
        "hashring: cut.gz: the gzip data ends too early; what came before the end is counted\n"
    )
    found = json.loads(done.stdout)["log"]
    assert 0 < found["used"] < 2998
    assert found["warnings"]


def test_a_new_secret_moves_all_but_one_in_n(run: Run, log: str) -> None:
    args = ("plan", log, "--hosts", "a,b,c,d", "--new-secret")
    found = report(run, *args, stdin=None)
    assert found["change"] == {"add": {}, "remove": [], "weights": {}, "new_secret": True}
    assert found["fingerprint_after"] is None
    assert found["modulo"] is None
    assert found["minimum"] == 0
    # 1 - the sum of the squares of the shares, which are not quite equal
    assert found["arc"] == pytest.approx(0.75, abs=0.005)
    assert found["moved"]["client_share"] == pytest.approx(0.75, abs=0.1)
    assert sum(flow["arc"] for flow in found["flows"]) == pytest.approx(found["arc"])
    done = run(*args)
    assert "Plan: new secret" in done.stdout
    assert "Clients with a token or a pin stay on their hosts" in done.stdout
    assert run(*args).stdout == done.stdout, "no secret is drawn: a plan can be shown to others"


def test_a_new_secret_and_a_new_host_are_one_plan(run: Run) -> None:
    found = report(run, "plan", "-", "--hosts", "a,b", "--add", "c", "--new-secret")
    assert [host["host"] for host in found["hosts"]] == ["a", "b", "c"]
    assert found["arc"] == pytest.approx(2 / 3, abs=0.01)


def test_only_a_ring_has_a_secret(run: Run) -> None:
    done = run(
        "plan", "-", "--hosts", "a,b", "--placement", "modulo", "--new-secret", stdin=CLIENTS
    )
    assert done.exit_code == 2
    assert "'modulo' has no option 'key_secret'" in " ".join(done.stderr.split())


def test_a_secret_on_the_command_line_is_refused_unrepeated(run: Run) -> None:
    words = "a secret that somebody typed"
    done = run("route", "ann", "--hosts", "a,b", "--option", f"key_secret={words}")
    assert done.exit_code == 2
    assert "key_secret must be bytes" in " ".join(done.stderr.split())
    assert words not in done.output
