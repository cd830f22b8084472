"""What is set, and who said so?  A line for each key: its value and where that came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hashring import placement as placements
from hashring.config.example import as_toml
from hashring.config.names import NO_PLACEMENT
from hashring.config.reading import DEFAULT
from hashring.config.settings import TABLES, Settings, keys
from hashring.discovery import source
from hashring.hosts import Host

__all__ = ["Line", "shown"]


class Line(NamedTuple):
    """One key, its value as TOML spells it, and where it came from."""

    key: str
    value: str
    origin: str


def shown(settings: Settings) -> Iterator[Line]:
    """All keys, in the order of the example. No secret is among them, only where one is.

    >>> next(shown(Settings(origins={"pool.capacity": "h.toml:3"})))
    Line(key='pool.capacity', value='0', origin='h.toml:3')
    """
    for place, host in enumerate(settings.pool.hosts):
        key = f"pool.hosts[{place}]"
        yield Line(key, _host(host), settings.origins.get(key, DEFAULT))
    for name, table in TABLES.items():
        values: object = settings
        for part in name.split("."):
            values = getattr(values, part)
        for key in keys(table):
            full = f"{name}.{key}"
            value = getattr(values, key)
            if full == "discovery.url" and value:
                value = str(source(value))  # which is without its password
            yield Line(full, as_toml(value), settings.origins.get(full, DEFAULT))
        if name == "tokens" and settings.tokens.enabled:
            yield _secrets(settings)
        if name == "placement" and settings.placement.name != NO_PLACEMENT:
            yield from _options(settings)


def _host(host: Host) -> str:
    fields: dict[str, object] = {"name": host.name, "address": host.address}
    fields |= {"weight": host.weight, "id": host.id, "guid": host.guid}
    plain = host.same(Host(host.name))
    said = (f"{name} = {as_toml(value)}" for name, value in fields.items() if value is not None)
    return as_toml(host.name) if plain else f"{{ {', '.join(said)} }}"


def _secrets(settings: Settings) -> Line:
    tokens = settings.tokens
    named = tokens.secret_file or tokens.secret_env
    origin = f"of {named}" if named else "made for this run"
    return Line("tokens.secrets", f"(hidden, {max(1, len(tokens.secrets))})", origin)


def _options(settings: Settings) -> Iterator[Line]:
    given = settings.placement.options
    for option, default in placements.options(settings.placement.name).items():
        full = f"placement.{option}"
        value = given.get(option, default)
        said = "(none)" if value is None else as_toml(value)  # which no file can say
        yield Line(full, said, settings.origins.get(full, DEFAULT))
