"""``hashring discover``: the hosts that a source lists, and their changes."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._json import SCHEMA
from hashring.cli._options import json_option, usage
from hashring.cli._sources import source_options
from hashring.errors import DiscoveryError, NoHostsError
from hashring.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hashring import LoadBalancer
    from hashring.discovery import Discovery, Membership, Notice, Source


@click.command("discover")
@source_options
@click.option("--watch", is_flag=True, help="Print each change until interrupted.")
@click.option(
    "--placement",
    default="ring",
    show_default=True,
    help="Placement that the fingerprint is computed for.",
)
@json_option
def command(source: Source, within: float, watch: bool, placement: str, as_json: bool) -> None:
    """Print the hosts that a source lists, and their changes.

    Shows the pool that a router with SOURCE_URL would have: a list without most of the hosts is
    held back for 30 s, and a source that is down changes nothing. With --json each list
    is one line on stdout; other events are printed on stderr.
    """
    from hashring import LoadBalancer

    # every notice is printed here; without a handler, logging would print some of them again
    logging.getLogger("hashring").addHandler(logging.NullHandler())
    with usage():
        lb = LoadBalancer(placement=placement)
    show = (_JsonLines if as_json else _ChangeLines)(lb)
    asyncio.run(_follow(source, lb, within, watch, show))


async def _follow(
    source: Source, lb: LoadBalancer, within: float, watch: bool, show: _ChangeLines
) -> None:
    from hashring.discovery import Discovery

    discovery = Discovery(source, lb, wait=within)
    unread: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    print_notice = show.listener(discovery)

    refused: list[str] = []

    def on_notice(notice: Notice) -> None:
        if notice.kind == "refused":
            refused.append(f"{source}: {notice.text}")
        try:
            print_notice(notice)
        except OSError as error:  # an error of a listener is only logged, and this one ends us
            if not unread.done():
                unread.set_exception(error)

    discovery.subscribe(on_notice)
    async with discovery:
        if watch or unread.done():
            await unread
        if discovery.membership is None:
            silent = f"{source} did not answer within {within:g} s"
            why = discovery.last_error or (refused[-1] if refused else silent)
            raise DiscoveryError(why, source=str(source))
        if not lb.hosts:
            raise NoHostsError(f"{source} lists no host")


class _ChangeLines:
    """Changes for people: added (+), removed (-) and changed (~) hosts."""

    def __init__(self, lb: LoadBalancer) -> None:
        self._lb = lb
        self._before: Membership | None = None

    def listener(self, discovery: Discovery) -> Callable[[Notice], None]:
        """Returns a function that prints the notices of ``discovery``."""

        def on_notice(notice: Notice) -> None:
            membership = discovery.membership
            if notice.kind == "changed" and membership is not None:
                self.report_change(notice, membership)
                self._before = membership
            else:
                click.echo(f"{_now()} {_one_line(str(notice))}", err=True)

        return on_notice

    def report_change(self, notice: Notice, membership: Membership) -> None:
        """Print one change."""
        revision = f", revision {membership.revision}" if membership.revision else ""
        click.echo(f"{_now()} {_one_line(notice.text)}{revision}, {self._lb.fingerprint}")
        for line in differences(self._before, membership):
            click.echo(f"  {line}")


class _JsonLines(_ChangeLines):
    """Memberships for programs: one complete line each, flushed."""

    def report_change(self, notice: Notice, membership: Membership) -> None:
        """Print one membership."""
        hosts = [
            {
                "name": host.name,
                "address": host.address,
                "weight": host.weight,
                "draining": host.name in membership.draining,
            }
            for host in membership.hosts
        ]
        report: dict[str, Any] = {
            "schema": SCHEMA,
            "command": "discover",
            "source": notice.source,
            "revision": membership.revision,
            "fingerprint": self._lb.fingerprint,
            "hosts": hosts,
            "problems": list(membership.problems),
        }
        click.echo(json.dumps(report))  # which flushes


def differences(before: Membership | None, after: Membership) -> Iterator[str]:
    """One line for each host that was added, removed or changed.

    >>> from hashring.discovery import Entry, gather
    >>> old, new = gather([Entry("a"), Entry("b")]), gather([Entry("b", "10.0.0.2:80", 0)])
    >>> list(differences(old, new))
    ['- a', '~ b 10.0.0.2:80 weight 1 draining']
    """
    old = _describe(before) if before is not None else {}
    new = _describe(after)
    yield from (f"- {name}" for name in old if name not in new)
    for name, line in new.items():
        if old.get(name) != line:
            yield f"{'~' if name in old else '+'} {line}"


def _describe(membership: Membership) -> dict[str, str]:
    lines = {}
    for host in membership.hosts:
        drains = " draining" if host.name in membership.draining else ""
        text = f"{host.name} {host.address} weight {host.weight:g}{drains}"
        lines[_one_line(host.name)] = _one_line(text)
    return lines


def _one_line(text: str) -> str:

    return printable(text, 1000)  # names come from outside


def _now() -> str:
    return time.strftime("%H:%M:%S")
