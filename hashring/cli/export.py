"""``hashring export``: a proxy's configuration with the same routing."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._options import named_weights, placement_options, usage
from hashring.cli._sources import balancer_of
from hashring.errors import ConfigError

if TYPE_CHECKING:
    from hashring.export import Bridge, Routing

BAD_CONFIG = 3
_A_DAY = 86_400.0  # seconds: the proxies cannot express "without an idle limit"
_POOL = ("hosts", "placement", "given", "places")


@click.command("export")
@click.argument("proxy", metavar="PROXY")
@click.option(
    "--from",
    "file",
    metavar="FILE",
    help="Take hosts, placement and identity from a hashring.toml.",
)
@click.option("--out", metavar="FILE", help="Write to FILE instead of stdout.")
@click.option(
    "--hosts",
    "--host",
    "hosts",
    multiple=True,
    metavar="ADDRESS:PORT[=WEIGHT],...",
    help="Hosts. Repeatable.",
)
@click.option("--placement", help="Name of the placement.")
@click.option(
    "--option",
    "given",
    multiple=True,
    metavar="K=V",
    help="An option of the placement. Repeatable.",
)
@click.option(
    "--id",
    "places",
    multiple=True,
    metavar="PLACE",
    help="Where a client ID is read: header:NAME, cookie:NAME, query:NAME, path:NUMBER, address. "
    "Repeatable, the first one found counts.",
)
@click.option("--listen", metavar="ADDRESS:PORT", help="Address on which the proxy listens.")
@click.option("--bridge", metavar="COOKIE", help="Place by this sticky cookie (haproxy, nginx).")
@click.option("--bridge-key", metavar="KEY", default="", help="HAProxy's dynamic-cookie-key.")
@click.option("--without-tokens", is_flag=True, help="Ignore tokens, which no proxy can read.")
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
    """Print a proxy's configuration with the same routing.

    PROXY is caddy, envoy, haproxy, nginx or traefik.

    \b
    hashring export envoy --from hashring.toml --out envoy.yaml
    hashring export haproxy --hosts 10.0.0.1:80,10.0.0.2:80=2 \\
        --placement haproxy-consistent --id header:x-session
    """
    from hashring.export import Bridge, export, proxies

    if proxy not in proxies():
        with usage():
            export(proxy, None)  # type: ignore[arg-type]  # raises for the name
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
        routing = _read_typed(given, further)
    _write(export(proxy, routing), out)


def _write(text: str, out: str | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        Path(out).write_text(text, encoding="utf-8")


def _nothing_else(given: dict[str, Any]) -> None:
    if any(given[name] for name in _POOL):
        raise click.UsageError(
            "the hosts, the placement and the identity are those of --from FILE: change them there",
            click.get_current_context(),
        )


def _read_typed(given: dict[str, Any], further: dict[str, Any]) -> Routing:
    """A routing from the command line alone; the rest is at its default."""
    from hashring.export import Routing

    ctx = click.get_current_context()
    if not given["hosts"]:
        raise click.UsageError("give hosts: --from FILE, or --hosts ADDRESS:PORT,...", ctx)
    placement = given["placement"] or "ring"
    hosts = named_weights(given["hosts"], "--hosts")
    options = placement_options(placement, given["given"])
    # a bad name or address is a usage error; a limit of the proxy is not
    with usage():
        return Routing(hosts, placement, options, identity=given["places"], **further)


def _settings(file: str) -> Any:
    config = import_module("hashring.config")
    try:
        settings = config.read(file)
    except config.ProblemsError as error:
        import_module("hashring.cli.check").print_problems(error)
        raise SystemExit(BAD_CONFIG) from None
    if settings.discovery.url:
        hosts = balancer_of(settings).hosts  # those that the source lists now
        settings = replace(settings, pool=replace(settings.pool, hosts=hosts))
    return settings


def routing_of(
    settings: Any, *, without_tokens: bool = False, bridge: Bridge | None = None, **further: Any
) -> Routing:
    """The routing of a gateway's settings. Raises ``ConfigError``.

    No proxy reads tokens. With ``without_tokens`` clients go to the owners of their IDs, also those
    that growth or a drain had left on another host.
    """
    from hashring.export import Checks, Routing
    from hashring.health import OutlierRules
    from hashring.validators import inherit_options

    placement, health, limits = settings.placement, settings.health, settings.limits
    if placement.name == "none":
        raise ConfigError(
            "there is no placement to export: placement.name is 'none'", option="name"
        )
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
        ejection=inherit_options(OutlierRules, rules) if rules.enabled else None,
        panic=health.panic,
        load_factor=settings.pool.load_factor,
        retries=limits.retries,
        connect=settings.timeouts.connect,
        idle=settings.timeouts.idle or _A_DAY,
        trusted=settings.gateway.trusted_proxies if "address" in sources else (),
        bridge=bridge,
        **{"listen": settings.gateway.listen, **further},
    )
