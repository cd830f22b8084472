"""The health endpoint of Consul as its documentation has it: blocking queries, indexes, tokens.

It follows the pages "Health HTTP Endpoint" and "Blocking Queries" of Consul's API; no real agent
is needed, and none has been compared with it.
"""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.discovery.http_server import LOOK, Killable, left

PREFIX = "/v1/health/service/"
LONGEST = 600.0  # seconds: Consul blocks for ten minutes at most


def instance(
    name: str,
    address: str = "10.0.0.1",
    port: int = 80,
    *,
    status: str = "passing",
    node: str = "node1",
    check: str | None = None,
    **service: Any,
) -> dict[str, Any]:
    """One entry of the answer, with all the fields that Consul gives it."""
    checks = [
        _check(node, "serfHealth", "Serf Health Status", "passing", ""),
        _check(node, check or f"service:{name}", "Service 'web' check", status, name),
    ]
    return {
        "Node": {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
            "Node": node,
            "Address": "10.9.9.9",
            "Datacenter": "dc1",
            "TaggedAddresses": {"lan": "10.9.9.9", "wan": "10.9.9.9"},
            "Meta": {"consul-network-segment": ""},
            "CreateIndex": 12,
            "ModifyIndex": 14,
        },
        "Service": {
            "ID": name,
            "Service": "web",
            "Tags": [],
            "Address": address,
            "TaggedAddresses": {"lan_ipv4": {"Address": address, "Port": port}},
            "Meta": None,
            "Port": port,
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
            "Connect": {},
            "CreateIndex": 20,
            "ModifyIndex": 20,
            **service,
        },
        "Checks": checks,
    }


def _check(node: str, check: str, name: str, status: str, service: str) -> dict[str, Any]:
    return {
        "Node": node,
        "CheckID": check,
        "Name": name,
        "Status": status,
        "Notes": "",
        "Output": "",
        "ServiceID": service,
        "ServiceName": "web" if service else "",
        "ServiceTags": [],
        "Type": "",
        "Definition": {},
        "CreateIndex": 13,
        "ModifyIndex": 13,
    }


class ConsulServer(Killable):
    """``with ConsulServer() as server``: one service, ``web``, whose instances a test puts.

    ``token`` is the one that may read, None lets everybody; ``asked`` are the queries so far.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.url = f"consul://{self.endpoint}/web"
        self.instances: dict[str, dict[str, Any]] = {}
        self.index = 10
        self.token: str | None = None
        self.asked: list[dict[str, list[str]]] = []

    def put(self, name: str, *place: Any, **more: Any) -> None:
        """Register an instance, or change what is registered."""
        with self.changed:
            self.instances[name] = instance(name, *place, **more)
            self._moved()

    def remove(self, name: str) -> None:
        """Deregister one."""
        with self.changed:
            del self.instances[name]
            self._moved()

    def touch(self, index: int | None = None) -> None:
        """Move the index and nothing else, or set it, as a restored snapshot does."""
        with self.changed:
            self._moved(index)

    def _moved(self, index: int | None = None) -> None:
        self.index = self.index + 1 if index is None else index
        self.changed.notify_all()

    def answer(
        self, query: dict[str, list[str]], token: str | None, connection: socket.socket
    ) -> tuple[int, Any, bool]:
        """The index, the instances, and whether some are hidden; blocks if the query says so."""
        asked = int(query.get("index", ["0"])[0])
        wait = query.get("wait", ["300s"])[0]
        seconds = float(wait[:-2]) / 1000 if wait.endswith("ms") else float(wait[:-1])
        until = time.monotonic() + min(seconds, LONGEST)
        with self.changed:
            self.asked.append(query)
            while asked and asked == self.index and self.alive:
                if time.monotonic() >= until or left(connection):
                    break
                self.changed.wait(LOOK)
            wanted = set(query.get("tag", ()))
            found = [
                each for each in self.instances.values() if wanted <= set(each["Service"]["Tags"])
            ]
            hidden = bool(found) and self.token not in (None, token)
            return self.index, [] if hidden else found, hidden


class _Handler(BaseHTTPRequestHandler):
    world: ConsulServer

    def do_GET(self) -> None:  # the name that http.server calls
        parts = urlsplit(self.path)
        if not parts.path.startswith(PREFIX):
            self._say(404, b"Invalid URL path: not a recognized HTTP API endpoint", {})
            return
        token = self.headers.get("X-Consul-Token")
        if token == "unknown":
            self._say(403, b"ACL not found", {})
            return
        query = parse_qs(parts.query)
        index, instances, hidden = self.world.answer(query, token, self.connection)
        if unquote(parts.path.removeprefix(PREFIX)) != "web":
            instances = []
        headers = {
            "Content-Type": "application/json",
            "Vary": "Accept-Encoding",
            "X-Consul-Default-Acl-Policy": "allow",
            "X-Consul-Effective-Consistency": "leader",
            "X-Consul-Index": str(index),
            "X-Consul-Knownleader": "true",
            "X-Consul-Lastcontact": "0",
        }
        if hidden:
            headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
        self._say(200, json.dumps(instances).encode(), headers)

    def _say(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
