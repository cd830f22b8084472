"""``hashring init``: a configuration with every key."""

from __future__ import annotations

import sys

import click


@click.command("init")
def command() -> None:
    """Print a commented hashring.toml with every key.

    \b
    hashring init > hashring.toml
    hashring check hashring.toml
    hashring serve hashring.toml
    """
    from hashring.config.example import example

    sys.stdout.write(example())
