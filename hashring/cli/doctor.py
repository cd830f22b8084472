"""``hashring doctor``: what a source lists, and what is wrong with it."""

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
from hashring.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from hashring.discovery import Finding, Membership, Source

_SHOWN = 5  # names in one line: enough to see which kind they are


@click.command("doctor")
@source_options
@json_option
def command(source: Source, within: float, as_json: bool) -> int:
    """Diagnose a source: permissions, hosts, drains, clocks.

    Exits with 1 when a finding of SOURCE_URL is an error.
    """
    findings = asyncio.run(_examine(source, within))
    if as_json:
        listed = [finding._asdict() for finding in findings]
        emit("doctor", None, {"source": str(source), "findings": listed})
    else:
        click.echo(str(source))
        for finding in findings:
            click.echo(f"  {finding.level:<8} {printable(finding.text, 1000)}")
    if any(finding.level == "error" for finding in findings):
        click.get_current_context().exit(1)
    return 0


async def _examine(source: Source, within: float) -> list[Finding]:
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
    return [*findings, *judge(membership, time.monotonic() - began)]


async def _first(source: Source) -> Membership:
    # each source's watch() is a generator, which must be closed
    generator = cast("AsyncGenerator[Membership, None]", source.watch())
    async with aclosing(generator) as memberships:
        return await anext(memberships)


def judge(membership: Membership, took: float) -> Iterator[Finding]:
    """The findings about a membership, from any source.

    >>> from hashring.discovery import Entry, gather
    >>> for finding in judge(gather([Entry("a", "h:1"), Entry("b", "h:1", 0)], "7"), 0.01):
    ...     print(*finding)
    ok 2 hosts at revision 7 after 10 ms
    warning 1 of 2 hosts drain: b
    warning h:1 is the address of 2 hosts
    """
    from hashring.discovery import Finding

    hosts = membership.hosts
    at = f" at revision {membership.revision}" if membership.revision else ""
    count = plural(len(hosts), "host")
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
        yield Finding("warning", f"ignored: {problem}")
