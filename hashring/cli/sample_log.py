"""``hashring sample-log``: a made-up access log to try the other commands on."""

from __future__ import annotations

import sys

import click

__all__ = ["command"]


@click.command("sample-log")
@click.option("--lines", default=20_000, show_default=True, help="How many lines.")
@click.option("--clients", type=int, help="How many clients; else a tenth of the lines.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds, equal bytes.")
def command(lines: int, clients: int | None, seed: int) -> None:
    """Write an access log in the combined format to stdout."""
    from hashring.analysis import sample_log
    from hashring.cli._options import usage

    with usage():
        log = sample_log(lines, max(1, lines // 10) if clients is None else clients, seed)
    sys.stdout.buffer.writelines(log)
    sys.stdout.buffer.flush()
