"""``hashring simulate`` on a trace of LLM serving: its options, and the run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import Any

import click

from hashring.cli._json import emit
from hashring.cli._options import Function, LogFormat, PoolOptions, names, usage
from hashring.cli._pictures import Pictures
from hashring.text import plural, suggestion

# as analysis has them, whose import is slow
_OWN = ("mooncake", "bailian", "burstgpt", "azure")
# these are logs unless policies are given, or --format trace
_EITHER = ("jsonl", "csv", "tsv", "parquet")
FORMATS = (*_OWN, *_EITHER)
TRACES = ("trace", *_OWN)
_COSTS = ("tokens", "bytes", "noisy", "none")
_SCENARIOS = (
    "none", "grow", "loss", "return", "death", "slow", "stall", "weights", "hidden"
)  # fmt: skip
_ENGINES = ("line", "chunked", "workers", "sharing")


@dataclass(frozen=True)
class TraceOptions:
    """The options of a trace; ``policies`` empty for the usual ones."""

    format: str | None
    log_format: str
    session: str | None
    policies: tuple[str, ...]
    engine: dict[str, Any]
    run: dict[str, Any]

    @property
    def wanted(self) -> bool:
        """Whether a trace is simulated, rather than a log."""
        return self.format is not None or bool(self.policies)


class _Format(LogFormat):
    """A format of logs or of traces."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """``value`` if it is a format."""
        from hashring.analysis._formats import FORMATS as LOG_FORMATS

        known = (*TRACES, *LOG_FORMATS)
        if value not in known:
            self.fail(f"there is no format {value!r}: {suggestion(value, known)}", param, ctx)
        return value


def trace_options(function: Function) -> Function:
    """``function`` gets them as one ``trace``."""

    @click.option(
        "--format",
        "format",
        type=_Format(),
        metavar="NAME",
        help="A log format; mooncake, bailian, burstgpt, azure; or trace: any of these.",
    )
    @click.option(
        "--policy", "policy", multiple=True, metavar="P,...", help="Trace: policies to compare."
    )
    @click.option("--session", metavar="FIELD", help="Trace: field that names the session.")
    @click.option("--rate", default=1.0, show_default=True, help="Trace: times faster.")
    @click.option("--spread", default=0.0, help="Trace: seconds to spread arrivals over.")
    @click.option("--routers", default=1, show_default=True, help="Trace: number of routers.")
    @click.option("--sync", default=0.0, help="Trace: seconds between exchanges of loads.")
    @click.option(
        "--scenario",
        type=click.Choice(_SCENARIOS),
        default="none",
        show_default=True,
        help="Trace: what happens to a host in the middle.",
    )
    @click.option(
        "--cost",
        type=click.Choice(_COSTS),
        default="tokens",
        show_default=True,
        help="Trace: what a router knows of a request's work.",
    )
    @click.option(
        "--limit", default=2.0, show_default=True, help="Trace: seconds to first token (goodput)."
    )
    @click.option(
        "--engine",
        "kind",
        type=click.Choice(_ENGINES),
        default="line",
        show_default=True,
        help="Trace: how a host works; the next five change it.",
    )
    @click.option("--prefill", type=float, help="Trace: tokens/s of a host.  [default: 8000]")
    @click.option("--decode", type=float, help="Trace: tokens/s of a request.  [default: 40]")
    @click.option("--blocks", type=int, help="Trace: blocks in a host's cache.  [default: 2048]")
    @click.option("--lanes", type=int, help="Trace: prefills at the same time.  [default: 1]")
    @click.option("--chunk", type=int, help="Trace: tokens of a step of chunked prefill.")
    @wraps(function)
    def with_trace(
        *args: Any,
        format: str | None,
        policy: tuple[str, ...],
        session: str | None,
        rate: float,
        spread: float,
        routers: int,
        sync: float,
        scenario: str,
        cost: str,
        limit: float,
        kind: str,
        prefill: float | None,
        decode: float | None,
        blocks: int | None,
        lanes: int | None,
        chunk: int | None,
        **kwargs: Any,
    ) -> Any:
        engine: dict[str, Any] = {
            "prefill": prefill,
            "decode": decode,
            "blocks": blocks,
            "lanes": lanes,
        }
        engine |= {"kind": kind, "chunk": chunk}
        trace = TraceOptions(
            format if format in TRACES else None,
            "auto" if format is None else format,
            session,
            names(policy),
            {name: value for name, value in engine.items() if value is not None},
            {
                "rate": rate,
                "spread": spread,
                "routers": routers,
                "sync": sync,
                "scenario": scenario,
                "cost": cost,
                "limit": limit,
            },
        )
        return function(*args, trace=trace, **kwargs)

    return with_trace


def run(
    files: tuple[str, ...],
    pool: PoolOptions,
    trace: TraceOptions,
    time: str | None,
    draw: Pictures,
    as_json: bool,
) -> None:
    """Read the trace, replay it for each policy, and show the report."""
    from hashring.analysis.model_host import Engine
    from hashring.analysis.policies import POLICIES
    from hashring.analysis.serving import serve
    from hashring.analysis.traces import read_trace
    from hashring.cli._progress import counting

    kind = trace.format or trace.log_format
    kind = kind if kind in FORMATS else "auto"
    hosts: Any = pool.hosts
    if len(hosts) == 1 and hosts[0].name.isdecimal():
        hosts = int(hosts[0].name)
    policies = trace.policies or POLICIES
    draw.check()
    with usage():
        engine = Engine.of(**trace.engine)
    read = read_trace(files, kind, session=trace.session, time=time)
    with usage(), counting("simulating", len(read.requests) * len(policies)) as progress:
        report = serve(read, hosts, policies, engine=engine, progress=progress, **trace.run)
    title = "Policies on a trace"
    requests, sessions = plural(report.requests, "request"), plural(report.sessions, "session")
    machines, routers = plural(len(report.hosts), "host"), plural(report.routers, "router")
    knows = f"cost: {report.cost}, scenario: {report.scenario}"
    about = [
        f"{requests}, {sessions}, {report.seconds:,.0f} s, {read.format}",
        f"{machines}, {routers}, rate {report.rate:g}, {knows}",
    ]
    if read.unreadable:
        about.append(f"{plural(read.unreadable, 'line')} could not be read")
    draw.write(report, title=title, facts=about)
    if as_json:
        facts = {"format": read.format, "unreadable": read.unreadable}
        return emit("simulate", None, report.to_dict(), facts)
    from hashring.cli._render import print_report

    print_report(title, about, report)
    return None
