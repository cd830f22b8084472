"""Commands on a running gateway, by its admin listener: look, drain, mark, weigh, explain."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from hashring.cli._options import Function, json_option
from hashring.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hashring.cli._running import AdminClient

_DEFAULT = "127.0.0.1:9090"
_VARIABLE = "HASHRING_GATEWAY_ADMIN"  # as for `hashring serve`
_LOOK = 0.5  # seconds between two looks at a draining host
_POLL = 20.0  # seconds of one request for events
_STYLES = {"up": "green", "draining": "yellow", "down": "red"}


def _gateway(function: Function) -> Function:
    """``--url`` and ``--json``; ``function`` gets ``gateway`` and ``as_json``."""

    @click.option(
        "--url",
        metavar="URL",
        help=f"Admin listener of the gateway.  [default: ${_VARIABLE} or {_DEFAULT}]",
    )
    @click.option(
        "--token-file",
        type=click.File(encoding="utf-8"),
        metavar="FILE",
        help="File with the token of the listener.  [default: $HASHRING_ADMIN_TOKEN]",
    )
    @json_option
    @wraps(function)
    def with_gateway(*args: Any, url: str | None, token_file: Any, **kwargs: Any) -> Any:
        from hashring.cli._running import AdminClient

        token = token_file.readline().strip() if token_file is not None else None
        gateway = AdminClient(url or os.environ.get(_VARIABLE) or _DEFAULT, token)
        return function(*args, gateway=gateway, **kwargs)

    return with_gateway


def _emit(found: Any) -> None:
    click.echo(json.dumps(found, indent=2))


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f} %"


# -- looking --------------------------------------------------------------------------------------


@click.command("status")
@_gateway
def status(gateway: AdminClient, as_json: bool) -> None:
    """Show whether the gateway is ready, and its counts."""
    found = gateway.get("/v1/status")
    if as_json:
        return _emit(found)
    states = ", ".join(f"{count} {state}" for state, count in found["hosts"].items())
    placed = found["placement"]
    lines = {
        "ready": "yes" if found["ready"] else "no",
        "hosts": states,
        "placement": "none" if placed is None else placed["kind"],
        "fingerprint": f"{found['fingerprint']} (epoch {found['epoch']})",
        "in flight": f"{found['in_flight']:,}",
        **{name: f"{count:,}" for name, count in found["stats"].items() if isinstance(count, int)},
    }
    for name, text in lines.items():
        click.echo(f"{name.replace('_', ' '):<17}{printable(text, 200)}")
    return None


@click.command("hosts")
@_gateway
def hosts(gateway: AdminClient, as_json: bool) -> None:
    """List the hosts with state, share and load."""
    found = gateway.get("/v1/hosts")
    if as_json:
        return _emit(found)
    from hashring.cli._render import page

    with page() as out:
        out.print(_host_table(found["hosts"], out.width))
    return None


def _host_table(listed: list[dict[str, Any]], width: int) -> RenderableType:
    from rich.text import Text

    from hashring.analysis._rich import rich_table
    from hashring.analysis.tables import ReportTable, host_label

    rows = tuple(
        (
            host_label(host["name"], max(12, width // 3)),
            host["state"],
            _percent(host["share"]),
            f"{host['in_flight']:,}",
            f"{host['ok']:,}",
            f"{host['failed']:,}",
            f"{1000 * host['latency']:.0f} ms",
            f"{host['weight']:g}",
        )
        for host in listed
    )
    heads = ("host", "state", "share", "in flight", "ok", "failed", "latency", "weight")
    table = rich_table(ReportTable("hosts", heads, rows, left=2), width)
    for row, host in zip(table.rows, listed, strict=True):
        row.style = _STYLES.get(host["state"], "")
    notes = [note for host in listed for note in _notes(host)]
    if not notes:
        return table
    from rich.console import Group

    return Group(table, Text(), *(Text(note, style="dim") for note in notes))


def _notes(host: dict[str, Any]) -> Iterator[str]:
    name = printable(host["name"])
    for holder, why in host["down"].items():
        yield f"{name} is down ({printable(holder)}: {printable(why, 200)})"
    for drain in host["drains"]:
        left = drain["seconds_left"]
        end = "without a deadline" if left is None else f"{left:.0f} s left"
        yield f"{name} drains ({printable(drain['by'])}, {end})"


@click.command("where")
@click.argument("client_id", metavar="[CLIENT_ID]", required=False)
@click.option("--cookie", metavar="VALUE", help="Look up the client of this cookie instead.")
@_gateway
def where(gateway: AdminClient, client_id: str | None, cookie: str | None, as_json: bool) -> None:
    """Show the host of a client."""
    found = _locate(gateway, client_id, cookie)
    if as_json:
        return _emit(found)
    click.echo("(fallback)" if found["host"] is None else printable(found["host"]))
    return None


@click.command("explain")
@click.argument("client_id", metavar="[CLIENT_ID]", required=False)
@click.option("--cookie", metavar="VALUE", help="Explain the client of this cookie instead.")
@_gateway
def explain(gateway: AdminClient, client_id: str | None, cookie: str | None, as_json: bool) -> None:
    """Explain why a client has its host."""
    found = _locate(gateway, client_id, cookie)
    if as_json:
        return _emit(found)
    host = "(fallback)" if found["host"] is None else found["host"]
    click.echo(f"{printable(found['client_id'])} -> {printable(host)} ({found['reason']})")
    lines = {
        "identity": "a token" if found["from"] == "token" else "the ID that was given",
        "position": "" if found["position"] is None else f"{found['position']:,}",
        "owner": found["owner"] or "",
        "walk": ", ".join(found["walk"]),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"  {name:<9} {printable(text, 200)}")
    for each in found["skipped"]:
        why = f"{each['host']} ({each['by']}: {each['why']})"
        click.echo(f"  skipped   {printable(why, 200)}")
    return None


def _locate(gateway: AdminClient, client_id: str | None, cookie: str | None) -> Any:
    if (client_id is None) == (cookie is None):
        raise click.UsageError("give CLIENT_ID or --cookie VALUE", click.get_current_context())
    given = {"id": client_id} if cookie is None else {"cookie": cookie}
    return gateway.get(f"/v1/where?{urlencode(given)}")


@click.command("events")
@click.option("--follow", is_flag=True, help="Print further events until interrupted.")
@_gateway
def events(gateway: AdminClient, follow: bool, as_json: bool) -> None:
    """Print what happened to the hosts."""
    after, wait = 0, 0.0
    while True:
        found = gateway.get(f"/v1/events?after={after}&wait={wait:g}", wait + 5.0)
        for event in found["events"]:
            click.echo(json.dumps(event) if as_json else _event_line(event))
        sys.stdout.flush()
        if not follow:
            return
        after, wait = found["next"], _POLL


def _event_line(event: dict[str, Any]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    why = f": {event['why']}" if event["why"] else ""
    by = f" by {event['by']}" if event["by"] else ""
    moved = "" if event["moved"] is None else f", {_percent(event['moved'])} of all keys"
    return f"{at} {event['kind']} {printable(event['host'] + by + why, 300)}{moved}"


# -- acting ---------------------------------------------------------------------------------------


def _acting(function: Function) -> Function:
    for decorate in (
        _gateway,
        click.option("--dry-run", is_flag=True, help="Change nothing; show what would move."),
        click.option("--reason", metavar="TEXT", help="Reason, for the log of the gateway."),
        click.argument("host", metavar="HOST"),
    ):
        function = decorate(function)
    return function


def _act(
    gateway: AdminClient,
    action: str,
    host: str,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    given = {"reason": reason, **values}
    path = f"/v1/hosts/{quote(host, safe='')}/{action}" + ("?dry_run=1" if dry_run else "")
    found = gateway.post(path, {name: value for name, value in given.items() if value is not None})
    if as_json:
        return _emit(found)
    state = found["host"]["state"]
    verb = "would move" if dry_run else "moved"
    kept = ", known clients stay" if action == "drain" and found["keeps_sessions"] else ""
    click.echo(
        f"{printable(host)} is {state} (weight {found['host']['weight']:g}); "
        f"{_percent(found['moved'])} of all keys {verb}{kept}"
    )
    return None


@click.command("drain")
@click.option("--deadline", type=click.FloatRange(0), metavar="SECONDS", help="Down after it.")
@click.option("--wait", is_flag=True, help="Wait until the host has no sessions or requests.")
@click.option(
    "--idle",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="With --wait and tokens: seconds without a request after which it is empty.",
)
@_acting
def drain(
    gateway: AdminClient,
    host: str,
    reason: str | None,
    deadline: float | None,
    wait: bool,
    idle: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Drain a host: known clients stay, new ones go elsewhere."""
    _act(gateway, "drain", host, reason, dry_run, as_json, deadline=deadline)
    if wait and not dry_run:
        _wait_until_empty(gateway, host, idle)


