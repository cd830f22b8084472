"""``hashring placements``: the algorithms and the guarantees of each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._json import emit
from hashring.cli._options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

GUARANTEES = {
    "minimal_move": ("minimal", "adding or removing a host moves only keys to or from that host"),
    "order_free": ("order-free", "the order of the hosts does not matter"),
    "weighted": ("weighted", "shares follow weights"),
    "monotone_weight": ("monotone", "raising a weight moves keys only to that host"),
    "stable_under_down": ("stable", "a host that is down moves only its own keys"),
}
"""The guarantees: the head of the column, and the meaning of a tick in it."""

_PROXIES = {
    "caddy": "Caddy",
    "envoy": "Envoy",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "traefik": "Traefik",
}
_SIGNS = ("✓", "·")
_ASCII = ("x", ".")


@click.command("placements")
@json_option
@click.option(
    "--markdown",
    "as_markdown",
    is_flag=True,
    help="Print the table of docs/choosing-a-placement.md.",
)
def command(as_json: bool, as_markdown: bool) -> None:
    """List the placements and what each one guarantees."""
    found = list(list_placements())
    if as_json:
        emit("placements", None, {"placements": found})
    elif as_markdown:
        sys.stdout.write(markdown(found))
    else:
        _print(found)


def list_placements() -> Iterator[dict[str, Any]]:
    """The declarations of each module; a placement without GUARANTEES guarantees nothing."""
    from hashring.placement import module, names, options

    for name in names():
        of = module(name)
        yield {
            "name": name,
            "guarantees": sorted(getattr(of, "GUARANTEES", ())),
            "exports": sorted(getattr(of, "EXPORTS", ())),
            "cost": getattr(of, "COST", ""),
            "source": getattr(of, "SOURCE", ""),
            "options": dict(options(name)),
        }


def _groups(found: Iterable[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Placements by the proxy they export to; those that export to no proxy come last."""
    rest = list(found)
    for proxy in sorted({proxy for each in rest for proxy in each["exports"]}):
        yield _PROXIES.get(proxy, proxy), [each for each in rest if proxy in each["exports"]]
    alone = [each for each in rest if not each["exports"]]
    if alone:
        yield "", alone


def _print(found: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from hashring.cli._render import page

    width = max(len(each["name"]) for each in found) + 4
    with page() as out:
        signs = _signs(out.encoding)
        for proxy, members in _groups(found):
            title = f"Exports to {proxy}" if proxy else "Exports to no proxy"
            heads = "".join(f"{head:^11}" for head, _ in GUARANTEES.values())
            out.print(Text(f"{title:<{width}}{heads}", style="bold"))
            for each in members:
                _print_one(out, each, width, signs)
            out.print()
        for name, (head, meaning) in GUARANTEES.items():
            out.print(f"{head:<11}{meaning} ({name})", style="dim")
        out.print(f"{len(found)} placements; {signs[0]} guaranteed and tested, {signs[1]} not")


def _print_one(out: Console, each: dict[str, Any], width: int, signs: tuple[str, str]) -> None:
    """A placement: its name and guarantees on one line, cost and source below."""
    from rich.padding import Padding
    from rich.text import Text

    line = Text(f"  {each['name']:<{width - 2}}", style="cyan")
    for name in GUARANTEES:
        kept = name in each["guarantees"]
        line.append(f"{signs[0] if kept else signs[1]:^11}", style="green" if kept else "dim")
    out.print(line)
    for text in (each["cost"], each["source"]):
        if text:
            out.print(Padding(Text(text, style="dim"), (0, 0, 0, 4)))


def _signs(encoding: str) -> tuple[str, str]:
    try:
        "".join(_SIGNS).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _SIGNS


def markdown(found: list[dict[str, Any]]) -> str:
    """The table of the documentation.

    >>> ring = {"name": "ring", "guarantees": ["weighted"], "exports": [], "cost": "", "source": ""}
    >>> print(markdown([ring]).splitlines()[-1])
    | `ring` | | | ✓ | | | none |
    """
    lines = [
        f"| placement | {' | '.join(f'`{name}`' for name in GUARANTEES)} | exports to |",
        "|---|" + "---|" * (len(GUARANTEES) + 1),
    ]
    for proxy, members in _groups(found):
        for each in members:
            ticks = ("✓ |" if name in each["guarantees"] else "|" for name in GUARANTEES)
            lines.append(f"| `{each['name']}` | {' '.join(ticks)} {proxy or 'none'} |")
    return "\n".join(lines) + "\n"
