"""``hashring route``: the host of each key, and why."""

from __future__ import annotations

import os
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from hashring.analysis.tables import host_label
from hashring.cli._json import emit
from hashring.cli._options import PoolOptions, json_option, pool_options
from hashring.text import printable

if TYPE_CHECKING:
    from hashring.analysis import PlacedHosts

_CIRCLE = 1 << 32  # positions are 32 bits
_WALK = 3  # the owner and two more: who takes over, and who if both are down


@click.command("route")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@pool_options
@click.option("--explain", is_flag=True, help="Show why: position, vnode and the next hosts.")
@json_option
def command(keys: tuple[str, ...], pool: PoolOptions, explain: bool, as_json: bool) -> None:
    """Show the host of each key.

    KEY is a client ID, or - to read one from each line of standard input.
    """
    membership = pool.membership()
    routes = _routes(list(_parse_given(keys)), membership)
    fingerprint = membership.table.fingerprint
    if as_json:
        emit("route", pool, {"fingerprint": fingerprint, "keys": routes})
    elif explain:
        _explain(routes, fingerprint)
    else:
        _list(routes)
        sys.stdout.flush()  # so that the error of a full disk comes first
        click.echo(f"fingerprint {fingerprint}", err=True)  # scripts cut the lines on stdout


def _parse_given(keys: Iterable[str]) -> Iterator[bytes]:
    for key in keys:
        if key == "-":
            lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
            yield from (line for line in lines if line)
        else:
            yield os.fsencode(key)


def _routes(keys: list[bytes], membership: PlacedHosts) -> list[dict[str, Any]]:
    table, ring = membership.table, membership.ring
    vnodes = [] if ring is None else ring.vnode_list()
    routes = []
    for key in keys:
        route: dict[str, Any] = {"key": key.decode("utf-8", "backslashreplace")}
        route |= {"host": table.lookup(key), "position": None, "vnode": None}
        route["walk"] = list(islice(table.walk(key), _WALK))
        if ring is not None:
            at = route["position"] = ring.position(key)
            route["vnode"] = vnodes[bisect_left(vnodes, (at, "")) % len(vnodes)][0]
        routes.append(route)
    return routes


def _list(routes: list[dict[str, Any]]) -> None:

    shown = [printable(route["key"]) for route in routes]
    width = max(map(len, shown))
    for key, route in zip(shown, routes, strict=True):
        sys.stdout.write(f"{key:<{width}}  {host_label(route['host'])}\n")


def _explain(routes: list[dict[str, Any]], fingerprint: str) -> None:
    from hashring.cli._render import page

    with page() as out:
        for route in routes:
            out.print(f"{printable(route['key'])} -> {host_label(route['host'])}", style="bold")
            if route["position"] is not None:
                at, vnode = route["position"], route["vnode"]
                beyond = (vnode - at) % _CIRCLE
                out.print(f"  position  {at:,}, {100 * at / _CIRCLE:.2f} % around the circle")
                out.print(
                    f"  vnode     {vnode:,}, {beyond:,} further: the first one at or after it"
                )
            out.print(f"  walk      {', '.join(host_label(host) for host in route['walk'])}")
        out.print(f"fingerprint {fingerprint}", style="dim")
