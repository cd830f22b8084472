"""Imports point down only: the rooms and their arrows as data, compared with every import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "hashring"
ROOT = Path(__file__).resolve().parents[1]


def rooms(line: str) -> frozenset[str]:
    return frozenset(line.split(" | "))


# A room may import the rooms on the lines below its own; rooms on one line never import each other.
LINES = (
    "__main__",  # python -m hashring
    "cli",
    "gateway",
    "config | export",
    "integrations",
    "affinity | analysis | discovery | health | metrics",
    "balancer",
    "pool",
    "placement",
    "load | ring | strategies",
    "hosts | keys | tls",
    "listeners | registry | service | validators",
    "net",
    "errors | locks",
    "forks | text",
)
# These may import less than all that is below them.
NARROWER = {
    "integrations": "affinity | balancer | pool | placement | load | ring | strategies",
    "pool": "placement | ring",
    "placement": "ring",
}
# what every room above them may import
GROUND = rooms(
    "hosts | keys | tls | listeners | registry | service | validators | net | errors | locks"
    " | forks | text"
)
FRONT_DOOR = "the front door"  # hashring/__init__.py: shows what the rooms up to config have
TESTING = "testing"  # imports what it tests
OUTSIDE = frozenset({"benchmarks", "notebooks", "tests"})  # the library never imports these

# ring/ is arithmetic: no lock, clock, thread, process, network or log. Its batches use two threads.
RING_BANS = rooms(
    "_thread | asyncio | concurrent | http | logging | multiprocessing | queue | sched | select"
    " | selectors | signal | socket | socketserver | ssl | subprocess | threading | time | urllib"
)
RING_MAY = f"{PACKAGE}.ring.batch"


def arrows() -> dict[str, frozenset[str]]:
    """Each room and the rooms it may import."""
    table: dict[str, frozenset[str]] = {}
    for line in reversed(LINES):
        below = frozenset(table)
        for room in rooms(line):
            table[room] = rooms(NARROWER[room]) | GROUND if room in NARROWER else below
    shown = frozenset(table) - {"__main__", "cli", "gateway"}
    table["cli"] |= {FRONT_DOOR}
    table[TESTING] = frozenset(table) - {"__main__", "cli"} | {FRONT_DOOR}
    table[FRONT_DOOR] = shown
    return table


class Import(NamedTuple):
    """One import: ``line`` of the module ``source`` names the module ``target``."""

    source: str
    target: str
    line: int


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package under ``root``, by its dotted name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def targets(node: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    """``(module, name)`` for all that ``node`` imports; a leading dot points to ``package``."""
    match node:
        case ast.Import(names=names):
            yield from ((alias.name, "") for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            base = ".".join([*above, *([module] if module else [])])
            yield from ((base, alias.name) for alias in names)
        case ast.Call(
            func=ast.Name(id=called) | ast.Attribute(attr=called),
            args=[ast.Constant(value=str(module)), *_],
        ) if called in ("import_module", "__import__"):
            yield module, ""


def imports(root: Path) -> Iterator[Import]:
    """Every import in the package, those inside functions and ``if TYPE_CHECKING`` too."""
    known = modules(root)
    for source, path in known.items():
        package = source if path.name == "__init__.py" else source.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for base, name in targets(node, package):
                target = f"{base}.{name}" if f"{base}.{name}" in known else base
                yield Import(source, target, getattr(node, "lineno", 0))


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else FRONT_DOOR


def objection(found: Import, table: dict[str, frozenset[str]]) -> str | None:
    """Why this import must not be, or None."""
    top = found.target.split(".")[0]
    room = room_of(found.source)
    if top in OUTSIDE:
        return f"the library never imports {top}"
    if room == "ring" and top in RING_BANS and found.source != RING_MAY:
        return f"ring/ uses no {top}: only {RING_MAY} may"
    other = room_of(found.target)
    if top != PACKAGE or room == other or room not in table or other in table[room]:
        return None
    if other not in table:
        return f"the room {other!r} is not in the table"
    return f"{room} may import only {', '.join(sorted(table[room])) or 'no other room'}"


def wrong_imports(root: Path) -> list[str]:
    table = arrows()
    return [
        f"{found.source}, line {found.line}, imports {found.target}: {why}"
        for found in imports(root)
        if (why := objection(found, table))
    ]


def unknown_rooms(root: Path) -> list[str]:
    there = {room_of(module) for module in modules(root)}
    return [
        f"the room {room!r} is unknown: add it to the table in tests/test_architecture.py"
        for room in sorted(there - set(arrows()))
    ]


def cycle(root: Path) -> list[str]:
    """The modules of one cycle, first and last the same; empty when there is none."""
    graph: dict[str, set[str]] = {module: set() for module in modules(root)}
    for found in imports(root):
        if found.target in graph and found.target != found.source:
            graph[found.source].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_imports_point_down_only() -> None:
    problems = wrong_imports(ROOT)
    assert not problems, "\n".join(problems)


def test_every_room_is_in_the_table() -> None:
    assert modules(ROOT), "no modules found: the checker looks in the wrong place"
    problems = unknown_rooms(ROOT)
    assert not problems, "\n".join(problems)


def test_imports_have_no_cycle() -> None:
    found = cycle(ROOT)
    assert not found, "a cycle: " + " -> ".join(found)


def test_the_guide_for_contributors_has_the_same_rooms() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = page.partition("## Imports point down only")[2]
    assert section.split("```text\n")[1].split("\n```")[0].splitlines() == list(LINES)
    table = page.partition("## Where things are")[2].partition("\n## ")[0]
    named = {
        room.rstrip("/").removesuffix(".py") for room in re.findall(r"`(\w+(?:/|\.py))`", table)
    }
    there = set(arrows()) - {FRONT_DOOR}
    assert there - named - {"metrics"} == set()


# The checker itself, on small trees that were made up for it.


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = root / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("balancer.py", "from hashring.pool import Pool"),
        ("balancer/__init__.py", "from . import lease"),
        ("pool.py", "from hashring.placement import create"),
        ("cli/plan.py", "from hashring import HashRing\nimport hashring.gateway.app"),
        ("ring/batch.py", "import threading"),
        ("__init__.py", "from hashring.balancer import LoadBalancer"),
        ("testing/fakes.py", "from hashring import LoadBalancer"),
        ("ring/ring.py", "import timeit, sortedcontainers"),
    ],
)
def test_what_is_allowed(tmp_path: Path, name: str, source: str) -> None:
    assert wrong_imports(tree(tmp_path, {name: source})) == []


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("hosts.py", "import hashring.keys", "hosts may import only"),
        ("pool.py", "def f():\n    import hashring.load", "line 2, imports hashring.load"),
        ("pool.py", "if TYPE_CHECKING:\n    import hashring.balancer", "pool may import only"),
        ("pool.py", "from . import balancer", "pool may import only"),
        ("ring/ring.py", "from .. import strategies", "imports hashring.strategies"),
        ("metrics.py", "import_module('hashring.health.monitor')", "metrics may import only"),
        ("integrations/redis.py", "import hashring.discovery.dns", "integrations may import only"),
        ("gateway/app.py", "import hashring.cli.main", "gateway may import only"),
        ("gateway/app.py", "import hashring.testing", "gateway may import only"),
        ("testing/fakes.py", "import hashring.cli", "testing may import only"),
        ("keys.py", "from hashring import Host", "keys may import only"),
        ("keys.py", "import hashring.nowhere", "the room 'nowhere' is not in the table"),
        ("cli/bench.py", "import benchmarks.lookup", "the library never imports benchmarks"),
        ("ring/index.py", "from time import monotonic", "ring/ uses no time"),
    ],
)
def test_what_is_not_allowed(tmp_path: Path, name: str, source: str, why: str) -> None:
    siblings = dict.fromkeys(("balancer.py", "pool.py", "strategies/__init__.py"), "")
    (problem,) = wrong_imports(tree(tmp_path, siblings | {name: source}))
    assert why in problem


def test_an_unknown_room_is_named(tmp_path: Path) -> None:
    (problem,) = unknown_rooms(tree(tmp_path, {"attic/box.py": "", "keys.py": ""}))
    assert "'attic'" in problem
    assert "add it to the table" in problem


def test_a_cycle_is_shown(tmp_path: Path) -> None:
    files = {
        "ring/ring.py": "import hashring.ring.index",
        "ring/index.py": "def late():\n    from hashring.ring import arcs",
        "ring/arcs.py": "from hashring.ring.ring import HashRing",
    }
    found = cycle(tree(tmp_path, files))
    assert found[0] == found[-1]
    assert set(found) == {"hashring.ring.ring", "hashring.ring.index", "hashring.ring.arcs"}


def test_a_chain_is_not_a_cycle(tmp_path: Path) -> None:
    files = {"ring/__init__.py": "from hashring.ring.ring import HashRing", "ring/ring.py": ""}
    assert cycle(tree(tmp_path, files)) == []
