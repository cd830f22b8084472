"""Which way of being sticky a trace or a log gets."""

from __future__ import annotations

import json
import random
from pathlib import Path

from click.testing import CliRunner

from hashring.analysis import Arrivals
from hashring.analysis.advise_trace import WAYS, advise_trace, trace_of_log
from hashring.analysis.model_host import Engine
from hashring.analysis.traces import Trace, TraceRequest
from hashring.cli._app import app


def trace(pause: float) -> Trace:
    rng = random.Random(1)
    requests, at = [], 0.0
    for number in range(600):
        at += rng.expovariate(1 / pause)
        session = rng.randrange(150)
        requests.append(TraceRequest(at, session, rng.choice([500, 12_000]), 20, (session, number)))
    return Trace(tuple(requests), 512, "jsonl")


def test_queues_are_a_reason_to_place_by_load() -> None:
    busy = advise_trace(trace(0.35), 4, engine=Engine(8000.0, 40.0))
    assert busy.policy.startswith("least-outstanding+pins")
    assert "by hash it is" in busy.sentence()


def test_idle_hosts_are_a_reason_for_the_ring_or_its_pins() -> None:
    idle = advise_trace(trace(60.0), 4, engine=Engine(1e6, 1e6))
    assert idle.policy in ("ring", "ring+pins")
    assert [row[0] for row in idle.tables()[0].rows] == list(WAYS)


def test_a_log_is_replayed_as_sessions_without_prompts() -> None:
    found = trace_of_log(Arrivals.of([(5.0, "ann"), (7.0, "bob"), (9.5, "ann")]))
    assert [(each.at, each.session, each.blocks) for each in found.requests] == [
        (0.0, 0, ()),
        (2.0, 1, ()),
        (4.5, 0, ()),
    ]


def test_the_command_reads_traces_and_logs(tmp_path: Path) -> None:
    lines = [
        {"timestamp": 400 * n, "input_length": 3000, "output_length": 5, "hash_ids": [0, n % 9, n]}
        for n in range(1, 80)
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    log = tmp_path / "access.log"
    log.write_text(
        "".join(
            f'192.0.2.{n % 7} - - [01/Mar/2026:10:{n:02d}:00 +0000] "GET / HTTP/1.1" 200 5\n'
            for n in range(50)
        ),
        encoding="utf-8",
    )
    for source, requests in ((path, 79), (log, 50)):
        done = CliRunner().invoke(app, ["advise", str(source), "--hosts", "3", "--json"])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert report["policy"] in WAYS
        assert report["steady"]["requests"] == requests
    done = CliRunner().invoke(app, ["advise", str(path), "--hosts", "3"])
    assert "Use " in done.stdout
