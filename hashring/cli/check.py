"""``hashring check``: the problems of a configuration."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._json import emit
from hashring.cli._options import json_option
from hashring.text import printable

if TYPE_CHECKING:
    from hashring.cli._against import Compared
    from hashring.config import ProblemsError, Settings

BAD_CONFIG = 3
_LONGEST = 500  # characters of one problem: the text of a file comes from outside


@click.command("check")
@click.argument("file", metavar="FILE")
@click.option(
    "--against", metavar="URL", help="Compare with the running gateway of this admin listener."
)
@json_option
def command(file: str, against: str | None, as_json: bool) -> None:
    """List the problems of a configuration file.

    Each problem has its line, key and a hint. The environment counts as for `hashring serve`.
    Exits with 0, or 3 if there is a problem.

    With --against, the differences between FILE and a running gateway are listed, with the share
    of all keys that would move if the gateway had the settings of FILE; exits with 1 if anything
    differs.
    """
    from hashring.config import ProblemsError, balancer, read

    try:
        settings = read(file)
    except ProblemsError as error:
        if as_json:
            emit("check", None, {"file": file, "problems": list(map(asdict, error.problems))})
        else:
            print_problems(error)
        raise SystemExit(BAD_CONFIG) from None
    if against is not None:
        _compare(file, settings, against, as_json)
        return
    mark = balancer(settings).fingerprint
    if as_json:
        emit("check", None, _facts(file, settings, mark))
    else:
        click.echo(f"{file}: ok: {_summary(settings)}\n{mark}")


def _facts(file: str, settings: Settings, fingerprint: str) -> dict[str, Any]:
    place = settings.placement
    listed = {"placement": place.name, "options": dict(place.options)}
    return {"fingerprint": fingerprint, **listed, "file": file, "problems": []}


def _compare(file: str, settings: Settings, url: str, as_json: bool) -> None:
    from hashring.cli._against import compare_running, ours_of
    from hashring.cli._running import AdminClient, running_of

    running = running_of(AdminClient(url).get("/state"))
    ours = ours_of(settings)
    found = compare_running(ours, running)
    if as_json:
        facts = _facts(file, settings, ours.fingerprint)
        more = {"against": url, "fingerprint_there": running.fingerprint}
        listed = [difference._asdict() for difference in found.differences]
        moved = {"moved": found.moved, "moved_now": found.moved_now}
        emit("check", None, facts, more, {"equal": not listed, "differences": listed, **moved})
    else:
        _print(file, ours.fingerprint, url, running.fingerprint, found)
    if found.differences:
        click.get_current_context().exit(1)


def _print(file: str, mark: str, url: str, mark_there: str, found: Compared) -> None:
    from hashring.text import plural

    width = max(len(file), len(url))
    click.echo(f"{file:<{width}}  {mark}\n{url:<{width}}  {printable(mark_there)}")
    if not found.differences:
        click.echo("equal: every key goes to the same host")
        return
    click.echo(f"{plural(len(found.differences), 'difference')} (file | gateway)")
    for part, ours, theirs in found.differences:
        click.echo(f"  {printable(part, 80)}: {printable(ours, 80)} | {printable(theirs, 80)}")
    if found.moved is None or found.moved_now is None:
        click.echo("the number of keys that would move is unknown")
        return
    now = "" if found.moved == found.moved_now else f" ({found.moved_now:.1%} as hosts are up now)"
    click.echo(f"{found.moved:.1%} of all keys would move{now}")


def print_problems(error: ProblemsError) -> None:
    """Print each problem on a line of stderr, then their number."""
    from hashring.text import plural

    for problem in error.problems:
        click.echo(printable(str(problem), _LONGEST), err=True)
    click.echo(f"hashring: {plural(len(error.problems), 'problem')}", err=True)


def _summary(settings: Settings) -> str:
    from hashring.text import plural

    hosts = plural(len(settings.pool.hosts), "host")
    if settings.discovery.url:
        from hashring.discovery import source

        listed = f"the hosts of {source(settings.discovery.url)}"
        hosts = f"{listed}, and {hosts} until it answers" if settings.pool.hosts else listed
    return f"{hosts}, placement {settings.placement.name}, listens on {settings.gateway.listen}"
