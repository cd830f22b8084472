"""``hashring serve``: run the gateway."""

from __future__ import annotations

import logging
import os
import secrets
import socket
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
    "gateway.workers": "--workers",
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
@click.option("--workers", metavar="N|auto", help="Processes that serve; auto: one for each core.")
@click.option("--fd", type=int, metavar="N", help="Serve the listening socket of this descriptor.")
@click.option("--uds", metavar="PATH", help="Serve on a Unix socket instead of an address.")
@click.option("--worker", is_flag=True, hidden=True)
@click.option("--show-config", is_flag=True, help="Print the settings and their origins, and exit.")
def command(file: str | None, show_config: bool, worker: bool, **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    \b
    hashring serve hashring.toml
    hashring serve --hosts 127.0.0.1:9001,127.0.0.1:9002=2 --listen 127.0.0.1:8080
    hashring serve --discover etcd://127.0.0.1:2379/services/web

    FILE is read again when it changes and on SIGHUP; a file with problems changes nothing. With
    several workers, SIGHUP replaces one after the other.
    """
    from hashring.config import ProblemsError

    if worker:
        _work(file, given)
        return
    read = _reader(file, given)
    try:
        settings = read()
    except ProblemsError as error:
        print_problems(error)
        raise SystemExit(BAD_CONFIG) from None
    if show_config:
        _show(settings)
    elif _count(settings) > 1:
        _supervise(settings, file, given)
    else:
        _serve(settings, read, file, given)


def _reader(
    file: str | None, given: dict[str, Any], made: bytes | None = None
) -> Callable[[], Settings]:
    """Reads the settings, now and at each reload; a secret made for this run is kept."""
    from hashring.config import read

    values = {
        "pool.hosts": list(names(given["hosts"])) or None,
        "discovery.url": given["discover"],
        "gateway.listen": given["listen"],
        "gateway.admin": given["admin"],
        "gateway.access_log": given["access_log"],
        "gateway.workers": _workers(given["workers"]),
    }
    options = {key: value for key, value in values.items() if value is not None}
    secret = made or secrets.token_bytes(_SECRET)

    def again() -> Settings:
        settings = read(file, options=options, names=_NAMES)
        if not settings.tokens.enabled or settings.tokens.secrets:
            return settings
        return replace(settings, tokens=replace(settings.tokens, secrets=(secret,)))

    return again


def _show(settings: Settings) -> None:
    from hashring.config.effective import effective

    lines = list(effective(settings))
    key = max(len(line.key) for line in lines)
    for line in lines:
        # a long value does not widen the column
        sys.stdout.write(f"{line.key:<{key}}  {printable(line.value, 200):<28}  {line.origin}\n")


def _workers(text: str | None) -> int | None:
    if text is None or text == "auto":
        return None if text is None else 0
    if not text.isdigit() or not int(text):
        raise click.BadParameter("it is a number from 1, or auto", param_hint="--workers")
    return int(text)


def _count(settings: Settings) -> int:
    return settings.gateway.workers or len(os.sched_getaffinity(0))


def _warn_without_secret(settings: Settings) -> None:
    tokens = settings.tokens
    if tokens.enabled and not (tokens.secret_file or tokens.secret_env):
        logging.getLogger("hashring").warning(
            "no token secret is set (tokens.secret_file), so one is made for this run: all tokens "
            "end with it, and other gateways do not accept them"
        )


def _given_socket(given: dict[str, Any]) -> socket.socket | None:
    """The socket that the options name."""
    from hashring.gateway.server import open_unix_socket

    if given["uds"] is not None:
        return open_unix_socket(given["uds"])
    return None if given["fd"] is None else socket.socket(fileno=given["fd"])


def _supervise(settings: Settings, file: str | None, given: dict[str, Any]) -> None:
    from hashring.gateway.own_log import log_to_stderr
    from hashring.gateway.supervision import supervise

    log_to_stderr(settings.log)
    _warn_without_secret(settings)
    names = ("hosts", "discover", "listen", "admin", "access_log")
    arguments = [] if file is None else [file]
    for name in names:
        values = given[name] if name == "hosts" else filter(None, [given[name]])
        for value in values:
            arguments += [f"--{name.replace('_', '-')}", value]
    log = logging.getLogger("hashring")
    count = _count(settings)
    try:
        supervise(
            settings,
            arguments,
            count,
            front=_given_socket(given),
            started=lambda listen, admin: log.info(
                "serving at http://%s with %s%s",
                listen,
                plural(count, "worker"),
                f", admin listener at http://{admin}" if admin else "",
            ),
        )
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


def _work(file: str | None, given: dict[str, Any]) -> None:
    from hashring.gateway.own_log import log_to_stderr
    from hashring.gateway.supervision import work
    from hashring.gateway.workers import read_orders

    orders = read_orders()
    read = _reader(file, given, bytes.fromhex(orders.secret))
    log_to_stderr(read().log)
    work(orders, read, lambda settings: _watch(settings, file))


def _serve(
    settings: Settings, read: Callable[[], Settings], file: str | None, given: dict[str, Any]
) -> None:
    from hashring.gateway import Gateway, run
    from hashring.gateway.own_log import log_to_stderr

    log_to_stderr(settings.log)
    _warn_without_secret(settings)
    gateway = settings.gateway
    live = Gateway.from_settings(settings, read, _watch(settings, file))
    try:
        run(
            live,
            listen=gateway.listen,
            admin=gateway.admin,
            admin_token=settings.admin.token,
            admin_public=settings.admin.public,
            state_file=settings.admin.state_file,
            tls=settings.tls if settings.tls.is_on else None,
            linger=gateway.linger,
            grace=gateway.shutdown_grace,
            reload=live.reload,
            started=lambda listen, admin: _print_addresses(live, listen, admin),
            front=_given_socket(given),
        )
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


def _watch(settings: Settings, file: str | None) -> list[str]:
    """The file and the files of secrets: a new secret is a change too."""
    if file is None or not settings.gateway.watch:
        return []
    tokens, placement, tls = settings.tokens, settings.placement, settings.tls
    named = (
        *(file, tokens.secret_file, tokens.old_secret_file, placement.key_secret_file),
        *(tls.certificate, tls.key),
    )
    return [each for each in named if each]


def _print_addresses(live: Gateway, listen: str, admin: str | None) -> None:
    log = logging.getLogger("hashring")
    log.info(
        "serving %s at http%s://%s (%s)",
        plural(len(live.lb), "host"),
        "s" if live.settings is not None and live.settings.tls.is_on else "",
        listen,
        live.lb.fingerprint,
    )
    if admin is not None:
        log.info("admin listener at http://%s", admin)
