"""Settings of a gateway, and the objects that are made of them.

``settings.py`` declares every key with its default, validator and help. ``values.py`` finds values
in the file, the environment and the command line; ``reading.py`` makes ``Settings`` of them, or
reports every problem; ``factory.py`` makes a balancer and its parts of ``Settings``.

>>> settings = read(options={"pool.hosts": ["127.0.0.1:9001"]}, names={"pool.hosts": "--host"})
>>> balancer(settings).pick("session-42").name, settings.gateway.listen
('127.0.0.1:9001', '127.0.0.1:8080')
"""

from __future__ import annotations

from hashring.config.factory import (
    affinity,
    balancer,
    discovery,
    envelope,
    first_visits,
    identity,
    monitor,
    proxies,
    session_store,
)
from hashring.config.problems import Problem, ProblemsError
from hashring.config.reading import read
from hashring.config.settings import (
    TABLES,
    AdminSettings,
    DiscoverySettings,
    FallbackSettings,
    GatewaySettings,
    HealthSettings,
    IdentitySettings,
    Limits,
    LogSettings,
    OutlierSettings,
    PlacementSettings,
    PoolSettings,
    SessionSettings,
    Setting,
    Settings,
    Timeouts,
    TokenSettings,
    all_settings,
)

__all__ = [
    "TABLES",
    "AdminSettings",
    "DiscoverySettings",
    "FallbackSettings",
    "GatewaySettings",
    "HealthSettings",
    "IdentitySettings",
    "Limits",
    "LogSettings",
    "OutlierSettings",
    "PlacementSettings",
    "PoolSettings",
    "Problem",
    "ProblemsError",
    "SessionSettings",
    "Setting",
    "Settings",
    "Timeouts",
    "TokenSettings",
    "affinity",
    "all_settings",
    "balancer",
    "discovery",
    "envelope",
    "first_visits",
    "identity",
    "monitor",
    "proxies",
    "read",
    "session_store",
]
