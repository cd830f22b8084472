"""``hashring plan``: what would a change of hosts do to the clients of a log?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hashring.cli._json import emit
from hashring.cli._options import (
    Pool,
    json_option,
    log_options,
    named_weights,
    names,
    pool_options,
    read_logs,
    usage,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hashring.analysis import Change, Plan
    from hashring.analysis.plan import HostPlan, Moved

__all__ = ["command"]

_FLOWS = 12  # most that are shown: a terminal is 24 lines high; --json has them all


@click.command("plan")
@log_options
@pool_options
@click.option("--add", multiple=True, metavar="D,E=2,...", help="Hosts that come. Repeatable.")
@click.option("--remove", multiple=True, metavar="B,...", help="Hosts that leave. Repeatable.")
@click.option("--weight", multiple=True, metavar="C=2,...", help="New weights. Repeatable.")
@click.option("--new-secret", is_flag=True, help="The ring gets another key_secret (ring).")
@json_option
def command(
    logs: tuple[str, ...],
    log_format: str,
    key: str | None,
    pool: Pool,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    new_secret: bool,
    as_json: bool,
) -> None:
    """Who moves when the hosts change, by the clients of LOG...

    A LOG is a file, plain or gzip, or - for standard input.
    """
    from hashring.analysis import plan
    from hashring.analysis.change import STAND_IN_SECRET

    change = _change(add, remove, weight, new_secret)
    secret = {"key_secret": STAND_IN_SECRET} if new_secret else {}
    with usage():
        after = pool.membership(change.apply(pool.hosts), **secret)
    before = pool.membership()
    clients = read_logs(logs, log_format, key)
    report = plan(clients.counts, before, after)
    if as_json:
        more = {"change": change.to_dict(), "log": clients.to_dict()}
        # only who has the real secret can work out its fingerprint
        unknown = {"fingerprint_after": None} if new_secret else {}
        return emit("plan", pool, more, report.to_dict(), unknown)
    from hashring.cli._render import log_line, page, placement_line, show

    hosts = f"{len(before.hosts):,} -> {len(after.hosts):,} hosts"
    with page() as out:
        out.print(f"Plan: {show(str(change), 1000)}", style="bold")
        out.print(placement_line(pool, hosts))
        out.print(log_line(clients))
        out.print()
        _print(out, report, pool.placement, new_secret)
    return None


def _change(
    add: tuple[str, ...], remove: tuple[str, ...], weight: tuple[str, ...], new_secret: bool
) -> Change:
    from hashring.analysis import Change

    if not names((*add, *remove, *weight)) and not new_secret:
        raise click.UsageError(
            "say what changes, with --add, --remove, --weight or --new-secret",
            click.get_current_context(),
        )
    for part in names(weight):
        if "=" not in part:
            raise click.UsageError(
                f"--weight {part}: give NAME=WEIGHT", click.get_current_context()
            )
    weights = {host.name: host.weight for host in named_weights(weight, "--weight")}
    return Change(named_weights(add, "--add"), names(remove), weights, new_secret)


_NEW_SECRET = (
    "A new secret places every client anew. Those with a token or a pin stay where they are; for "
    "all others plan it as a step of its own, when moving them is cheap."
)


def _print(out: Console, report: Plan, placement: str, new_secret: bool) -> None:
    from hashring.cli._render import legend

    out.print(_hosts(out, report))
    out.print(legend(out, "requests after"))
    out.print()
    if report.flows:
        out.print(_flows(out, report))
        hidden = len(report.flows) - _FLOWS
        if hidden > 0:
            out.print(f"... and {hidden:,} smaller flows: --json has them all", style="dim")
        out.print()
    out.print(_comparison(report, placement))
    out.print()
    after = "another, by the secret" if new_secret else report.fingerprint_after
    out.print(f"fingerprint {report.fingerprint} -> {after}", style="dim")
    # into a pipe the sentence is one line, whatever its length: easy to grep for
    out.print(report.sentence(), style="bold", soft_wrap=not out.is_terminal)
    if new_secret:
        out.print(_NEW_SECRET, soft_wrap=not out.is_terminal)


def _hosts(out: Console, report: Plan) -> Table:
    from hashring.cli._render import Bar, HostRow, arrow, host_table, percent

    clients, requests = (len(f"{n:,}") for n in (report.clients, report.requests))
    scale = max(max(host.share_after, host.fair_after) for host in report.hosts)
    rows = []
    for host in report.hosts:
        cells = (
            _weight(host),
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


def _weight(host: HostPlan) -> str:
    before, after = host.weight_before, host.weight_after
    if before is None or after is None or before == after:
        return f"{after if before is None else before:g}"
    return f"{before:g} -> {after:g}"


def _flows(out: Console, report: Plan) -> Table:
    from hashring.cli._render import name_of, percent, sheet

    exact = "" if report.arc is None else "of all keys"
    table = sheet("from", "to", "clients", "requests", exact, left=2)
    for flow in report.flows[:_FLOWS]:
        table.add_row(
            name_of(flow.origin, out.width // 4),
            name_of(flow.target, out.width // 4),
            f"{flow.clients:,}",
            f"{flow.requests:,}",
            percent(flow.arc),
        )
    return table


def _comparison(report: Plan, placement: str) -> Table:
    from hashring.cli._render import percent, sheet

    table = sheet("", "clients", "", "requests", "")
    table.add_row(f"moved by {placement}", *_moved(report.moved), style="bold")
    if report.arc is not None:
        table.add_row("  of all possible keys", "", percent(report.arc), "", "")
    table.add_row("theoretical minimum", "", percent(report.minimum), "", percent(report.minimum))
    if report.modulo is not None:
        table.add_row("hash % n", *_moved(report.modulo))
    return table


def _moved(moved: Moved) -> tuple[Any, ...]:
    from hashring.cli._render import percent

    return (
        f"{moved.clients:,}",
        percent(moved.client_share),
        f"{moved.requests:,}",
        percent(moved.request_share),
    )
