"""``hashring demo``: what happens to sessions while the pool changes?"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from hashring.gateway.demo import Stage

__all__ = ["command"]

_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended: 128 + SIGINT


@click.command("demo")
@click.option(
    "--clients",
    type=click.IntRange(1, 500),
    default=200,
    show_default=True,
    help="How many keep a session.",
)
@click.option("--stay", is_flag=True, help="Leave it running at the end, until Ctrl-C.")
def command(clients: int, stay: bool) -> None:
    """Four hosts, a gateway and 200 clients; a host joins, one drains, one is killed and returns.

    The hosts are processes on free ports of 127.0.0.1 that count in memory how often each session
    has called: what a request at the wrong host loses is seen at once. Exits 0 if no session broke
    that could be kept and no request failed, else 1.
    """
    from rich.console import Console

    for name in ("hashring", "uvicorn"):  # a host that dies is the story's to tell
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
    """Wait for the story or for a signal; redraw the view, if there is one, all the while."""
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

    from hashring.cli._stage import picture

    return Live(picture(stage, 0.0), console=out, auto_refresh=False, transient=True)


async def _draw(stage: Stage, live: Live) -> None:
    from hashring.cli._stage import picture

    before, at = stage.crowd.requests, time.monotonic()
    while True:
        await asyncio.sleep(0.25)
        now = time.monotonic()
        live.update(picture(stage, (stage.crowd.requests - before) / (now - at)), refresh=True)
        before, at = stage.crowd.requests, now


def _print_table(out: Console, stage: Stage) -> None:
    from hashring.cli._render import sheet

    table = sheet("event", "sessions", "kept", "broken", "minimum", "broken by hash % n")
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
