"""How do settings become running objects?

``settings.py`` holds every key with its default and its words.

>>> Settings().gateway.listen
'127.0.0.1:8080'
"""

from __future__ import annotations

from hashring.config.settings import (
    Fallback,
    Gateway,
    Health,
    Identity,
    Limits,
    Outliers,
    Placement,
    Pool,
    Settings,
    Timeouts,
    Tokens,
)

__all__ = [
    "Fallback",
    "Gateway",
    "Health",
    "Identity",
    "Limits",
    "Outliers",
    "Placement",
    "Pool",
    "Settings",
    "Timeouts",
    "Tokens",
]
