"""``hashring plan``: the clients of a log that a change of hosts moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hashring.cli._json import emit
from hashring.cli._options import (
    LogArguments,
    PoolOptions,
    change_of,
    change_options,
    json_option,
    log_options,
    pool_options,
    read_logs,
    usage,
)
from hashring.cli._pictures import Pictures, picture_options
from hashring.text import plural, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hashring.analysis import PlanReport
    from hashring.analysis.planned import HostPlan

_FLOWS = 12  # most that are shown: a terminal is 24 lines high; --json has them all


@click.command("plan")
@log_options
@pool_options
@change_options
@click.option("--new-secret", is_flag=True, help="Replace the ring's key_secret.")
@click.option(
    "--one-by-one", is_flag=True, help="Show the change of each host as a step of its own."
)
@click.option(
    "--engine",
    # as analysis has them, whose import is slow
    type=click.Choice(["ray", "spark"]),
    help="Cluster that reads the logs, each as one task.",
)
@picture_options
@json_option
def command(
    logs: tuple[str, ...],
    reading: LogArguments,
    pool: PoolOptions,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    new_secret: bool,
    one_by_one: bool,
    engine: str | None,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Show which clients of a log a change of hosts moves.

    LOG is a file, plain or gzip, or - for standard input.
    """
    from hashring.analysis import plan
    from hashring.analysis.change import STAND_IN_SECRET
    from hashring.cli._render import facts

    change = change_of(add, remove, weight, new_secret=new_secret)
    if change is None:
        raise click.UsageError(
            "give a change: --add, --remove, --weight or --new-secret",
            click.get_current_context(),
        )
    if new_secret and one_by_one:
        raise click.UsageError(
            "--new-secret is a single step: leave out --one-by-one", click.get_current_context()
        )
    draw.check()
    secret = {"key_secret": STAND_IN_SECRET} if new_secret else {}
    steps = change.split() if one_by_one else (change,)
    with usage():
        after = pool.membership(change.apply(pool.hosts), **secret)
    before = pool.membership()
    clients = read_logs(logs, reading, engine)
    if one_by_one:
        report = plan(clients.counts, before, steps=steps)
    else:
        report = plan(clients.counts, before, after)
    hosts = f"{len(before.hosts):,} -> {plural(len(after.hosts), 'host')}"
    title = f"Plan: {printable(str(change), 200)}"
    draw.write(report, title=title, facts=facts(pool, hosts, clients), ring=after.ring)
    if as_json:
        more = {"change": change.to_dict(), "log": clients.to_dict()}
        # the fingerprint depends on the real secret
        unknown = {"fingerprint_after": None} if new_secret else {}
        return emit("plan", pool, more, report.to_dict(), unknown)
    from hashring.cli._render import log_line, page, placement_line

    with page() as out:
        out.print(f"Plan: {printable(str(change), 1000)}", style="bold")
        out.print(placement_line(pool, hosts))
        out.print(log_line(clients))
        out.print()
        _print(out, report, pool.placement, new_secret)
    return None


_NEW_SECRET = (
    "A new secret moves nearly all clients. Clients with a token or a pin stay on their hosts; "
    "for all others, do it as a step of its own, when moving them is cheap."
)


def _print(out: Console, report: PlanReport, placement: str, new_secret: bool) -> None:
    from hashring.analysis._rich import rich_table
    from hashring.analysis.planned import comparison, flow_sheet, step_sheet
    from hashring.cli._render import legend

    out.print(_hosts(out, report))
    out.print(legend(out, "requests after"))
    out.print()
    if report.flows:
        out.print(rich_table(flow_sheet(report, _FLOWS, out.width // 4), out.width))
        hidden = len(report.flows) - _FLOWS
        if hidden > 0:
            out.print(f"... and {hidden:,} smaller flows: --json has them all", style="dim")
        out.print()
    if report.steps:
        steps = step_sheet(report, max(12, out.width - 62))  # what the numbers leave
        out.print(rich_table(steps, out.width))
        out.print(steps.note, style="dim")
        out.print()
    out.print(rich_table(comparison(report, placement), out.width))
    out.print()
    after = "another, by the secret" if new_secret else report.fingerprint_after
    out.print(f"fingerprint {report.fingerprint} -> {after}", style="dim")
    # in a pipe the sentence is one line of any length, so that it is easy to find
    out.print(report.sentence(), style="bold", soft_wrap=not out.is_terminal)
    if new_secret:
        out.print(_NEW_SECRET, soft_wrap=not out.is_terminal)


def _hosts(out: Console, report: PlanReport) -> Table:
    from hashring.analysis.planned import weight
    from hashring.analysis.tables import percent
    from hashring.cli._render import Bar, HostRow, arrow, host_table

    clients, requests = (len(f"{n:,}") for n in (report.clients, report.requests))
    scale = max(max(host.share_after, host.fair_after) for host in report.hosts)
    rows = []
    for host in report.hosts:
        cells = (
            weight(host),
            arrow(host.clients_before, host.clients_after, clients),
            arrow(host.requests_before, host.requests_after, requests),
            percent(host.share_after),
        )
        bar = Bar(host.share_after, host.fair_after, scale)
        rows.append(HostRow(host.host, cells, bar, *_sign(host)))
    return host_table(out, ("weight", "clients", "requests", "share"), rows)


def _sign(host: HostPlan) -> tuple[str, str]:
    if host.weight_before is None:
        return "+", "green"
    if host.weight_after is None:
        return "-", "red"
    return ("~", "yellow") if host.weight_before != host.weight_after else (" ", "")
