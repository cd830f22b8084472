"""``hashring compare``: placements side by side, by the clients of a log."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from hashring.cli._json import emit
from hashring.cli._options import (
    LogArguments,
    change_of,
    change_options,
    hosts_option,
    json_option,
    log_options,
    named_weights,
    names,
    placement_options,
    read_logs,
    usage,
)
from hashring.cli._pictures import Pictures, picture_options
from hashring.text import plural, printable


@click.command("compare")
@partial(log_options, required=False)
@hosts_option
@click.option(
    "--bench",
    "measure",
    is_flag=True,
    help="Measure all placements instead; no LOG. --hosts may be a number.",
)
@click.option(
    "--placements",
    multiple=True,
    metavar="P,Q,...",
    help="Placements, each with its options as P:K=V:K=V. Default: ten usual ones.",
)
@change_options
@click.option(
    "--lose", metavar="B", help="Host whose failure is examined. Default: the busiest one."
)
@picture_options
@json_option
def command(
    logs: tuple[str, ...],
    reading: LogArguments,
    hosts: tuple[str, ...],
    measure: bool,
    placements: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    lose: str | None,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Compare placements by the clients of a log.

    Shows how even each placement is, which clients a change of hosts moves (and how many of them
    between unchanged hosts), and which hosts get the clients of a host that fails. LOG is a file,
    plain or gzip, or - for standard input.

    With --bench, measures memory, build, resize and look-up of every placement, its balance (also
    after half of the hosts left) and the keys that one host moves between others, beside the
    libraries uhashring and pymemcache where they are installed.
    """
    if measure:
        return _bench(logs, hosts, placements, as_json)
    if not logs:
        raise click.UsageError("Missing argument 'LOG...'.", click.get_current_context())
    from hashring.analysis import compare
    from hashring.cli._render import log_parts

    found = named_weights(hosts, "--hosts")
    change = change_of(add, remove, weight)
    wanted = _placements(placements)
    draw.check()
    with usage():
        # with no client at all: invalid options are reported before the log is read
        compare({}, found, change, placements=wanted[:1], lose=lose)
    clients = read_logs(logs, reading)
    report = compare(clients.counts, found, change, placements=wanted, lose=lose)
    title = f"Placements compared: {printable(report.change or 'no change', 200)}"
    count = plural(len(found), "host")
    draw.write(report, title=title, facts=[count, "".join(log_parts(clients))])
    if as_json:
        said = {"change": None if change is None else change.to_dict(), "log": clients.to_dict()}
        return emit("compare", None, report.to_dict(), said)
    from hashring.cli._render import log_line, print_report

    print_report(title, [count, log_line(clients)], report)
    return None


def _bench(
    logs: tuple[str, ...], hosts: tuple[str, ...], placements: tuple[str, ...], as_json: bool
) -> None:
    from hashring import placement
    from hashring.analysis import bench
    from hashring.cli import _progress

    if logs:
        raise click.UsageError("--bench reads no LOG: leave it out", click.get_current_context())
    given = names(hosts)
    number = given[0] if len(given) == 1 and given[0].isdecimal() else ""
    count = int(number[:9]) if number else len(named_weights(hosts, "--hosts"))
    chosen = names(placements) or placement.names()
    with usage(), _progress.counting("measuring", len(chosen)) as step:
        progress = None if step is None else lambda _: step(1)
        report = bench(count, placements=chosen, progress=progress)
    if as_json:
        return emit("compare", None, report.to_dict())
    from hashring.cli._render import print_report

    print_report("Placements measured", [plural(report.hosts, "host")], report)
    return None


def _placements(given: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    from hashring.analysis.compare import PLACEMENTS

    found = []
    for part in names(given) or PLACEMENTS:
        name, *options = part.split(":")
        found.append((name, placement_options(name, options)))
    return found
