"""Which options do commands share that ask a source?  Its URL, its options, how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import click

from hashring.cli._options import usage

__all__ = ["source_options"]

Function: TypeAlias = Callable[..., Any]


def source_options(function: Function) -> Function:
    """The source that is asked; ``function`` gets ``source`` and ``within``, in seconds."""

    @click.argument("url", metavar="SOURCE_URL")
    @click.option(
        "--option",
        "given",
        multiple=True,
        metavar="K=V",
        help="An option of the source, as in its URL after the '?'. Repeatable.",
    )
    @click.option(
        "--within",
        type=click.FloatRange(0, min_open=True),
        default=10.0,  # a resolver tries for 5 s, and a registry elects a leader in less
        show_default=True,
        help="Seconds to wait for the first answer.",
    )
    @wraps(function)
    def with_source(*args: Any, url: str, given: tuple[str, ...], **kwargs: Any) -> Any:
        from hashring.discovery import source

        options: dict[str, str] = {}
        for pair in given:
            name, sign, text = pair.partition("=")
            if not sign or not name.strip():
                raise click.UsageError(f"--option {pair}: give K=V", click.get_current_context())
            options[name.strip().replace("-", "_")] = text
        with usage():
            found = source(url, **options)
        return function(*args, source=found, **kwargs)

    return with_source
