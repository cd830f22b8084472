"""The generated parts of the pages; ``python -m tests.docs.pages`` writes them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hashring import Host, placement
from hashring.cli import placements
from hashring.testing import moves

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
CHOOSING = DOCS / "choosing-a-placement.md"
WAYS = DOCS / "three-ways.md"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

FIVE = [Host(f"127.0.0.1:{port}") for port in range(9001, 9006)]
KEYS = [f"user:{number}" for number in range(2000)]
ADDRESSES = [f"10.{number >> 8}.{number & 255}.7" for number in range(2000)]
HEADS = (
    "| placement | third host removed | third host down | first two swapped | first weight 1 to 2 |"
)

# What the front page shows of the results: section, row, and a plain name for it.
SHOWN = (
    ("Balance", "10 hosts x 512, the default", "busiest of 10 hosts over the mean"),
    (
        "ring.lookup(str) at 160 vnodes",
        "100 hosts, hot: uhashring over ours",
        "look-up, uhashring over ours",
    ),
    ("ring.assign(strings)", "100 hosts x 512", "a column of keys placed"),
    ("add + first lookup", "uhashring over ours", "a host joins 1,000, the same"),
    ("Memory a vnode", "HashRing, 1,000 hosts x 160, tracemalloc", "memory a vnode"),
    ("hashring plan", "plain, time", "`plan` of 1,000,000 log lines"),
    ("Tokens and secrets", "check a token", "check a token"),
    ("Added latency", "gateway, p50", "gateway: latency added, median"),
    ("Added latency", "nginx, p50", "nginx on the same machine"),
    ("A dead host is out", "kill -9", "a killed host is out, longest of 20"),
)


class Row(NamedTuple):
    """One measurement of the results."""

    section: str
    what: str
    measured: str
    target: str
    verdict: str


def guarantees() -> str:
    return placements.markdown(list(placements.list_placements()))


def stray_moves() -> str:
    rows = ("| " + " | ".join(row) + " |" for row in map(_row, placement.names()))
    return "\n".join([HEADS, "|---" + "|---:" * 4 + "|", *rows]) + "\n"


def _row(name: str) -> Iterator[str]:
    """How many keys each change moves although it does not concern them."""
    table = placement.create(name, FIVE)
    keys = ADDRESSES if table.lookup(KEYS[0]) is None else KEYS
    first, second, third, *rest = FIVE
    yield f"`{name}`"
    for after in (placement.create(name, [first, second, *rest]), table.without([third.name])):
        found = moves(table, after, keys)
        yield f"{len(found.strays):,} of {found.staying:,}"
    yield f"{moves(table, placement.create(name, [second, first, third, *rest]), keys).moved:,}"
    heavier = placement.create(name, [first.with_weight(2), second, third, *rest])
    found = moves(table, heavier, keys)
    yield f"{sum(n for (_, to), n in found.flows.items() if to != first.name):,}"


def measurements(text: str) -> Iterator[Row]:
    """The rows of every table whose columns are what, measured, target and verdict."""
    section = ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 4 and cells[0] not in ("what", "---"):
            yield Row(section, *cells)


def results(text: str | None = None) -> str:
    """The chosen measurements, and every one that misses its target."""
    text = RESULTS.read_text(encoding="utf-8") if text is None else text
    rows = list(measurements(text))
    found = {(row.section, row.what): row for row in rows}
    machine, python, *_ = re.findall(r"^- (.+)$", text, re.MULTILINE)
    lines = ["| what | measured | target |", "|---|---|---|"]
    for section, what, name in SHOWN:
        assert (section, what) in found, f"{RESULTS.name} has no {what!r} in {section!r}"
        row = found[section, what]
        lines.append(f"| {name} | {row.measured} | {row.target or 'none'} |")
    missed = [row for row in rows if row.verdict.startswith("MISSED")]
    targets = sum(bool(row.target) for row in rows)
    summary = f"{targets - len(missed)} of {targets} targets are met. " + (
        "Missed: "
        + "; ".join(
            f"{row.section}, {row.what}: {row.measured.split(' (')[0]} for {row.target}"
            for row in missed
        )
        + "."
        if missed
        else ""
    )
    closing = (
        f"Measured on {machine} with {python}. {summary.strip()} "
        "[All results](benchmarks/RESULTS.md); `make bench` repeats them."
    )
    wrapped = textwrap.wrap(closing, 118, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, "", *wrapped]) + "\n"


def trace() -> str:
    """The policies on the trace, as `docs/pictures/measure_trace.py` found them."""
    found = json.loads((DOCS / "pictures" / "trace.json").read_text(encoding="utf-8"))
    lines = [
        "| policy | reuse | x1 mean / p99 | x1.4 | x1.8 | turns moved | one host stalls: p99 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in found.items():
        times = (f"{runs[x]['mean']:.2f} / {runs[x]['p99']:.1f}" for x in ("x1", "x1.4", "x1.8"))
        moved = sorted({f"{100 * runs[x]['moved']:.0f}" for x in ("x1", "x1.8")}, key=int)
        stall = f"{runs['stall']['p99']:.0f}"
        lines.append(
            f"| {name} | {100 * runs['x1']['reuse']:.1f} % | {' | '.join(times)} "
            f"| {' to '.join(moved)} % | {stall} |"
        )
    return "\n".join(lines) + "\n"


BLOCKS: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    CHOOSING: {"guarantees": guarantees, "moves": stray_moves},
    README: {"results": results},
    WAYS: {"trace": trace},
}


def regenerated(page: Path, text: str) -> str:
    """The page with each marked block as the code writes it now."""
    for name, write in BLOCKS[page].items():
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = block.subn(lambda m, w=write: f"{m[1]}{w()}{m[2]}", text)  # type: ignore[misc]  # a default binds it
        assert count == 1, f"{page.name} has {count} blocks called {name}"
    return text


if __name__ == "__main__":
    for page in BLOCKS:
        page.write_text(regenerated(page, page.read_text(encoding="utf-8")), encoding="utf-8")
