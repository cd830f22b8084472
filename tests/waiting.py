"""Waiting for a condition, with a limit that a machine under ten times the load keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT = 60.0  # seconds for what takes a fraction of one on an idle machine
_PAUSE = 0.005  # seconds between two looks

T = TypeVar("T")
Expected = str | Callable[[], object]


def wait_until(condition: Callable[[], T], expected: Expected = "") -> T:
    """The first true value of ``condition``; an ``AssertionError`` names what was ``expected``."""
    deadline = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < deadline, _text(expected)
        time.sleep(_PAUSE)
    return value


async def wait_in_loop(condition: Callable[[], T], expected: Expected = "") -> T:
    """``wait_until`` in an event loop, which goes on meanwhile."""
    deadline = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < deadline, _text(expected)
        await asyncio.sleep(_PAUSE)
    return value


def _text(expected: Expected) -> str:
    return f"not within {LIMIT:g} s: {expected() if callable(expected) else expected}"
