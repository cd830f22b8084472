"""How does the router run as a server?  ``Gateway``, an ASGI application, and ``run``.

``exchange.py`` holds one request and ``websocket.py`` one WebSocket; ``upstream.py`` says how
hosts are asked, ``aiohttp_upstream.py`` asks them. ``strict.py`` is what our own server does not
read, ``server.py`` runs it, ``admin.py`` tells how it is.

>>> from hashring import LoadBalancer
>>> gateway = Gateway(LoadBalancer(["127.0.0.1:9001", "127.0.0.1:9002"]))
>>> gateway.stats["requests"]       # run(gateway, listen="127.0.0.1:8080"), or mount it
0
"""

from __future__ import annotations

from hashring.config.settings import Limits, Timeouts
from hashring.gateway.access import AccessLog, Entry
from hashring.gateway.admin import Admin
from hashring.gateway.api import state
from hashring.gateway.app import Gateway
from hashring.gateway.server import run, serve
from hashring.gateway.upstream import Upstream

__all__ = [
    "AccessLog",
    "Admin",
    "Entry",
    "Gateway",
    "Limits",
    "Timeouts",
    "Upstream",
    "run",
    "serve",
    "state",
]
