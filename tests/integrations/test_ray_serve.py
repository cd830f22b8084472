"""A deployment of Ray Serve keeps its sessions through growth and the loss of a replica."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUTER = "hashring.integrations.ray_serve:StickyRouter"


# With successors a request leaves its replica when Serve gets no answer about its queue within
# 0.1 s, which happens on a busy machine; without them it waits.
def run(options: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What 400 sessions of each application saw on 4 replicas, on 5, and after a loss."""
    command = [sys.executable, str(ROOT / "tests/integrations/ray_app.py"), ROUTER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    with (Path(tempfile.gettempdir()) / "hashring-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one cluster at a time: each has a dozen processes
        done = subprocess.run(
            [*command, json.dumps(options)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    return found


@pytest.mark.slow
def test_sessions_through_growth_and_a_replacement() -> None:
    pins = {"pins": 100_000, "new_sessions": "least-loaded"}
    found = run({"slots": {"fallbacks": 0}, "pins": {"fallbacks": 0, **pins}})
    by_slot, by_pin = found["slots"], found["pins"]
    assert by_slot["slots"] == [0, 1, 2, 3]
    assert by_slot["unstable"] == 0
    assert by_slot["moved_by_growth"] <= 88  # a fifth is 80; Ray's own consistent hashing moved 88
    assert by_slot["others_moved_by_replacement"] == 0
    assert by_slot["inherited"] == by_slot["of_the_replaced"] > 0
    assert by_slot["burst_replicas"] == 1  # 150 requests of one session at the same time
    assert by_slot["anonymous_replicas"] > 1
    assert by_pin["unstable"] == 0
    assert by_pin["moved_by_growth"] == 0
    assert by_pin["others_moved_by_replacement"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vnode": 3}, "unknown request_router_kwargs: vnode"),
        ({"name_by": "rank"}, "name_by must be 'slot' or 'replica', got 'rank'"),
        ({"new_sessions": "random"}, "new_sessions must be 'owner' or 'least-loaded'"),
        ({"new_sessions": "least-loaded"}, "new_sessions='least-loaded' needs pins"),
        ({"fallbacks": True}, "fallbacks must be an int of at least 0"),
        ({"pins": -1}, "pins must be"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    script = (
        "import sys, json; from hashring.integrations.ray_serve import StickyRouter;"
        "router = StickyRouter.__new__(StickyRouter);"
        "router.initialize_state(**json.loads(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"ConfigError: {message}" in done.stderr
