"""How long does ``import hashring`` take?  Fresh processes beside a bare interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks._process import launch
from benchmarks._report import Table, at_most, row

__all__ = ["run"]

_BARE = ("-c", "pass")
_IMPORT = ("-c", "import hashring")
_COMMAND = ("-m", "hashring", "--version")
_MS = 1e3


def run(quick: bool) -> Iterator[Table]:
    """The tables of this benchmark."""
    kinds = {"bare": _BARE, "import": _IMPORT, "command": _COMMAND}
    for arguments in kinds.values():
        launch(*arguments)  # compiles what changed, and fills the system's cache
    rounds = [
        {kind: launch(*arguments).seconds * _MS for kind, arguments in kinds.items()}
        for _ in range(3 if quick else 15)
    ]
    more = median(one["import"] - one["bare"] for one in rounds)
    bare, whole, command = (median(one[kind] for one in rounds) for kind in kinds)
    rows = [
        row("import hashring", more, "ms", at_most(60), detail="without the interpreter"),
        row("the whole process", whole, "ms", detail=f"a bare interpreter {bare:.1f} ms"),
        row("hashring --version", command, "ms", detail="the whole process"),
    ]
    yield Table("Start", rows, f"Medians of {len(rounds)} fresh processes of each kind, in turns.")
