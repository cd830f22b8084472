"""What was a report made of?  The log and the placement, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hashring.analysis._formats import show as shortened

if TYPE_CHECKING:
    from hashring.analysis import Clients
    from hashring.cli._options import Pool

__all__ = ["facts", "kind_lines", "log_parts", "placement_text", "shortened"]


def facts(pool: Pool, hosts: str, clients: Clients) -> list[str]:
    """The lines under the title of a page."""
    read = "".join(log_parts(clients))
    return [placement_text(pool, hosts), read, *kind_lines(clients), *clients.warnings]


def log_parts(clients: Clients) -> tuple[str, str, str]:
    """What was read: sources, format and lines used; lines not used; clients."""
    sources = ", ".join(shortened(source, 40) for source in clients.sources[:3])
    more = len(clients.sources) - 3
    sources += f" and {more:,} more" if more > 0 else ""
    bad = f"{clients.unreadable:,} unreadable"
    if clients.first_unreadable is not None:
        where = _line(clients, clients.first_unreadable, clients.first_unreadable_in)
        bad += f" (the first is {where})"
    before = f"{sources}: {clients.format}, {clients.used:,} lines used, "
    return before, bad, f", {len(clients.counts):,} clients"


def kind_lines(clients: Clients) -> list[str]:
    """Why lines were not used: each kind, how many, and where the first is."""
    return [
        f"{bad.lines:,} {bad.kind}, "
        + "the first is " * (bad.lines > 1)
        + _line(clients, bad.first, bad.source)
        for bad in clients.kinds
    ]


def _line(clients: Clients, number: int, source: str | None) -> str:
    several = len(clients.sources) > 1
    return f"line {number:,}" + (f" of {shortened(source or '', 40)}" if several else "")


def placement_text(pool: Pool, hosts: str) -> str:
    """Which hosts, under which placement, with which options."""
    settings = ", ".join(f"{k}={v}" for k, v in pool.settings().items())
    return f"{hosts}, placement {pool.placement}" + (f" ({settings})" if settings else "")
