"""What is a probe, what did it say, and where does it connect?"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.net import split_endpoint

Probe: TypeAlias = Callable[[Host], Awaitable[Any]]
"""Passes unless it returns False or raises."""

# no file descriptor, port, buffer or memory left here: the host has not been asked
_OWN_FAULTS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
)


class Void(Exception):  # noqa: N818  # not an error of the host: the probe has no result
    """The probe could not be made, because this process lacks a resource."""


async def ask(probe: Probe, host: Host, within: float) -> str | None:
    """Why ``host`` failed its probe; None if it passed. At most ``within`` seconds.

    Raises ``Void`` when this process lacks what a probe needs.
    """
    try:
        async with asyncio.timeout(within) as limit:
            answer = await probe(host)
    except TimeoutError as error:
        # a probe may have a deadline of its own
        return f"no answer within {within:g} s" if limit.expired() else _text(error)
    except asyncio.CancelledError as error:
        # something that the probe awaited was cancelled, and not the one who asks
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _text(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OWN_FAULTS:
            raise Void(_text(error)) from error
        return _text(error)
    return "the probe returned False" if answer is False else None


def socket_path(address: str) -> str:
    """The path of the Unix socket at which a host listens; empty for one with a port.

    >>> socket_path("unix:/run/web1.sock"), socket_path("10.0.0.1:80")
    ('/run/web1.sock', '')
    """
    return address[5:] if address.startswith("unix:/") else ""


def _text(error: BaseException) -> str:
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def endpoint(address: str, port: int | None) -> tuple[str, int]:
    """Where to connect: ``port`` if given, else that of the address. ``ConfigError`` without one.

    >>> endpoint("10.0.0.1:80", None), endpoint("[::1]:80", 8080), endpoint("web1", 80)
    (('10.0.0.1', 80), ('::1', 8080), ('web1', 80))
    """
    try:
        _, name, given, _ = split_endpoint(address)
    except ValueError:
        name, given = "", None
    chosen = given if port is None else port
    if not name or not chosen:
        raise ConfigError(
            f"a probe of {address!r} needs a port: give the host an address such as "
            "'10.0.0.1:80', or the probe a port",
            option="port",
        )
    return name, chosen
