"""The command line. One file per command; a file's name is the command's name.

To add one, add a file ``my_own.py`` with a ``command`` (a ``click.Command``); it is then
``hashring my-own``. Files that begin with an underscore are shared parts. A command imports what
is slow to import inside its function, so that ``hashring --help`` stays quick.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from hashring.errors import missing_extra

__all__ = ["main"]

_NEEDS = ("click", "rich")


def _replace_closed_streams() -> None:
    """Without stdout or stderr (``>&-``), text is discarded; a file must not get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(
                os.devnull, os.O_RDWR
            )  # the lowest free number, which is the closed one
            stream = os.fdopen(opened, "r" if number == 0 else "w", encoding="utf-8")
            setattr(sys, name, stream)


def main() -> None:
    """Run the command line and exit: 0 ok, 1 failure, 2 usage, 3 bad config, 4 no host."""
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        words = missing_extra("cli", "commands", " and ".join(missing))
        sys.stderr.write(f"hashring: {words}\n")
        raise SystemExit(3)
    _replace_closed_streams()
    try:
        from hashring.cli._app import app

        app.main(prog_name="hashring")
    except KeyboardInterrupt:  # before the app could take it: while it is imported
        raise SystemExit(130) from None  # 128 + SIGINT, as shells have it
