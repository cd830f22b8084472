"""The scripts of the guide run, and their output is that of the pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def output(name: str) -> list[str]:
    """The lines that the script prints; it must end well."""
    script = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_known_clients_move_only_when_their_host_goes() -> None:
    counted = {}
    for line in output("known_clients.py"):
        found = re.fullmatch(r"(.+?) +(\d+) moved +(\{.*\})", line)
        assert found, line
        counted[found[1]] = int(found[2]), ast.literal_eval(found[3])
    moved = {after: count for after, (count, _) in counted.items()}
    homes = {after: hosts for after, (_, hosts) in counted.items()}
    assert moved["web4 joins"] == 0, "growth moves no client with a token"
    assert moved["web1 drains for 0.5 s"] == 0
    assert moved["its deadline has passed"] == homes["web1 drains for 0.5 s"]["web1"]
    lost = homes["its deadline has passed"]["web2"]
    assert moved["web2 killed, web1 is back"] == lost > 0
    assert moved["web2 is back"] == 0, "a client that was placed again stays there"
    assert "web2" not in homes["web2 is back"]


def test_crafted_ids_hit_one_host_until_there_is_a_secret() -> None:
    without, keyed = output("crafted_ids.py")
    assert re.search(r"busiest is web7: 10\.00 times", without)
    times = float(re.findall(r"([\d.]+) times", keyed)[0])
    assert 1.0 <= times <= 1.3


def test_streaming_engines_show_what_waits() -> None:
    found = [
        re.search(r"(\d+) requests, (\d+) moved; .* fullest host ([\d.]+);", line)
        for line in output("streaming_engines.py")
    ]
    (requests, moved, computed), (again, also_moved, early) = (
        line.groups() for line in found if line
    )
    assert (requests, again, moved, also_moved) == ("180", "180", "0", "0")
    assert float(computed) > 5, "the gateway sees the prompts that wait"
    assert float(early) < float(computed) / 2, "after an early byte it sees none of them"
