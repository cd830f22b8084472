"""``hashring export``: which configuration makes a proxy route as this pool does?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._options import placement_options, usage
from hashring.cli._sources import balancer_of
from hashring.errors import ConfigError

if TYPE_CHECKING:
    from hashring.export import Bridge, Routing

__all__ = ["command", "routing_of"]

BAD_CONFIG = 3
_A_DAY = 86_400.0  # seconds: the proxies have no word for "without an idle limit"
_POOL = ("hosts", "placement", "given", "places", "header", "cookie", "address")


@click.command("export")
@click.argument("proxy", metavar="PROXY")
@click.option("--from", "file", metavar="FILE", help="The pool of a hashring.toml.")
@click.option("--out", metavar="FILE", help="Write to FILE, not to stdout.")
@click.option(
    "--host", "hosts", multiple=True, metavar="ADDRESS:PORT[=WEIGHT]", help="A host. Repeatable."
)
@click.option("--placement", help="The placement's name.")
@click.option("--option", "given", multiple=True, metavar="K=V", help="One of its options.")
@click.option(
    "--id",
    "places",
    multiple=True,
    metavar="PLACE",
    help="Where a client ID stands: header:NAME, cookie:NAME, query:NAME, path:NUMBER, address. "
    "Repeatable, the first found counts.",
)
@click.option("--header", metavar="NAME", help="The same as --id header:NAME.")
@click.option("--cookie", metavar="NAME", help="The same as --id cookie:NAME.")
@click.option("--address", is_flag=True, help="The same as --id address.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Where the proxy listens.")
@click.option("--bridge", metavar="COOKIE", help="Place by this sticky cookie (haproxy, nginx).")
@click.option("--bridge-key", metavar="KEY", default="", help="HAProxy's dynamic-cookie-key.")
@click.option("--without-tokens", is_flag=True, help="Forget the pool's tokens.")
def command(
    proxy: str,
    file: str | None,
    out: str | None,
    listen: str | None,
    bridge: str | None,
    bridge_key: str,
    without_tokens: bool,
    **given: Any,
) -> None:
    """Print a configuration by which PROXY (envoy, haproxy, nginx) places clients as the pool does.

    \b
    hashring export envoy --from hashring.toml --out envoy.yaml
    hashring export haproxy --host 10.0.0.1:80 --host 10.0.0.2:80=2 \\
        --placement haproxy-consistent --header x-session
    """
    from hashring.export import Bridge, export, proxies

    if proxy not in proxies():
        raise click.UsageError(
            f"there is no export to {proxy!r}; there are {', '.join(proxies())}",
            click.get_current_context(),
        )
    bridged = None
    if bridge is not None:
        with usage():
            bridged = Bridge(bridge, bridge_key)
    further: dict[str, Any] = {"bridge": bridged}
    if listen is not None:
        further["listen"] = listen
    if file is not None:
        _nothing_else(given)
        routing = routing_of(_settings(file), without_tokens=without_tokens, **further)
    else:
        routing = _typed(given, further)
    _write(export(proxy, routing), out)


def _write(text: str, out: str | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        Path(out).write_text(text, encoding="utf-8")


def _nothing_else(given: dict[str, Any]) -> None:
    if any(given[name] for name in _POOL):
        raise click.UsageError(
            "--from FILE says the hosts, the placement and the identity: change them there",
            click.get_current_context(),
        )


def _typed(given: dict[str, Any], further: dict[str, Any]) -> Routing:
    """What the command line alone says; the rest is at its default."""
    from hashring.export import Routing

    ctx = click.get_current_context()
    if not given["hosts"]:
        raise click.UsageError("say who serves: --from FILE, or --host ADDRESS:PORT", ctx)
    placement = given["placement"] or "ring"
    hosts = [_host(text) for text in given["hosts"]]
    options = placement_options(placement, given["given"])
    # a bad name or address is what was typed; that a proxy cannot do it is not
    with usage():
        return Routing(hosts, placement, options, identity=list(_places(given)), **further)


def _host(text: str) -> tuple[str, float]:
    name, sign, weight = text.partition("=")
    try:
        return name, float(weight) if sign else 1.0
    except ValueError:
        raise click.UsageError(
            f"--host {text}: the weight {weight!r} is not a number", click.get_current_context()
        ) from None


def _places(given: dict[str, Any]) -> Iterator[str]:
    yield from given["places"]
    yield from (f"{kind}:{given[kind]}" for kind in ("header", "cookie") if given[kind])
    if given["address"]:
        yield "address"


def _settings(file: str) -> Any:
    config = import_module("hashring.config")
    try:
        settings = config.read(file)
    except config.ProblemsError as error:
        import_module("hashring.cli.check").tell(error)
        raise SystemExit(BAD_CONFIG) from None
    if settings.discovery.url:
        hosts = balancer_of(settings).hosts  # as the source says now
        settings = replace(settings, pool=replace(settings.pool, hosts=hosts))
    return settings


def routing_of(
    settings: Any, *, without_tokens: bool = False, bridge: Bridge | None = None, **further: Any
) -> Routing:
    """What the settings of a gateway say to a proxy. Raises ``ConfigError``.

    A pool with tokens has an identity that no proxy reads, unless ``without_tokens``: its clients
    then go where the placement says, though growth or a drain had left them elsewhere.
    """
    from hashring.export import Checks, Routing
    from hashring.health import OutlierRules
    from hashring.validators import inherited

    placement, health, limits = settings.placement, settings.health, settings.limits
    if placement.name == "none":
        raise ConfigError("there is no placement to export: placement.name is none", option="name")
    secret = {} if placement.key_secret is None else {"key_secret": placement.key_secret}
    sources = tuple(settings.identity.sources)
    tokens = settings.tokens.enabled and not without_tokens
    rules = health.outliers
    same = {name: getattr(health, name) for name in ("interval", "timeout", "fall", "rise", "fast")}
    return Routing(
        settings.pool.hosts,
        placement.name,
        {**placement.options, **secret},
        identity=(*(["token"] if tokens else []), *sources),
        checks=None
        if health.probe == "none"
        else Checks(health.probe, health.path, health.port, **same),
        ejection=inherited(OutlierRules, rules) if rules.enabled else None,
        panic=health.panic,
        load_factor=settings.pool.load_factor,
        retries=limits.retries,
        connect=settings.timeouts.connect,
        idle=settings.timeouts.idle or _A_DAY,
        trusted=settings.gateway.trusted_proxies if "address" in sources else (),
        bridge=bridge,
        **{"listen": settings.gateway.listen, **further},
    )
