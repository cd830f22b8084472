"""The hosts of a configuration: texts, or tables of a host's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from hashring.config.values import Found
from hashring.errors import ConfigError, HashringError, InvalidWeightError
from hashring.hosts import Host, as_weight
from hashring.text import shown, suggestion
from hashring.validators import ADDRESS, COUNT, TEXT, Validator

Report: TypeAlias = Callable[[tuple[str | int, ...], str], None]


def _weight(value: Any) -> float:
    try:
        return as_weight(value, "")
    except InvalidWeightError:
        raise ValueError from None


def _meta(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


FIELDS: Mapping[str, Validator[Any]] = {
    "name": TEXT,
    "address": ADDRESS,
    "weight": Validator("a finite number above 0", _weight),
    "id": COUNT,
    "guid": TEXT,
    "meta": Validator("a table", _meta),
}


def host_of(text: str) -> Host:
    """The host of ``ADDRESS:PORT`` or ``ADDRESS:PORT=WEIGHT``. Raises ``ConfigError``.

    >>> host_of("127.0.0.1:9002=2")
    Host('127.0.0.1:9002', 2.0)
    """
    name, sign, weight = text.partition("=")
    ADDRESS(name)
    if not sign:
        return Host(name)
    try:
        return Host(name, float(weight))
    except ValueError:  # of float, or an InvalidWeightError
        raise ConfigError(f"weight must be a finite number above 0, got {weight!r}") from None


def hosts_of(found: Found, report: Report) -> tuple[Host, ...]:
    """The hosts in ``found``; ``report(path, what)`` is called for each problem inside it."""
    if isinstance(found.value, str) or not isinstance(found.value, (list, tuple)):
        value = shown(found.value)
        report(
            (),
            f"must be a list of hosts, got {value}: did you mean [{value}]?",
        )
        return ()
    hosts: dict[str, Host] = {}
    places: dict[str, int] = {}
    for host, place in _each(found.value, report):
        if host.name in hosts:
            first, _ = found.inside(places[host.name])
            report((place,), f"there is already a host {host.name!r} ({first}): use another name")
            continue
        hosts[host.name], places[host.name] = host, place
    return tuple(hosts.values())


def _each(values: Any, report: Report) -> Iterator[tuple[Host, int]]:
    for place, value in enumerate(values):
        host = _host(value, place, report)
        if host is not None:
            yield host, place


def _host(value: Any, place: int, report: Report) -> Host | None:
    if isinstance(value, str):
        try:
            return host_of(value)
        except HashringError as error:
            report((place,), str(error))
            return None
    if not isinstance(value, dict):
        report((place,), f"a host is a text or a table, got {shown(value)}")
        return None
    return _of_fields(value, place, report)


def _of_fields(value: Mapping[str, Any], place: int, report: Report) -> Host | None:
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
    return None if named is None else Host(named, good.pop("weight", 1.0), **good)
