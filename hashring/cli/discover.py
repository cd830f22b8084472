"""``hashring discover``: who is in, according to a source, and who comes and goes?"""

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hashring import LoadBalancer
    from hashring.discovery import Discovery, Membership, Notice, Source

__all__ = ["command", "differences"]


@click.command("discover")
@source_options
@click.option("--watch", is_flag=True, help="Go on and print each change, until interrupted.")
@click.option("--placement", default="ring", show_default=True, help="What the fingerprint is of.")
@json_option
def command(source: Source, within: float, watch: bool, placement: str, as_json: bool) -> None:
    """Who is in, according to SOURCE_URL: every host with its address and weight.

    Shows what a router would have in its pool: an answer that says that most hosts are gone is
    held for its grace time, and a source that is down changes nothing. With --json each membership
    is one line on stdout; what else happens is told on stderr.
    """
    from hashring import LoadBalancer

    # every notice is printed here: without a handler, logging would print the bad ones once more
    logging.getLogger("hashring").addHandler(logging.NullHandler())
    with usage():
        lb = LoadBalancer(placement=placement)
    show = (_Json if as_json else _Text)(lb)
    asyncio.run(_follow(source, lb, within, watch, show))


async def _follow(
    source: Source, lb: LoadBalancer, within: float, watch: bool, show: _Text
) -> None:
    from hashring.discovery import Discovery

    discovery = Discovery(source, lb, wait=within)
    unread: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    hears = show.hears(discovery)

    refused: list[str] = []

    def told(notice: Notice) -> None:
        if notice.kind == "refused":
            refused.append(f"{source}: {notice.text}")
        try:
            hears(notice)
        except OSError as error:  # what a listener raises is only logged, and this ends us
            if not unread.done():
                unread.set_exception(error)

    discovery.subscribe(told)
    async with discovery:
        if watch or unread.done():
            await unread
        if discovery.membership is None:
            silent = f"{source} did not answer within {within:g} s"
            why = discovery.trouble or (refused[-1] if refused else silent)
            raise DiscoveryError(why, source=str(source))
        if not lb.hosts:
            raise NoHostsError(f"{source} says that nobody is in")


class _Text:
    """Changes for people: who came (+), went (-), or is another than before (~)."""

    def __init__(self, lb: LoadBalancer) -> None:
        self._lb = lb
        self._before: Membership | None = None

    def hears(self, discovery: Discovery) -> Callable[[Notice], None]:
        """What prints the notices of ``discovery``."""

        def told(notice: Notice) -> None:
            membership = discovery.membership
            if notice.kind == "changed" and membership is not None:
                self.changed(notice, membership)
                self._before = membership
            else:
                click.echo(f"{_now()} {_one_line(str(notice))}", err=True)

        return told

    def changed(self, notice: Notice, membership: Membership) -> None:
        """Print one change."""
        revision = f", revision {membership.revision}" if membership.revision else ""
        click.echo(f"{_now()} {_one_line(notice.text)}{revision}, {self._lb.fingerprint}")
        for line in differences(self._before, membership):
            click.echo(f"  {line}")


class _Json(_Text):
    """Memberships for programs: one line each, complete, flushed."""

    def changed(self, notice: Notice, membership: Membership) -> None:
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
    """One line for each host that came, went or changed.

    >>> from hashring.discovery import Entry, gather
    >>> old, new = gather([Entry("a"), Entry("b")]), gather([Entry("b", "10.0.0.2:80", 0)])
    >>> list(differences(old, new))
    ['- a', '~ b 10.0.0.2:80 weight 1 draining']
    """
    old = _described(before) if before is not None else {}
    new = _described(after)
    yield from (f"- {name}" for name in old if name not in new)
    for name, said in new.items():
        if old.get(name) != said:
            yield f"{'~' if name in old else '+'} {said}"


def _described(membership: Membership) -> dict[str, str]:
    said = {}
    for host in membership.hosts:
        drains = " draining" if host.name in membership.draining else ""
        text = f"{host.name} {host.address} weight {host.weight:g}{drains}"
        said[_one_line(host.name)] = _one_line(text)
    return said


def _one_line(text: str) -> str:
    from hashring.analysis._formats import show

    return show(text, 1000)  # names are other people's text


def _now() -> str:
    return time.strftime("%H:%M:%S")
