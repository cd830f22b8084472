"""``hashring check``: what is wrong with this configuration?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hashring.config import MistakesError, Settings

__all__ = ["command", "tell"]

BAD_CONFIG = 3
_LONGEST = 500  # characters of one mistake: what a file holds is other people's text


@click.command("check")
@click.argument("file", metavar="FILE")
def command(file: str) -> None:
    """Say what is wrong with FILE: the line, the key and a hint for each mistake.

    The environment counts as it would for `hashring serve`. Exits 0 or 3.
    """
    from hashring.config import MistakesError, balancer, read

    try:
        settings = read(file)
    except MistakesError as error:
        tell(error)
        raise SystemExit(BAD_CONFIG) from None
    lb = balancer(settings)
    sys.stdout.write(f"{file}: ok: {_summary(settings)}\n{lb.fingerprint}\n")


def tell(error: MistakesError) -> None:
    """Each mistake on a line of stderr, and how many there are."""
    from hashring.analysis._formats import show
    from hashring.config.mistakes import plural

    for mistake in error.mistakes:
        click.echo(show(str(mistake), _LONGEST), err=True)
    click.echo(f"hashring: {plural(len(error.mistakes), 'mistake')}", err=True)


def _summary(settings: Settings) -> str:
    from hashring.config.mistakes import plural

    hosts = plural(len(settings.pool.hosts), "host")
    if settings.discovery.url:
        from hashring.discovery import source

        told = f"the hosts of {source(settings.discovery.url)}"
        hosts = f"{told}, and {hosts} until it answers" if settings.pool.hosts else told
    return f"{hosts}, placement {settings.placement.name}, listens at {settings.gateway.listen}"
