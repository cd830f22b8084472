"""The router as a server: ``Gateway``, an ASGI application, and ``run``.

``proxy.py`` is one HTTP request and ``websocket.py`` one WebSocket; ``upstream.py`` is the client
of the hosts, which ``http/`` implements. ``strict.py`` is the HTTP parser of our
server, ``server.py`` runs it, ``admin.py`` and ``api.py`` are the admin listener.

>>> from hashring import LoadBalancer
>>> gateway = Gateway(LoadBalancer(["127.0.0.1:9001", "127.0.0.1:9002"]))
>>> gateway.stats["requests"]       # run(gateway, listen="127.0.0.1:8080"), or mount it
0
"""

from __future__ import annotations

from hashring.config.settings import Limits, Timeouts
from hashring.gateway.access import AccessEntry, AccessLog
from hashring.gateway.admin import Admin
from hashring.gateway.api import state
from hashring.gateway.app import Gateway
from hashring.gateway.server import run, serve
from hashring.gateway.upstream import Upstream

__all__ = [
    "AccessEntry",
    "AccessLog",
    "Admin",
    "Gateway",
    "Limits",
    "Timeouts",
    "Upstream",
    "run",
    "serve",
    "state",
]
