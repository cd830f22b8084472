"""``hashring advise``: a placement and a number of vnodes for a target balance."""

from __future__ import annotations

import click

from hashring.cli._json import emit
from hashring.cli._options import json_option, usage
from hashring.cli._pictures import Pictures, picture_options
from hashring.text import plural


@click.command("advise")
@click.option(
    "--hosts", type=click.IntRange(min=1), required=True, metavar="N", help="Number of hosts."
)
@click.option(
    "--peak",
    type=float,
    default=1.1,
    show_default=True,
    help="Share of the busiest host, as a multiple of the mean.",
)
@click.option(
    "--export",
    type=click.Choice(["envoy", "haproxy", "nginx"]),  # as advise has them, whose import is slow
    help="Proxy that the placement must be exportable to.",
)
@picture_options
@json_option
def command(hosts: int, peak: float, export: str | None, draw: Pictures, as_json: bool) -> None:
    """Recommend a placement and a number of vnodes.

    The peak is that of all possible keys; clients with many requests add to it (see spread). The
    keys that move when a host is added are measured on 10,000 keys.
    """
    from hashring.analysis import advise

    draw.check()
    with usage():
        report = advise(peak, hosts, export=export)
    title = f"Advice for {plural(hosts, 'host')} and a peak/mean of {peak:g}"
    facts = [f"can be exported to {export}" if export else "not limited to what a proxy can do"]
    draw.write(report, title=title, facts=facts)
    if as_json:
        return emit("advise", None, report.to_dict())
    from hashring.cli._render import print_report

    print_report(title, facts, report)
    return None
