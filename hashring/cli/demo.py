"""``hashring demo``: sessions while hosts join, drain and fail."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from hashring.gateway.demo import Stage

_COLOURS = {"up": "green", "draining": "yellow", "down": "red"}
_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended: 128 + SIGINT


@click.command("demo")
@click.option(
    "--clients",
    type=click.IntRange(1, 500),
    default=200,
    show_default=True,
    help="Number of clients with a session.",
)
@click.option("--stay", is_flag=True, help="Keep running at the end, until Ctrl-C.")
def command(clients: int, stay: bool) -> None:
    """Watch sessions while hosts join, drain and fail.

    Starts a gateway, clients and four hosts on free ports of 127.0.0.1. A host joins, one drains,
    one is killed and returns. Each host counts in memory the requests of each session, so that a
    request at the wrong host is noticed. Exits 0 if every session that could be kept was kept and
    no request failed, else 1.
    """
    from rich.console import Console

    for name in ("hashring", "uvicorn"):  # the scenario itself reports a killed host
        logging.getLogger(name).addHandler(logging.NullHandler())
    out = Console(markup=False, highlight=False, emoji=False)
    began = time.monotonic()
    code = _run(_perform(out, clients, stay, began))
    if code:
        raise SystemExit(code)


def _run(main: Any) -> int:
    try:
        import uvloop
    except ImportError:  # it is not made for every system
        code: int = asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(main)
    return code


async def _perform(out: Console, size: int, stay: bool, began: float) -> int:
    from hashring.gateway.demo import staged

    def tell(line: str) -> None:
        style = "" if line.startswith(" ") else "bold"
        out.print(f"{time.monotonic() - began:5.1f} s  {line}", style=style, soft_wrap=True)
        out.file.flush()  # or a pipe would get all of it at the end

    async with staged(size, tell) as stage:
        tell(f"gateway at http://{stage.listen}, its state at http://{stage.admin}/state")
        with _view(out, stage) as live:
            await _until_stopped(stage, stage.story.run(), live)
        if stage.stop.is_set():
            return _INTERRUPTED
        _print_table(out, stage)
        if stay:
            _print_addresses(out, stage)
            await stage.stop.wait()
        return 0 if stage.story.as_good_as_possible else 1


async def _until_stopped(stage: Stage, story: Any, live: Live | None) -> None:
    """Wait for the scenario or for a signal; redraw the view, if there is one, meanwhile."""
    tasks = [asyncio.create_task(story), asyncio.create_task(stage.stop.wait())]
    drawing = asyncio.create_task(_draw(stage, live)) if live is not None else None
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, drawing):
        if task is not None and not task.done():
            task.cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]


def _view(out: Console, stage: Stage) -> AbstractContextManager[Live | None]:
    if not out.is_terminal:
        return nullcontext()
    from rich.live import Live

    return Live(_picture(stage, 0.0), console=out, auto_refresh=False, transient=True)


def _picture(stage: Stage, rate: float) -> RenderableType:
    """The present step, each host with its state and sessions, the counts so far."""
    from rich.console import Group
    from rich.text import Text

    from hashring.analysis._rich import grid
    from hashring.cli._render import Bar

    lb, crowd = stage.gateway.lb, stage.crowd
    sessions = crowd.sessions
    table = grid(["host", "state", "sessions", "answered", "anonymous"], left=2)
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


async def _draw(stage: Stage, live: Live) -> None:
    before, at = stage.crowd.requests, time.monotonic()
    while True:
        await asyncio.sleep(0.25)
        now = time.monotonic()
        live.update(_picture(stage, (stage.crowd.requests - before) / (now - at)), refresh=True)
        before, at = stage.crowd.requests, now


def _print_table(out: Console, stage: Stage) -> None:
    from hashring.analysis._rich import grid

    table = grid(["event", "sessions", "kept", "broken", "minimum", "broken by hash % n"])
    for outcome in stage.story.outcomes:
        numbers = (outcome.sessions, outcome.kept, outcome.broken, outcome.minimum, outcome.modulo)
        table.add_row(outcome.event, *(f"{number:,}" for number in numbers))
    out.print()
    out.print(table)
    crowd = stage.crowd
    failed = sum(crowd.failures.values())
    kinds = ", ".join(f"{count} x {kind}" for kind, count in crowd.failures.most_common(3))
    out.print(
        f"\n{crowd.requests:,} requests, {sum(crowd.anonymous.values()):,} of them anonymous; "
        f"{failed:,} failed{f' ({kinds})' if kinds else ''}, "
        f"{stage.gateway.stats['retries']:,} tried again at another host"
    )
    out.print("minimum: sessions whose state died with their host", style="dim")


def _print_addresses(out: Console, stage: Stage) -> None:
    out.print(f"\ngateway  http://{stage.listen}", style="bold")
    out.print(f"state    http://{stage.admin}/state")
    for host in stage.gateway.lb.hosts:
        out.print(f"{host.name:<8} http://{host.address}  {stage.gateway.lb.state(host)}")
    out.print("Ctrl-C ends all of it")
    out.file.flush()
