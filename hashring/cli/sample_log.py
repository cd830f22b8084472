"""``hashring sample-log``: a generated access log to try other commands on."""

from __future__ import annotations

import sys

import click


@click.command("sample-log")
@click.option("--lines", default=20_000, show_default=True, help="Number of lines.")
@click.option("--clients", type=int, help="Number of clients. Default: a tenth of the lines.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Seed of the generator: the same seed gives the same log.",
)
def command(lines: int, clients: int | None, seed: int) -> None:
    """Write a generated access log for trying the commands."""
    from hashring.analysis import sample_log
    from hashring.cli._options import usage

    with usage():
        log = sample_log(lines, max(1, lines // 10) if clients is None else clients, seed)
    sys.stdout.buffer.writelines(log)
    sys.stdout.buffer.flush()
