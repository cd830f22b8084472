"""How do settings become running objects?

``settings.py`` holds every key with its default, its check and its words; ``kinds.py``,
``names.py``, ``hosts.py`` and ``secrets.py`` are the checks. ``sources.py`` finds values in the
file (``lines.py`` knows on which line), the environment and the command line; ``reading.py`` makes
``Settings`` of them, or every mistake at once; ``building.py`` makes objects of ``Settings``.

>>> settings = read(options={"pool.hosts": ["127.0.0.1:9001"]}, names={"pool.hosts": "--host"})
>>> balancer(settings).pick("session-42").name, settings.gateway.listen
('127.0.0.1:9001', '127.0.0.1:8080')
"""

from __future__ import annotations

from hashring.config.building import affinity, balancer, discovery, identity, monitor, proxies
from hashring.config.kinds import endpoint
from hashring.config.mistakes import Mistake, MistakesError
from hashring.config.reading import read
from hashring.config.settings import (
    TABLES,
    Discovery,
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
    "TABLES",
    "Discovery",
    "Fallback",
    "Gateway",
    "Health",
    "Identity",
    "Limits",
    "Mistake",
    "MistakesError",
    "Outliers",
    "Placement",
    "Pool",
    "Settings",
    "Timeouts",
    "Tokens",
    "affinity",
    "balancer",
    "discovery",
    "endpoint",
    "identity",
    "monitor",
    "proxies",
    "read",
]