def _wait_until_empty(gateway: AdminClient, host: str, idle: float) -> None:
    """Return once ``host`` has no session or request left, or is down or gone.

    A gateway that keeps sessions by tokens cannot count them: the host is then empty when it had no
    request for ``idle`` seconds.
    """
    from rich.console import Console

    served, since = -1, time.monotonic()
    with Console(stderr=True).status("draining") as view:
        while True:
            found = [each for each in gateway.get("/v1/hosts")["hosts"] if each["name"] == host]
            if not found or found[0]["state"] == "down":
                break
            count = found[0]["ok"] + found[0]["failed"]
            if count != served or found[0]["in_flight"]:
                served, since = count, time.monotonic()
            quiet, sessions = time.monotonic() - since, found[0]["sessions"]
            if not found[0]["in_flight"] and (
                sessions == 0 or (sessions is None and quiet >= idle)
            ):
                break
            left = (
                f"{quiet:.0f} of {idle:g} s idle" if sessions is None else f"{sessions:,} sessions"
            )
            view.update(f"{printable(host)} drains: {found[0]['in_flight']:,} in flight, {left}")
            time.sleep(_LOOK)
    click.echo(f"{printable(host)} is empty", err=True)


def _simple(name: str, help_: str) -> click.Command:
    @_acting
    def act(
        gateway: AdminClient, host: str, reason: str | None, dry_run: bool, as_json: bool
    ) -> None:
        _act(gateway, name, host, reason, dry_run, as_json)

    return click.command(name, help=help_)(act)


