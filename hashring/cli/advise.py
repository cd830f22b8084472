"""``hashring advise``: which placement, and how many vnodes?"""

from __future__ import annotations

import click

from hashring.cli._json import emit
from hashring.cli._options import json_option, usage
from hashring.cli._pictures import Pictures, picture_options

__all__ = ["command"]


@click.command("advise")
@click.option(
    "--hosts", type=click.IntRange(min=1), required=True, metavar="N", help="How many hosts."
)
@click.option(
    "--peak",
    type=float,
    default=1.1,
    show_default=True,
    help="How much the busiest host may have, as a multiple of the mean.",
)
@click.option(
    "--export",
    type=click.Choice(["envoy", "haproxy", "nginx"]),  # as advise has them, whose import is slow
    help="The proxy that shall one day place the same.",
)
@picture_options
@json_option
def command(hosts: int, peak: float, export: str | None, draw: Pictures, as_json: bool) -> None:
    """Which placement and how many vnodes keep the busiest host below a peak.

    The peak is of all possible keys; hot clients come on top (see spread). What moves when a host
    is added is measured on 10,000 keys.
    """
    from hashring.analysis import advise

    draw.check()
    with usage():
        report = advise(peak, hosts, export=export)
    title = f"Advice for {hosts:,} hosts and a peak/mean of {peak:g}"
    facts = [f"the same routing in {export} one day" if export else "no proxy to export to"]
    draw.write(report, title=title, facts=facts)
    if as_json:
        return emit("advise", None, report.to_dict())
    from hashring.cli._render import print_report

    print_report(title, facts, report)
    return None
