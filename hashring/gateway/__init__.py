"""The router as a server: ``Gateway`` and ``run``.

``proxy.py`` is one request, ``tunnel.py`` one WebSocket. ``http/`` has the connections on both
sides: of clients to our server, which ``server.py`` runs, and to hosts. ``asgi_client.py`` drives
the same request where another server runs ``Gateway`` as an ASGI application. ``admin.py`` and
``api.py`` are the admin listener.

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

__all__ = [
    "AccessEntry",
    "AccessLog",
    "Admin",
    "Gateway",
    "Limits",
    "Timeouts",
    "run",
    "serve",
    "state",
]