@click.command("weight")
@_acting
@click.argument("weight", type=click.FloatRange(0), metavar="WEIGHT")
def weight_of(
    gateway: AdminClient,
    host: str,
    weight: float,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Change the weight of a host; 0 drains it."""
    _act(gateway, "weight", host, reason, dry_run, as_json, weight=weight)


@click.command("assign")
@click.argument("client_id", metavar="CLIENT_ID")
@click.argument("host", metavar="HOST")
@_gateway
def assign(gateway: AdminClient, client_id: str, host: str, as_json: bool) -> None:
    """Assign a client to a host."""
    found = gateway.post("/v1/sessions/assign", {"client_id": client_id, "host": host})
    _print_change(found, f"{printable(client_id)} -> {printable(host)}", as_json)


@click.command("forget")
@click.argument("client_id", metavar="CLIENT_ID")
@_gateway
def forget(gateway: AdminClient, client_id: str, as_json: bool) -> None:
    """Forget the session of a client."""
    found = gateway.post("/v1/sessions/forget", {"client_id": client_id})
    _print_change(found, f"{printable(client_id)} is a new client", as_json)


def _print_change(found: Any, words: str, as_json: bool) -> None:
    if as_json:
        _emit(found)
    else:
        click.echo(words if found["changed"] else "nothing changed")


# -- a live view ----------------------------------------------------------------------------------


@click.command("top")
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one view and exit.")
@_gateway
def top(gateway: AdminClient, interval: float, once: bool, as_json: bool) -> None:
    """Watch the hosts live, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    if as_json:
        return _emit({**gateway.get("/v1/status"), **gateway.get("/v1/hosts")})
    out = Console(markup=False, highlight=False, emoji=False)
    view = _View(gateway, lambda: out.width)
    if once or not out.is_terminal:
        out.print(view.picture())
        return None
    with Live(view.picture(), console=out, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(interval)
            live.update(view.picture(), refresh=True)


class _View:
    """The picture of `hashring top`: counts of the gateway, its hosts and the last events."""

    def __init__(self, gateway: AdminClient, width: Callable[[], int]) -> None:
        self._gateway, self._width = gateway, width
        self._requests: tuple[float, int] | None = None

    def picture(self) -> RenderableType:
        """The picture now."""
        from rich.console import Group
        from rich.text import Text

        found = self._gateway.get("/v1/status")
        listed = sorted(self._gateway.get("/v1/hosts")["hosts"], key=lambda each: each["name"])
        lines = [_event_line(each) for each in self._gateway.get("/v1/events")["events"][-8:]]
        now, requests = time.monotonic(), found["stats"].get("requests", 0)
        rate = ""
        if self._requests is not None:
            before, count = self._requests
            rate = f", {(requests - count) / max(now - before, 0.001):,.0f} requests/s"
        self._requests = now, requests
        states = ", ".join(f"{count} {state}" for state, count in found["hosts"].items())
        head = f"{self._gateway.url}: {'ready' if found['ready'] else 'not ready'}, {states}, "
        head += f"{found['in_flight']:,} in flight{rate}"
        return Group(
            Text(printable(head, 300), style="bold"),
            Text(),
            _host_table(listed, self._width()),
            Text(),
            *(Text(line, style="dim") for line in lines),
        )


COMMANDS = {
    command.name or "": command
    for command in (
        assign,
        _simple("down", "Mark a host down."),
        drain,
        events,
        explain,
        forget,
        hosts,
        _simple("resume", "End the drain of a host."),
        status,
        top,
        _simple("up", "End the down mark of a host."),
        weight_of,
        where,
    )
}
"""The commands of this file by name."""
