"""``hashring spread``: the share of each host in the clients and requests of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hashring.cli._json import emit
from hashring.cli._options import (
    LogArguments,
    PoolOptions,
    json_option,
    log_options,
    pool_options,
    read_logs,
)
from hashring.cli._pictures import Pictures, picture_options
from hashring.text import plural, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hashring.analysis import Spread


@click.command("spread")
@log_options
@pool_options
@picture_options
@json_option
def command(
    logs: tuple[str, ...],
    reading: LogArguments,
    pool: PoolOptions,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Show how the clients of a log spread over the hosts.

    LOG is a file, plain or gzip, or - for standard input.
    """
    from hashring.analysis import spread
    from hashring.cli._render import facts

    draw.check()
    membership = pool.membership()
    clients = read_logs(logs, reading)
    report = spread(clients.counts, membership)
    hosts, title = plural(len(pool.hosts), "host"), "Spread of clients and requests"
    about = facts(pool, hosts, clients)
    draw.write(report, title=title, facts=about, counts=clients.counts, ring=membership.ring)
    if as_json:
        return emit("spread", pool, {"log": clients.to_dict()}, report.to_dict())
    from hashring.cli._render import log_line, page, placement_line

    with page() as out:
        out.print(title, style="bold")
        out.print(placement_line(pool, hosts))
        out.print(log_line(clients))
        out.print()
        _print(out, report)
    return None


def _print(out: Console, report: Spread) -> None:
    from hashring.cli._render import legend

    out.print(_hosts(out, report))
    out.print(legend(out, "requests"))
    out.print()
    out.print(_balance(out, report))
    out.print(f"  {_theory(report)}", style="dim")
    out.print()
    out.print(_hottest(out, report))
    out.print()
    if report.unrouted_clients:
        out.print(
            f"This placement does not hash {report.unrouted_clients:,} clients with "
            f"{report.unrouted_requests:,} requests: the fallback serves them."
        )
    out.print(f"fingerprint {report.fingerprint}", style="dim")
    out.print(report.sentence(), style="bold", soft_wrap=not out.is_terminal)


def _hosts(out: Console, report: Spread) -> Table:
    from hashring.analysis.tables import percent
    from hashring.cli._render import Bar, HostRow, host_table

    exact = report.arc_balance is not None
    scale = max(max(host.request_share, host.fair) for host in report.hosts)
    rows = []
    for host in report.hosts:
        cells = (
            f"{host.weight:g}",
            f"{host.clients:,}",
            f"{host.requests:,}",
            percent(host.request_share),
            percent(host.fair),
            *([percent(host.arc)] if exact else []),
        )
        rows.append(HostRow(host.host, cells, Bar(host.request_share, host.fair, scale)))
    heads = ("weight", "clients", "requests", "share", "fair", *(["arc"] if exact else []))
    return host_table(out, heads, rows)


def _balance(out: Console, report: Spread) -> Table:
    from hashring.analysis._rich import rich_table
    from hashring.analysis.tables import ReportTable, percent

    balances = [("clients", report.client_balance), ("requests", report.request_balance)]
    if report.arc_balance is not None:
        balances.append(("arcs", report.arc_balance))
    rows = tuple(
        (f"  {name}", f"{balance.peak:.3f}", percent(balance.cov), f"{balance.gini:.3f}")
        for name, balance in balances
    )
    heads = ("", "peak/mean", "coefficient of variation", "Gini")
    return rich_table(ReportTable("balance", heads, rows), out.width)


def _theory(report: Spread) -> str:
    from hashring.analysis.tables import percent

    text = f"of the clients' variation {percent(report.placement_cov)} is the placement's own"
    bands = [host.band for host in report.hosts if host.band is not None]
    if not bands:
        return f"{text}; the rest is chance"
    outside = len(report.outside)
    inside = "all arcs are" if not outside else f"{outside:,} of {len(bands):,} arcs are not"
    return f"{text}; {inside}\n  in the 99 % band of such a ring"


def _hottest(out: Console, report: Spread) -> Table:
    from hashring.analysis._rich import grid
    from hashring.analysis.tables import host_label, percent

    table = grid(["  hottest clients", "requests", "share"])
    table.add_column("host", overflow="fold")
    for hot in report.hottest:
        table.add_row(
            "  " + printable(hot.client, out.width // 3),
            f"{hot.requests:,}",
            percent(hot.share),
            host_label(hot.host, out.width // 4),
        )
    return table
