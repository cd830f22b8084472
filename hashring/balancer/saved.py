"""A balancer as plain data: hosts, placement, options, marks and drains. For copies and pickles."""

from __future__ import annotations

from typing import Any

from hashring import pool as changes
from hashring import strategies
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.pool import Snapshot
from hashring.ring import HashRing

FORMAT = 1


def save(given: dict[str, Any], snapshot: Snapshot, now: float) -> dict[str, Any]:
    """A balancer that was made with the options ``given``; ``now`` is its clock's reading."""
    rest = {name: value for name, value in given.items() if name not in ("placement", "fallback")}
    hosts, marks, drains = [], {}, {}
    for name, member in snapshot.members.items():
        hosts.append(_host_fields(member.host))
        if member.down:
            marks[name] = dict(member.down)
        if member.drains:
            drains[name] = {
                by: None if end is None else max(0.0, end - now)
                for by, end in member.drains.items()
            }
    return {
        "format": FORMAT,
        "hosts": hosts,
        "placement": _placement(given["placement"]),
        "fallback": _strategy(given["fallback"]),
        "options": rest,
        "marks": marks,
        "drains": drains,
    }


def options_of(data: Any) -> dict[str, Any]:
    """The arguments of ``LoadBalancer``. Raises ``ConfigError`` for other data."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(f"this is not a saved balancer of format {FORMAT}: use to_dict()")
    placement, fallback = data["placement"], data["fallback"]
    return {
        "hosts": [Host(**fields) for fields in data["hosts"]],
        "placement": HashRing(**placement) if isinstance(placement, dict) else placement,
        "fallback": None if fallback is None else strategies.create(fallback),
        **data["options"],
    }


def restore_members(members: changes.Members, data: Any, now: float) -> changes.Edited:
    """The members with the marks and drains of ``data``."""
    for name, marks in data["marks"].items():
        for holder, reason in marks.items():
            members, _ = changes.add_mark(members, name, reason, holder)
    for name, drains in data["drains"].items():
        for holder, left in drains.items():
            end = None if left is None else now + left
            members, _ = changes.add_drain(members, name, end, holder)
    return members, []


def _host_fields(host: Host) -> dict[str, Any]:
    if type(host) is not Host:
        raise _not_saved_error("hosts", f"{host!r} is a {type(host).__name__}, not a plain Host")
    fields = {"name": host.name, "weight": host.weight, "address": host.address}
    more = {"id": host.id, "guid": host.guid, "meta": dict(host.meta) or None}
    return {**fields, **{name: value for name, value in more.items() if value is not None}}


def _placement(placement: Any) -> Any:
    if placement is None or isinstance(placement, str):
        return placement
    if isinstance(placement, HashRing):
        table = placement.table
        if table.key_check is not None:
            raise _not_saved_error("placement", "the secret of a keyed ring is not saved")
        return {"vnodes": table.vnodes, "seed": table.seed}
    raise _not_saved_error("placement", f"{placement!r} has no name")


def _strategy(fallback: Any) -> str | None:
    if fallback is None:
        return None
    for name in strategies.names():
        if type(fallback) is strategies.find(name):
            return name
    raise _not_saved_error("fallback", f"{fallback!r} is not a strategy with a name")


def _not_saved_error(part: str, why: str) -> ConfigError:
    return ConfigError(
        f"this balancer cannot be saved, pickled or copied, because {why}: make another one from "
        "lb.hosts",
        option=part,
    )
