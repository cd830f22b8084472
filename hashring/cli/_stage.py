"""What does the demo look like while it runs?  A line for each host, drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hashring.cli._render import Bar, sheet

if TYPE_CHECKING:
    from hashring.gateway.demo import Stage

__all__ = ["picture"]

_COLOURS = {"up": "green", "draining": "yellow", "down": "red"}


def picture(stage: Stage, rate: float) -> RenderableType:
    """The stage now: what happens, each host's state and sessions, the counts so far."""
    lb, crowd = stage.gateway.lb, stage.crowd
    sessions = crowd.sessions
    table = sheet("host", "state", "sessions", "answered", "anonymous", left=2)
    table.expand = True
    table.add_column("", ratio=1)
    most = max([*sessions.values(), 1])
    for host in lb.hosts:
        state = lb.state(host)
        count = sessions[host.name]
        table.add_row(
            host.name,
            Text(state, style=_COLOURS[state]),
            f"{count:,}",
            f"{crowd.served[host.name]:,}",
            f"{crowd.anonymous[host.name]:,}",
            Bar(count, count, most),
        )
    failed = sum(crowd.failures.values())
    line = Text(f"{rate:,.0f} requests/s, {crowd.requests:,} so far, ")
    line.append(f"{failed:,} failed", style="red" if failed else "")
    line.append(f", {crowd.broken:,} sessions broken")
    return Group(Text(""), Text(stage.story.now, style="bold"), table, line)
