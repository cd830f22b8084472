"""``hashring serve``: route requests to hosts."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hashring.cli.check import BAD_CONFIG, tell

if TYPE_CHECKING:
    from hashring.config import Settings
    from hashring.gateway.served import Served

__all__ = ["command"]

_NAMES = {
    "pool.hosts": "--host",
    "discovery.url": "--discover",
    "gateway.listen": "--listen",
    "gateway.admin": "--admin",
    "gateway.access_log": "--access-log",
}
_SECRET = 32  # bytes: as long as the hash that it keys


@click.command("serve")
@click.argument("file", metavar="[FILE]", required=False)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="ADDRESS:PORT[=WEIGHT]",
    help="A host, instead of the file's. Repeatable.",
)
@click.option("--discover", metavar="URL", help="A source that says who serves.")
@click.option("--listen", metavar="ADDRESS:PORT", help="Where clients connect.")
@click.option("--admin", metavar="ADDRESS:PORT", help="Where its state is told; loopback only.")
@click.option(
    "--access-log", type=click.Choice(("off", "text", "json")), help="A line for each request."
)
@click.option("--show-config", is_flag=True, help="Say what is set, where that was said, and end.")
def command(file: str | None, show_config: bool, **given: Any) -> None:
    """Serve the gateway of FILE, of the hosts given, or of a source, until SIGTERM or Ctrl-C.

    \b
    hashring serve --host 127.0.0.1:9001 --host 127.0.0.1:9002=2 --listen 127.0.0.1:8080
    hashring serve --discover etcd://127.0.0.1:2379/services/web

    The file is read again when it changes and on SIGHUP; one with mistakes changes nothing.
    """
    from hashring.config import ProblemsError

    read = _reader(file, given)
    try:
        settings = read()
    except ProblemsError as error:
        tell(error)
        raise SystemExit(BAD_CONFIG) from None
    if show_config:
        _show(settings)
    else:
        _serve(settings, read, file)


def _reader(file: str | None, given: dict[str, Any]) -> Callable[[], Settings]:
    """What reads the settings, now and at each reload; a secret made for this run stays."""
    from hashring.config import read

    said = {
        "pool.hosts": list(given["hosts"]) or None,
        "discovery.url": given["discover"],
        "gateway.listen": given["listen"],
        "gateway.admin": given["admin"],
        "gateway.access_log": given["access_log"],
    }
    options = {key: value for key, value in said.items() if value is not None}
    made = secrets.token_bytes(_SECRET)

    def again() -> Settings:
        settings = read(file, options=options, names=_NAMES)
        if not settings.tokens.enabled or settings.tokens.secrets:
            return settings
        return replace(settings, tokens=replace(settings.tokens, secrets=(made,)))

    return again


def _show(settings: Settings) -> None:
    from hashring.analysis._formats import show
    from hashring.config.effective import effective

    lines = list(effective(settings))
    key = max(len(line.key) for line in lines)
    for line in lines:
        # what is long stands out less than a column that it would widen
        sys.stdout.write(f"{line.key:<{key}}  {show(line.value, 200):<28}  {line.origin}\n")


def _serve(settings: Settings, read: Callable[[], Settings], file: str | None) -> None:
    from hashring.gateway import run
    from hashring.gateway.reload import Reloadable

    _log_to_stderr()
    tokens, gateway = settings.tokens, settings.gateway
    if tokens.enabled and not (tokens.secret_file or tokens.secret_env):
        logging.getLogger("hashring").warning(
            "no token secret is given, so one is made for this run: at its end all tokens end, and "
            "other gateways do not believe them (tokens.secret_file)"
        )
    live = Reloadable(settings, read, _watched(settings, file))
    try:
        run(
            live,
            listen=gateway.listen,
            admin=gateway.admin or None,
            linger=gateway.linger,
            grace=gateway.shutdown_grace,
            reload=live.reload,
            started=lambda listen, admin: _started(live, listen, admin),
        )
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from None


def _watched(settings: Settings, file: str | None) -> list[str]:
    """The file, and the secrets' files: a new secret is a change too."""
    if file is None or not settings.gateway.watch:
        return []
    tokens, placement = settings.tokens, settings.placement
    named = (file, tokens.secret_file, tokens.old_secret_file, placement.key_secret_file)
    return [each for each in named if each]


def _started(live: Served, listen: str, admin: str | None) -> None:
    log = logging.getLogger("hashring")
    log.info("serving %d hosts at http://%s (%s)", len(live.lb), listen, live.lb.fingerprint)
    if admin is not None:
        log.info("its state is at http://%s/state", admin)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("hashring: %(message)s"))
    for name, level in (("hashring", logging.INFO), ("uvicorn", logging.WARNING)):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.setLevel(level)
