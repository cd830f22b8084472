"""The hosts of a configuration: texts, or tables of a host's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from hashring.config.values import Found
from hashring.errors import ConfigError, HashringError
from hashring.hosts import Host
from hashring.text import bounded_repr, suggestion
from hashring.validators import ADDRESS, COUNT, FLAG, NUMBER, TEXT, Validator

ReportProblem: TypeAlias = Callable[[tuple[str | int, ...], str], None]


def _meta(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


FIELDS: Mapping[str, Validator[Any]] = {
    "name": TEXT,
    "address": ADDRESS,
    "weight": NUMBER,
    "id": COUNT,
    "guid": TEXT,
    "meta": Validator("a table", _meta),
    "drain": FLAG,
}


class Listed(NamedTuple):
    """A host as it is listed; a drained one keeps known clients and takes no new ones."""

    host: Host
    drain: bool = False


def host_of(text: str) -> Listed:
    """The host of ``ADDRESS:PORT`` or ``ADDRESS:PORT=WEIGHT``. Raises ``ConfigError``.

    Weight 0 is a drain: such a host has weight 1 in the table of all hosts.

    >>> host_of("127.0.0.1:9002=2").host, host_of("127.0.0.1:9002=0").drain
    (Host('127.0.0.1:9002', 2.0), True)
    """
    name, sign, weight = text.partition("=")
    ADDRESS(name)
    if not sign:
        return Listed(Host(name))
    try:
        number = NUMBER(float(weight))
    except ValueError:  # of float, or a ConfigError
        raise ConfigError(f"weight must be {NUMBER.shape}, got {weight!r}") from None
    return Listed(Host(name, number or 1.0), not number)


def hosts_of(found: Found, report: ReportProblem) -> tuple[Listed, ...]:
    """The hosts in ``found``; ``report(path, what)`` is called for each problem inside it."""
    if isinstance(found.value, str) or not isinstance(found.value, (list, tuple)):
        value = bounded_repr(found.value)
        report(
            (),
            f"must be a list of hosts, got {value}: did you mean [{value}]?",
        )
        return ()
    hosts: dict[str, Listed] = {}
    places: dict[str, int] = {}
    for listed, place in _each(found.value, report):
        host = listed.host
        if host.name in hosts:
            first, _ = found.inside(places[host.name])
            report((place,), f"there is already a host {host.name!r} ({first}): use another name")
            continue
        hosts[host.name], places[host.name] = listed, place
    return tuple(hosts.values())


def _each(values: Any, report: ReportProblem) -> Iterator[tuple[Listed, int]]:
    for place, value in enumerate(values):
        host = _host(value, place, report)
        if host is not None:
            yield host, place


def _host(value: Any, place: int, report: ReportProblem) -> Listed | None:
    if isinstance(value, str):
        try:
            return host_of(value)
        except HashringError as error:
            report((place,), str(error))
            return None
    if not isinstance(value, dict):
        report((place,), f"a host is a text or a table, got {bounded_repr(value)}")
        return None
    return _of_fields(value, place, report)


def _of_fields(value: Mapping[str, Any], place: int, report: ReportProblem) -> Listed | None:
    good: dict[str, Any] = {}
    for name, content in value.items():
        if name not in FIELDS:
            report((place, name), f"a host has no such field: {suggestion(name, list(FIELDS))}")
            continue
        try:
            good[name] = FIELDS[name](content)
        except HashringError as error:
            report((place, name), str(error))
    if not {"name", "address"} & value.keys():
        report((place,), "a host needs a name or an address")
    elif "address" not in value and "name" in good:
        try:
            ADDRESS(good["name"])  # the address to connect to
        except ConfigError:
            report((place,), f"host {good['name']!r} needs an address, such as '10.0.0.1:8080'")
    named = good.pop("name", None) or good.get("address")
    if named is None:
        return None
    weight, drain = good.pop("weight", 1.0), good.pop("drain", False)
    return Listed(Host(named, weight or 1.0, **good), drain or not weight)
