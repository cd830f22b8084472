"""Which hosts does a configuration name?  Texts, or tables of a host's fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from hashring.config.kinds import COUNT, TEXT, Kind, endpoint, suggestion
from hashring.config.sources import Found
from hashring.errors import ConfigError, HashringError
from hashring.hosts import Host, as_weight

__all__ = ["FIELDS", "host_of", "hosts_of"]

Tell: TypeAlias = Callable[[tuple[str | int, ...], str], None]


def _weight(value: Any) -> float:
    return as_weight(value, "?")


def _meta(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"must be a table, got {value!r}")
    return value


def _address(value: Any) -> str:
    _, port = endpoint(value)
    if not port:
        raise ConfigError(f"nobody serves at port 0, got {value!r}")
    return str(value)


FIELDS: Mapping[str, Kind] = {
    "name": TEXT,
    "address": Kind("ADDRESS:PORT", _address),
    "weight": Kind("a finite number above 0", _weight),
    "id": COUNT,
    "guid": TEXT,
    "meta": Kind("a table", _meta),
}


def host_of(text: str) -> Host:
    """The host of ``ADDRESS:PORT`` or ``ADDRESS:PORT=WEIGHT``. Raises ``ConfigError``.

    >>> host_of("127.0.0.1:9002=2")
    Host('127.0.0.1:9002', 2.0)
    """
    name, sign, weight = text.partition("=")
    _address(name)
    if not sign:
        return Host(name)
    try:
        return Host(name, float(weight))
    except ValueError:  # of float, or an InvalidWeightError
        raise ConfigError(f"the weight {weight!r} is no finite number above 0") from None


def hosts_of(found: Found, tell: Tell) -> tuple[Host, ...]:
    """The hosts in ``found``; ``tell(path, what)`` hears of each mistake inside it."""
    if isinstance(found.value, str) or not isinstance(found.value, (list, tuple)):
        tell((), f"must be a list of hosts, got {found.value!r}: did you mean [{found.value!r}]?")
        return ()
    hosts: dict[str, Host] = {}
    places: dict[str, int] = {}
    for host, place in _each(found.value, tell):
        if host.name in hosts:
            first, _ = found.inside(places[host.name])
            tell((place,), f"host {host.name!r} is there already ({first}): a name is an identity")
            continue
        hosts[host.name], places[host.name] = host, place
    return tuple(hosts.values())


def _each(values: Any, tell: Tell) -> Iterator[tuple[Host, int]]:
    for place, value in enumerate(values):
        host = _host(value, place, tell)
        if host is not None:
            yield host, place


def _host(value: Any, place: int, tell: Tell) -> Host | None:
    if isinstance(value, str):
        try:
            return host_of(value)
        except HashringError as error:
            tell((place,), str(error))
            return None
    if not isinstance(value, dict):
        tell((place,), f"a host is a text or a table, got {value!r}")
        return None
    return _of_fields(value, place, tell)


def _of_fields(value: Mapping[str, Any], place: int, tell: Tell) -> Host | None:
    good: dict[str, Any] = {}
    for name, content in value.items():
        if name not in FIELDS:
            tell((place, name), f"a host has no such field: {suggestion(name, list(FIELDS))}")
            continue
        try:
            good[name] = FIELDS[name](content)
        except HashringError as error:
            tell((place, name), str(error).removeprefix("host '?': weight "))
    if not {"name", "address"} & value.keys():
        tell((place,), "a host needs a name or an address")
    elif "address" not in value and "name" in good:
        try:
            _address(good["name"])  # where to connect, then
        except ConfigError:
            tell((place,), f"host {good['name']!r} needs an address, such as '10.0.0.1:8080'")
    named = good.pop("name", None) or good.get("address")
    return None if named is None else Host(named, good.pop("weight", 1.0), **good)
