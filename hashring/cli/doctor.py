"""``hashring doctor``: can this source be read, what does it see, and what is wrong?"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import click

from hashring.cli._json import emit
from hashring.cli._options import json_option
from hashring.cli._sources import source_options

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from hashring.discovery import Finding, Membership, Source

__all__ = ["command", "judged"]

_SHOWN = 5  # names in one line: enough to see which kind they are


@click.command("doctor")
@source_options
@json_option
def command(source: Source, within: float, as_json: bool) -> int:
    """What SOURCE_URL sees, and what is wrong: permissions, no hosts, draining hosts, clocks.

    Exits with 1 when there is an error among the findings.
    """
    findings = asyncio.run(_examined(source, within))
    if as_json:
        listed = [finding._asdict() for finding in findings]
        emit("doctor", None, {"source": str(source), "findings": listed})
    else:
        from hashring.analysis._formats import show

        click.echo(str(source))
        for finding in findings:
            click.echo(f"  {finding.level:<8} {show(finding.text, 1000)}")
    if any(finding.level == "error" for finding in findings):
        click.get_current_context().exit(1)
    return 0


async def _examined(source: Source, within: float) -> list[Finding]:
    from hashring.discovery import Finding
    from hashring.errors import HashringError

    findings: list[Finding] = []
    examine: Any = getattr(source, "examine", None)
    if examine is not None:
        try:
            async with asyncio.timeout(within):
                findings += await examine()
        except TimeoutError:
            findings.append(Finding("error", f"no answer within {within:g} s"))
    began = time.monotonic()
    try:
        async with asyncio.timeout(within):
            membership = await _first(source)
    except TimeoutError:
        return [*findings, Finding("error", f"no membership within {within:g} s")]
    except (HashringError, OSError) as error:
        known = any(finding.level == "error" for finding in findings)
        return findings if known else [*findings, Finding("error", str(error))]
    return [*findings, *judged(membership, time.monotonic() - began)]


async def _first(source: Source) -> Membership:
    # each source's watch() is a generator, which wants to be closed
    generator = cast("AsyncGenerator[Membership, None]", source.watch())
    async with aclosing(generator) as memberships:
        return await anext(memberships)


def judged(membership: Membership, took: float) -> Iterator[Finding]:
    """What is to be said of a membership, whatever the source.

    >>> from hashring.discovery import Entry, gather
    >>> for finding in judged(gather([Entry("a", "h:1"), Entry("b", "h:1", 0)], "7"), 0.01):
    ...     print(*finding)
    ok 2 hosts at revision 7 after 10 ms
    warning 1 of 2 hosts drain: b
    warning h:1 is the address of 2 hosts
    """
    from hashring.discovery import Finding

    hosts = membership.hosts
    at = f" at revision {membership.revision}" if membership.revision else ""
    count = f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}"
    yield Finding("ok" if hosts else "error", f"{count}{at} after {1000 * took:.0f} ms")
    if membership.draining:
        level = "error" if not membership.usable else "warning"
        named = ", ".join(sorted(membership.draining)[:_SHOWN])
        more = ", ..." if len(membership.draining) > _SHOWN else ""
        yield Finding(
            cast(Any, level), f"{len(membership.draining)} of {count} drain: {named}{more}"
        )
    shared = Counter(host.address for host in hosts)
    for address, times in sorted(shared.items()):
        if times > 1:
            yield Finding("warning", f"{address} is the address of {times} hosts")
    for problem in membership.problems:
        yield Finding("warning", f"left out: {problem}")
