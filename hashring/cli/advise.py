"""``hashring advise``: a placement and a number of vnodes for a target balance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hashring.cli._json import emit
from hashring.cli._options import LogArguments, json_option, reading_options, usage
from hashring.cli._pictures import Pictures, picture_options
from hashring.errors import ConfigError
from hashring.text import plural

if TYPE_CHECKING:
    from hashring.analysis import Engine, Trace


@click.command("advise")
@click.argument("logs", nargs=-1, metavar="[TRACE]...")
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
    # as advise has them, whose import is slow
    type=click.Choice(["caddy", "envoy", "haproxy", "nginx", "traefik"]),
    help="Proxy that the placement must be exportable to.",
)
@click.option(
    "--format",
    "log_format",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Format of TRACE: a log with times, or mooncake, bailian, burstgpt, azure.",
)
@reading_options
@click.option("--session", metavar="FIELD", help="TRACE: field that names the session.")
@click.option("--rate", type=float, default=1.0, show_default=True, help="TRACE: times faster.")
@click.option("--spread", type=float, default=0.0, help="TRACE: seconds to spread arrivals over.")
@picture_options
@json_option
def command(
    logs: tuple[str, ...],
    hosts: int,
    peak: float,
    export: str | None,
    reading: LogArguments,
    session: str | None,
    rate: float,
    spread: float,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Recommend a placement and a number of vnodes.

    With a TRACE of LLM requests or a log with times, recommend a way of being sticky instead: by
    hash, by memory, or by memory and placed by load. Each is replayed on the trace.

    The peak is that of all possible keys; clients with many requests add to it (see spread). The
    keys that move when a host is added are measured on 10,000 keys.
    """
    if logs:
        return _advise_trace(logs, hosts, reading, session, rate, spread, draw, as_json)
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


def _advise_trace(
    logs: tuple[str, ...],
    hosts: int,
    reading: LogArguments,
    session: str | None,
    rate: float,
    spread: float,
    draw: Pictures,
    as_json: bool,
) -> None:
    from hashring.analysis.advise_trace import WAYS, advise_trace
    from hashring.cli._progress import counting

    draw.check()
    with usage(ConfigError):
        trace, engine = _read(logs, reading, session)
    with usage(), counting("simulating", 2 * len(WAYS) * len(trace.requests)) as progress:
        report = advise_trace(
            trace, hosts, engine=engine, rate=rate, spread=spread, progress=progress
        )
    title = f"Advice for {plural(len(trace.requests), 'request')} on {plural(hosts, 'host')}"
    facts = [f"{plural(trace.sessions, 'session')}, {trace.seconds:,.0f} s, {trace.format}"]
    draw.write(report, title=title, facts=facts)
    if as_json:
        return emit("advise", None, report.to_dict())
    from hashring.cli._render import print_report

    print_report(title, facts, report)
    return None


def _read(
    logs: tuple[str, ...], reading: LogArguments, session: str | None
) -> tuple[Trace, Engine | None]:
    """A trace with the usual engine, or a log with an engine of workers."""
    from hashring.analysis import LogError, read_arrivals
    from hashring.analysis.advise_trace import WORKERS, trace_of_log
    from hashring.analysis.traces import FORMATS, read_trace
    from hashring.cli._trace import TRACES

    # the options of a client are those of a log
    if reading.key is None and reading.pattern is None and reading.client == "ip":
        kind = reading.format if reading.format in FORMATS else "auto"
        try:
            return read_trace(logs, kind, session=session, time=reading.time), None
        except LogError:
            if reading.format in TRACES or session is not None:
                raise
    options = {**reading.as_options(), "time": reading.time}
    return trace_of_log(read_arrivals(logs, **options)), WORKERS
