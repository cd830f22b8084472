"""Measures the table and picture of "Three ways to be sticky": ``python measure_trace.py TRACE``.

TRACE is ``conversation_trace.jsonl`` of Mooncake (kvcache-ai/Mooncake, FAST25-release/traces),
plain or gzip. The result is ``trace.json`` beside this file. It takes some minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

from hashring.analysis.serving import serve
from hashring.analysis.traces import read_trace

RESULT = Path(__file__).with_name("trace.json")
POLICIES = {
    "round robin": "round-robin",
    "ring": "ring",
    "ring, bounded loads": "ring+bounded",
    "fewest sessions, remembered": "fewest-sessions+pins",
    "least connections, remembered": "least-connections+pins",
    "least outstanding, remembered": "least-outstanding+pins",
    "the same with patience 5": "least-outstanding+pins+patience",
    "the same with groups, too": "least-outstanding+pins+patience+group",
    "upper mark: sees every cache": "cache-aware",
}
RATES = (1.0, 1.4, 1.8)
SEEDS = (1, 2)
SPREAD = 3.0  # the trace rounds arrivals to 3 s


def main(trace: str) -> None:
    """Write the means of all seeds."""
    read = read_trace(trace, "mooncake")
    runs = {f"x{rate:g}": {"rate": rate} for rate in RATES} | {"stall": {"scenario": "stall"}}
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in POLICIES}
    for run, options in runs.items():
        reports = [
            serve(read, 8, POLICIES.values(), spread=SPREAD, seed=seed, **options) for seed in SEEDS
        ]
        for position, name in enumerate(POLICIES):
            results = [report.policies[position] for report in reports]
            found[name][run] = {
                "mean": round(fmean(each.ttft["mean"] for each in results), 2),
                "p99": round(fmean(each.ttft["p99"] for each in results), 1),
                "reuse": round(fmean(each.reuse for each in results), 3),
                "moved": round(fmean(each.moved_turns for each in results), 3),
            }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
