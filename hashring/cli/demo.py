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

    from hashring.gateway.demo import DemoRunner

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

    # the scenario itself reports a killed host
    logging.getLogger("hashring").addHandler(logging.NullHandler())
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
    from hashring.gateway.demo import demo_runner

    def tell(line: str) -> None:
        style = "" if line.startswith(" ") else "bold"
        out.print(f"{time.monotonic() - began:5.1f} s  {line}", style=style, soft_wrap=True)
        out.file.flush()  # or a pipe would get all of it at the end

    async with demo_runner(size, tell) as runner:
        tell(f"gateway at http://{runner.listen}, its state at http://{runner.admin}/state")
        with _view(out, runner) as live:
            await _until_stopped(runner, runner.scenario.run(), live)
        if runner.stop.is_set():
            return _INTERRUPTED
        _print_table(out, runner)
        if stay:
            _print_addresses(out, runner)
            await runner.stop.wait()
        return 0 if runner.scenario.as_good_as_possible else 1


async def _until_stopped(runner: DemoRunner, scenario: Any, live: Live | None) -> None:
    """Wait for the scenario or for a signal; redraw the view, if there is one, meanwhile."""
    tasks = [asyncio.create_task(scenario), asyncio.create_task(runner.stop.wait())]
    drawing = asyncio.create_task(_draw(runner, live)) if live is not None else None
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, drawing):
        if task is not None and not task.done():
            task.cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]


def _view(out: Console, runner: DemoRunner) -> AbstractContextManager[Live | None]:
    if not out.is_terminal:
        return nullcontext()
    from rich.live import Live

    return Live(_picture(runner, 0.0), console=out, auto_refresh=False, transient=True)


def _picture(runner: DemoRunner, rate: float) -> RenderableType:
    """The present step, each host with its state and sessions, the counts so far."""
    from rich.console import Group
    from rich.text import Text

    from hashring.analysis._rich import grid
    from hashring.cli._render import Bar

    lb, clients = runner.gateway.lb, runner.clients
    sessions = clients.sessions
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
            f"{clients.served[host.name]:,}",
            f"{clients.anonymous[host.name]:,}",
            Bar(count, count, most),
        )
    failed = sum(clients.failures.values())
    line = Text(f"{rate:,.0f} requests/s, {clients.requests:,} so far, ")
    line.append(f"{failed:,} failed", style="red" if failed else "")
    line.append(f", {clients.broken:,} sessions broken")
    return Group(Text(""), Text(runner.scenario.now, style="bold"), table, line)


async def _draw(runner: DemoRunner, live: Live) -> None:
    before, at = runner.clients.requests, time.monotonic()
    while True:
        await asyncio.sleep(0.25)
        now = time.monotonic()
        live.update(_picture(runner, (runner.clients.requests - before) / (now - at)), refresh=True)
        before, at = runner.clients.requests, now


def _print_table(out: Console, runner: DemoRunner) -> None:
    from hashring.analysis._rich import grid

    table = grid(["event", "sessions", "kept", "broken", "minimum", "broken by hash % n"])
    for outcome in runner.scenario.outcomes:
        numbers = (outcome.sessions, outcome.kept, outcome.broken, outcome.minimum, outcome.modulo)
        table.add_row(outcome.event, *(f"{number:,}" for number in numbers))
    out.print()
    out.print(table)
    clients = runner.clients
    failed = sum(clients.failures.values())
    kinds = ", ".join(f"{count} x {kind}" for kind, count in clients.failures.most_common(3))
    out.print(
        f"\n{clients.requests:,} requests, {sum(clients.anonymous.values()):,} of them anonymous; "
        f"{failed:,} failed{f' ({kinds})' if kinds else ''}, "
        f"{runner.gateway.stats['retries']:,} tried again at another host"
    )
    out.print("minimum: sessions whose state died with their host", style="dim")


def _print_addresses(out: Console, runner: DemoRunner) -> None:
    out.print(f"\ngateway  http://{runner.listen}", style="bold")
    out.print(f"state    http://{runner.admin}/state")
    for host in runner.gateway.lb.hosts:
        out.print(f"{host.name:<8} http://{host.address}  {runner.gateway.lb.state(host)}")
    out.print("Ctrl-C ends all of it")
    out.file.flush()
