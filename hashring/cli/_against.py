"""Differences between a configuration and a running gateway, and the keys that would move."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from hashring import placement as placements
from hashring.cli._running import Running
from hashring.cli._sources import balancer_of
from hashring.errors import HashringError
from hashring.hosts import Host

if TYPE_CHECKING:
    from hashring.config import Settings
    from hashring.placement import Table

_SAMPLE = 10_000
"""Keys: a measured share is exact to half a percent (one sigma)."""

_NONE = "none"  # the name of no placement in the settings


class Difference(NamedTuple):
    """One difference: its name, the value of the file, the value of the gateway."""

    part: str
    ours: str
    theirs: str


@dataclass(frozen=True)
class Ours:
    """The pool of a configuration: as ``Running``, with the secret and the tables."""

    fingerprint: str
    placement: str
    options: Mapping[str, Any]
    secret: bytes | None
    hosts: tuple[Host, ...]
    away: Mapping[str, str]
    table: Table | None
    usable: Table | None
    by_address: bool


@dataclass(frozen=True)
class Compared:
    """The differences, and the share of all keys that has another host.

    ``moved``: with every host up; ``moved_now``: with the hosts that are up now. None if unknown:
    without a placement, or for a table that ``/state`` does not describe.
    """

    differences: tuple[Difference, ...]
    moved: float | None
    moved_now: float | None


def ours_of(settings: Settings) -> Ours:
    """The pool that ``serve`` would have; with a source, after its first list.

    Raises ``DiscoveryError`` without a list in the time of the settings.
    """
    lb = balancer_of(settings)
    place, snapshot = settings.placement, lb.snapshot
    known = {} if place.name == _NONE else placements.options(place.name)
    states = {host.name: lb.state(host.name) for host in lb.hosts}
    return Ours(
        lb.fingerprint,
        place.name,
        {**known, **place.options},
        place.key_secret,
        lb.hosts,
        {name: state for name, state in states.items() if state != "up"},
        snapshot.table,
        snapshot.usable_table,
        settings.identity.sources == ("address",),
    )


def compare_running(ours: Ours, running: Running) -> Compared:
    """Compare the two. Cost: that of a table and of 20,000 look-ups."""
    found = list(_differences(ours, running))
    table, doubt = _rebuilt(ours, running)
    if doubt is not None:
        found.insert(0, doubt)
    if _NONE in (ours.placement, running.placement) or (table is None and running.hosts):
        return Compared(tuple(found), None, None)
    away = frozenset(running.away)
    usable = table.without(away) if table is not None and away else table
    keys = _keys(ours)
    return Compared(
        tuple(found), _count_moves(keys, table, ours.table), _count_moves(keys, usable, ours.usable)
    )


def _differences(ours: Ours, running: Running) -> Iterator[Difference]:
    if ours.placement != running.placement:
        yield Difference("placement", ours.placement, running.placement)
    else:
        for name, (here, there) in _unlike(ours.options, running.options):
            yield Difference(f"placement.{name}", _text(here), _text(there))
    if running.hosts and (ours.secret is not None) != running.keyed:
        words = {True: "a secret", False: "no secret"}
        yield Difference("secret", words[ours.secret is not None], words[running.keyed])
    yield from _hosts(
        {host.name: host for host in ours.hosts}, {host.name: host for host in running.hosts}
    )
    for name, (here, there) in _unlike(ours.away, running.away):
        yield Difference(f"state of {name}", _text(here or "up"), _text(there or "up"))


def _hosts(ours: Mapping[str, Host], theirs: Mapping[str, Host]) -> Iterator[Difference]:
    for name in sorted(ours.keys() ^ theirs.keys()):
        here = name in ours
        yield Difference(f"host {name}", *(("in", "not in") if here else ("not in", "in")))
    for name in sorted(ours.keys() & theirs.keys()):
        for field in ("weight", "address", "id", "guid"):
            here, there = getattr(ours[name], field), getattr(theirs[name], field)
            if here != there:
                yield Difference(f"{field} of {name}", _text(here), _text(there))


def _unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(name), theirs.get(name)
        if here != there:
            yield name, (here, there)


def _rebuilt(ours: Ours, running: Running) -> tuple[Table | None, Difference | None]:
    """The gateway's table made here, and the difference if its fingerprint is another."""
    if running.placement == _NONE or not running.hosts:
        return None, None
    secret = {"key_secret": ours.secret or secrets.token_bytes(32)} if running.keyed else {}
    mark = running.fingerprint.partition(".")[0]
    try:
        recipe = placements.recipe(running.placement, **running.options, **secret)
        table = recipe(running.hosts)
    except HashringError as error:
        return None, Difference("table", "cannot be made here", str(error))
    if table.fingerprint == mark:
        return table, None
    if not running.keyed:
        return None, Difference("table", table.fingerprint, f"{mark}: another order or version")
    if ours.secret is None:
        return table, None  # already listed as a difference
    # any other secret moves the same part of the keys
    other = placements.recipe(
        running.placement, **running.options, key_secret=secrets.token_bytes(32)
    )(running.hosts)
    return other, Difference("secret", "one secret", "another secret")


def _keys(ours: Ours) -> list[str]:
    if ours.by_address:  # some placements hash only addresses
        return [f"10.{n % 7}.{n >> 8}.{n & 255}" for n in range(_SAMPLE)]
    return [f"session-{number}" for number in range(_SAMPLE)]


def _count_moves(keys: list[str], one: Table | None, other: Table | None) -> float:
    def owner(table: Table | None, key: str) -> str | None:
        return None if table is None else table.lookup(key)

    return sum(owner(one, key) != owner(other, key) for key in keys) / len(keys)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
