"""The effective settings: each key with its value and the place that the value came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hashring import placement as placements
from hashring.config.example import as_toml
from hashring.config.named import NO_PLACEMENT
from hashring.config.reading import DEFAULT
from hashring.config.settings import TABLES, Settings
from hashring.discovery import source
from hashring.discovery._url import SourceUrl
from hashring.hosts import Host
from hashring.validators import attribute_of, options_of


class Line(NamedTuple):
    """One key, its value in the spelling of TOML, and where it came from."""

    key: str
    value: str
    origin: str


def effective(settings: Settings) -> Iterator[Line]:
    """All keys, in the order of the example. Of a secret only the place is shown.

    >>> next(effective(Settings(origins={"pool.capacity": "h.toml:3"})))
    Line(key='pool.capacity', value='0', origin='h.toml:3')
    """
    for number, host in enumerate(settings.pool.hosts):
        key = f"pool.hosts[{number}]"
        text = _host(host, host.name in settings.pool.draining)
        yield Line(key, text, settings.origins.get(key, DEFAULT))
    for name, table in TABLES.items():
        values: object = settings
        for part in name.split("."):
            values = getattr(values, part)
        for each in options_of(table):
            key = f"{name}.{each.name}"
            value = getattr(values, attribute_of(values, each.name))
            if key == "discovery.url" and value:
                value = str(source(value))  # without its password
            if key == "placement.sync" and value:
                value = SourceUrl.of(value).shown
            if key == "sessions.store" and value:
                value = value if value == "memory" else SourceUrl.of(value).shown
            text = as_toml(each.check.off if value is None else value)
            yield Line(key, text, settings.origins.get(key, DEFAULT))
        if name == "tokens" and settings.tokens.enabled:
            yield _secrets(settings)
        if name == "placement" and settings.placement.name != NO_PLACEMENT:
            yield from _placement_options(settings)


def _host(host: Host, drain: bool) -> str:
    if host.same(Host(host.name)) and not drain:
        return as_toml(host.name)
    fields: dict[str, object] = {"name": host.name, "address": host.address}
    fields |= {"weight": host.weight, "id": host.id, "guid": host.guid}
    fields |= {"drain": True} if drain else {}
    pairs = (f"{name} = {as_toml(value)}" for name, value in fields.items() if value is not None)
    return f"{{ {', '.join(pairs)} }}"


def _secrets(settings: Settings) -> Line:
    tokens = settings.tokens
    place = tokens.secret_file or tokens.secret_env
    origin = f"of {place}" if place else "made for this run"
    return Line("tokens.secrets", f"(hidden, {max(1, len(tokens.secrets))})", origin)


def _placement_options(settings: Settings) -> Iterator[Line]:
    given = settings.placement.options
    for name, default in placements.options(settings.placement.name).items():
        key = f"placement.{name}"
        value = given.get(name, default)
        text = "(none)" if value is None else as_toml(value)  # TOML has no null
        yield Line(key, text, settings.origins.get(key, DEFAULT))
