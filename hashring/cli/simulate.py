"""``hashring simulate``: the sessions of a log under a change of hosts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from hashring.cli._json import emit
from hashring.cli._options import (
    LogArguments,
    PoolOptions,
    change_of,
    change_options,
    json_option,
    names,
    pool_options,
    reading_options,
    usage,
)
from hashring.cli._pictures import Pictures, picture_options
from hashring.cli._trace import TraceOptions, run, trace_options
from hashring.errors import ConfigError
from hashring.text import plural, printable

if TYPE_CHECKING:
    from hashring.analysis import Arrivals

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd%]?)")


def _seconds(_: click.Context, __: click.Parameter, text: str) -> float:
    """A time in seconds; a bad one is a usage error."""
    return _time(text)[0]


def _moment(_: click.Context, __: click.Parameter, text: str) -> tuple[float, bool]:
    """(number, whether it is a fraction of the log and not seconds)."""
    return _time(text, part=True)


def _time(text: str, *, part: bool = False) -> tuple[float, bool]:
    found = _TIME.fullmatch(text.strip())
    if found is None or (found[2] == "%" and not part):
        some = "90, 90s, 30m, 12h or 2d" + (", or 50%" if part else "")
        raise click.BadParameter(f"{text!r} is not a time: write it as {some}")
    if found[2] == "%":
        return float(found[1]) / 100, True
    return float(found[1]) * _UNITS[found[2]], False


@click.command("simulate")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@pool_options
@change_options
@click.option(
    "--at",
    callback=_moment,
    default="50%",
    show_default=True,
    help="Time of the change: 12h after the first line, or 50% of the log.",
)
@click.option(
    "--service",
    callback=_seconds,
    default="1s",
    show_default=True,
    help="Mean duration of a request.",
)
@click.option(
    "--session-gap",
    callback=_seconds,
    default="30m",
    show_default=True,
    help="Time without a request after which a session ends.",
)
@click.option(
    "--drain",
    callback=_seconds,
    default="30m",
    show_default=True,
    help="Time for which hosts that leave keep known clients.",
)
@click.option("--load-factor", default=1.25, show_default=True, help="The c of bounded loads.")
@click.option(
    "--load-floors",
    multiple=True,
    metavar="1,8,...",
    help="Values of load_floor, one scenario each.  [default: 1,8,32]",
)
@reading_options
@trace_options
@picture_options
@json_option
def command(
    logs: tuple[str, ...],
    pool: PoolOptions,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    at: tuple[float, bool],
    service: float,
    session_gap: float,
    drain: float,
    load_factor: float,
    load_floors: tuple[str, ...],
    reading: LogArguments,
    trace: TraceOptions,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Replay a log and count the sessions that a change breaks.

    Each scenario has a balancer of its own: the placement alone, remembered clients, drained
    hosts, bounded loads. LOG has a time in each line, as the combined format does.

    With --format or --policy LOG is a trace of LLM serving, and routing policies are compared by
    time to first token, cache reuse and moved sessions; --hosts takes a number of hosts too.
    """
    if trace.wanted:
        return run(logs, pool, trace, reading.time, draw, as_json)
    from hashring.analysis import ServiceTime, scenarios, simulate
    from hashring.cli._render import facts

    change = change_of(add, remove, weight)
    draw.check()
    with usage():
        if change is not None:
            change.apply(pool.hosts)
        ways = scenarios(load_factor, _floors(load_floors), drain)
        model = ServiceTime(service)
        model.times(0)
        if not session_gap:
            raise ConfigError("session_gap is above 0 seconds", option="session_gap")
    membership = pool.membership()
    arrivals = _arrivals(logs, reading, trace)
    when = at[0] * arrivals.seconds if at[1] else at[0]
    if change is not None and when > arrivals.seconds:
        raise click.UsageError(
            f"--at {when:,.0f}s is after the log, which lasts {arrivals.seconds:,.0f} s: "
            "nothing would change",
            click.get_current_context(),
        )
    report = simulate(
        arrivals,
        membership,
        [] if change is None else [(when, change)],
        scenarios=ways,
        service=model,
        session_gap=session_gap,
    )
    title = "Simulation: " + printable(str(change) if change is not None else "no change", 200)
    if change is not None:
        title += f" after {when / 3600:.1f} h"
    assert arrivals.log is not None  # it was read from one
    about = facts(pool, plural(len(pool.hosts), "host"), arrivals.log)
    about.append(f"fingerprint {membership.table.fingerprint}")
    draw.write(report, title=title, facts=about, counts=arrivals.log.counts)
    if as_json:
        said = {"change": None if change is None else change.to_dict()}
        mark = {"fingerprint": membership.table.fingerprint, "log": arrivals.log.to_dict()}
        return emit("simulate", pool, report.to_dict(), said, mark)
    from hashring.cli._render import print_report

    print_report(title, about, report)
    return None


def _floors(given: tuple[str, ...]) -> tuple[int, ...]:
    floors = []
    for part in names(given):
        if not part.isdecimal() or not int(part):
            raise click.UsageError(
                f"--load-floors {part}: give whole numbers from 1", click.get_current_context()
            )
        floors.append(int(part))
    return tuple(floors) or (1, 8, 32)


def _arrivals(logs: tuple[str, ...], options: LogArguments, trace: TraceOptions) -> Arrivals:
    from hashring.analysis import read_arrivals
    from hashring.cli._progress import reading

    with reading(logs) as progress, usage(ConfigError):
        arrivals = read_arrivals(
            logs,
            progress=progress,
            **{**options.as_options(), "format": trace.log_format, "time": options.time},
        )
    for warning in arrivals.log.warnings if arrivals.log is not None else ():
        click.echo(f"hashring: {warning}", err=True)
    return arrivals
