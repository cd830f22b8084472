"""``hashring serve``: run the gateway."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hashring.cli._options import names
from hashring.cli.check import BAD_CONFIG, print_problems
from hashring.text import plural, printable

if TYPE_CHECKING:
    from hashring.config import Settings
    from hashring.gateway import Gateway

_NAMES = {
    "pool.hosts": "--hosts",
    "discovery.url": "--discover",
    "gateway.listen": "--listen",
    "gateway.admin": "--admin",
    "gateway.access_log": "--access-log",
}
_SECRET = 32  # bytes: as long as the hash that it keys


@click.command("serve")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--hosts",
    "--host",
    "hosts",
    multiple=True,
    metavar="ADDRESS:PORT[=WEIGHT],...",
    help="Hosts, instead of those of FILE. Repeatable.",
)
@click.option("--discover", metavar="URL", help="Source of the hosts, such as file:hosts.toml.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Address on which clients connect.")
@click.option(
    "--admin",
    metavar="ADDRESS:PORT",
    help="Admin listener (/healthz, /readyz, /metrics, /state, /v1).",
)
@click.option(
    "--access-log",
    type=click.Choice(("off", "text", "json")),
    help="Access log on stdout, one line per request.",
)
@click.option("--show-config", is_flag=True, help="Print the settings and their origins, and exit.")
def command(file: str | None, show_config: bool, **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    \b
    hashring serve hashring.toml
    hashring serve --hosts 127.0.0.1:9001,127.0.0.1:9002=2 --listen 127.0.0.1:8080
    hashring serve --discover etcd://127.0.0.1:2379/services/web

    FILE is read again when it changes and on SIGHUP; a file with problems changes nothing.
    """
    from hashring.config import ProblemsError

    read = _reader(file, given)
    try:
        settings = read()
    except ProblemsError as error:
        print_problems(error)
        raise SystemExit(BAD_CONFIG) from None
    if show_config:
        _show(settings)
    else:
        _serve(settings, read, file)


def _reader(file: str | None, given: dict[str, Any]) -> Callable[[], Settings]:
    """Reads the settings, now and at each reload; a secret made for this run is kept."""
    from hashring.config import read

    values = {
        "pool.hosts": list(names(given["hosts"])) or None,
        "discovery.url": given["discover"],
        "gateway.listen": given["listen"],
        "gateway.admin": given["admin"],
        "gateway.access_log": given["access_log"],
    }
    options = {key: value for key, value in values.items() if value is not None}
    made = secrets.token_bytes(_SECRET)

    def again() -> Settings:
        settings = read(file, options=options, names=_NAMES)
        if not settings.tokens.enabled or settings.tokens.secrets:
            return settings
        return replace(settings, tokens=replace(settings.tokens, secrets=(made,)))

    return again


def _show(settings: Settings) -> None:
    from hashring.config.effective import effective

    lines = list(effective(settings))
    key = max(len(line.key) for line in lines)
    for line in lines:
        # a long value does not widen the column
        sys.stdout.write(f"{line.key:<{key}}  {printable(line.value, 200):<28}  {line.origin}\n")


def _serve(settings: Settings, read: Callable[[], Settings], file: str | None) -> None:
    from hashring.gateway import Gateway, run

    _log_to_stderr()
    tokens, gateway = settings.tokens, settings.gateway
    if tokens.enabled and not (tokens.secret_file or tokens.secret_env):
        logging.getLogger("hashring").warning(
            "no token secret is set (tokens.secret_file), so one is made for this run: all tokens "
            "end with it, and other gateways do not accept them"
        )
    live = Gateway.from_settings(settings, read, _watch(settings, file))
    try:
        run(
            live,
            listen=gateway.listen,
            admin=gateway.admin,
            admin_token=settings.admin.token,
            admin_public=settings.admin.public,
            linger=gateway.linger,
            grace=gateway.shutdown_grace,
            reload=live.reload,
            started=lambda listen, admin: _print_addresses(live, listen, admin),
        )
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


def _watch(settings: Settings, file: str | None) -> list[str]:
    """The file and the files of secrets: a new secret is a change too."""
    if file is None or not settings.gateway.watch:
        return []
    tokens, placement = settings.tokens, settings.placement
    named = (file, tokens.secret_file, tokens.old_secret_file, placement.key_secret_file)
    return [each for each in named if each]


def _print_addresses(live: Gateway, listen: str, admin: str | None) -> None:
    log = logging.getLogger("hashring")
    log.info(
        "serving %s at http://%s (%s)", plural(len(live.lb), "host"), listen, live.lb.fingerprint
    )
    if admin is not None:
        log.info("admin listener at http://%s", admin)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("hashring: %(message)s"))
    log = logging.getLogger("hashring")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
