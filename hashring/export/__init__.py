"""Configurations of proxies with the same routing. One file per proxy, named after the proxy.

``export`` writes a complete configuration in which every client ID goes to the host that the
placement gives it here. What a proxy cannot do is refused, with what would have to change.
To add a proxy, add a file with ``TITLE``, ``READS``, ``notes(routing)`` and ``config(routing)``.

>>> hosts = ["127.0.0.1:9001", "127.0.0.1:9002"]
>>> routing = Routing(hosts, "envoy-maglev", identity=["header:x-session"])
>>> export("envoy", routing).splitlines()[0]
'# Envoy: 2 hosts under the placement envoy-maglev, by header:x-session.'
"""

from __future__ import annotations

from hashring.export._cookies import haproxy_cookie, nginx_cookie
from hashring.export._export import export, proxies
from hashring.export._routing import Bridge, Checks, Routing

__all__ = [
    "Bridge",
    "Checks",
    "Routing",
    "export",
    "haproxy_cookie",
    "nginx_cookie",
    "proxies",
]
