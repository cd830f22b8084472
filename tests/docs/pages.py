"""Which parts of the pages are made by code?  ``python -m tests.docs.pages`` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hashring import Host, placement
from hashring.cli import placements
from hashring.testing import moves

__all__ = ["CHOOSING", "DOCS", "regenerated"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHOOSING = DOCS / "choosing-a-placement.md"

FIVE = [Host(f"127.0.0.1:{port}") for port in range(9001, 9006)]
KEYS = [f"user:{number}" for number in range(2000)]
ADDRESSES = [f"10.{number >> 8}.{number & 255}.7" for number in range(2000)]
HEADS = (
    "| placement | third host removed | third host down | first two swapped | first weight 1 to 2 |"
)


def guarantees() -> str:
    return placements.markdown(list(placements.listed()))


def stray_moves() -> str:
    rows = ("| " + " | ".join(row) + " |" for row in map(_row, placement.names()))
    return "\n".join([HEADS, "|---" + "|---:" * 4 + "|", *rows]) + "\n"


def _row(name: str) -> Iterator[str]:
    """How many keys each change moves that it does not concern."""
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


BLOCKS = {"guarantees": guarantees, "moves": stray_moves}


def regenerated(text: str) -> str:
    """The page with each marked block as the code writes it now."""
    for name, write in BLOCKS.items():
        block = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = block.subn(lambda m, w=write: f"{m[1]}{w()}{m[2]}", text)  # type: ignore[misc]  # a default binds it
        assert count == 1, f"{CHOOSING.name} has {count} blocks called {name}"
    return text


if __name__ == "__main__":
    CHOOSING.write_text(regenerated(CHOOSING.read_text(encoding="utf-8")), encoding="utf-8")
