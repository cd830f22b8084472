"""Sources of hosts for commands: by URL and options, or by the settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from hashring.cli._options import usage
from hashring.errors import DiscoveryError

if TYPE_CHECKING:
    from hashring import LoadBalancer
    from hashring.config import Settings
    from hashring.discovery import Notice

Function: TypeAlias = Callable[..., Any]


def source_options(function: Function) -> Function:
    """A source; ``function`` gets ``source`` and ``within``, in seconds."""

    @click.argument("url", metavar="SOURCE_URL")
    @click.option(
        "--option",
        "given",
        multiple=True,
        metavar="K=V",
        help="An option of the source, as in the query of its URL. Repeatable.",
    )
    @click.option(
        "--within",
        type=click.FloatRange(0, min_open=True),
        default=10.0,  # a resolver tries for 5 s, and a registry elects a leader in less
        show_default=True,
        help="Seconds to wait for the first list.",
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


def balancer_of(settings: Settings) -> LoadBalancer:
    """The balancer that ``serve`` would have; with a source, after its first list.

    Raises ``DiscoveryError`` without a list in the time of the settings.
    """
    from hashring.config import balancer

    lb = balancer(settings)
    if settings.discovery.url:
        # an error is printed as one line; without a handler, logging would print it too
        logging.getLogger("hashring").addHandler(logging.NullHandler())
        asyncio.run(_first_list(settings, lb))
    return lb


async def _first_list(settings: Settings, lb: LoadBalancer) -> None:
    from hashring.config import discovery

    following = discovery(settings, lb)
    assert following is not None
    refused: list[str] = []  # why a list was not applied

    def on_notice(notice: Notice) -> None:
        if notice.kind in ("held", "refused"):
            refused.append(notice.text)

    following.subscribe(on_notice)
    async with following:
        if following.membership is None:
            silent = f"no answer within {settings.discovery.wait:g} s"
            why = following.last_error or (refused[-1] if refused else silent)
            raise DiscoveryError(f"{following.source}: {why}", source=str(following.source))
