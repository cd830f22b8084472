"""How is the gateway doing?  ``/healthz``, ``/readyz`` and ``/state``, on a listener of its own."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from hashring.discovery import Discovery
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.served import Served
from hashring.net import is_loopback
from hashring.ring import RingTable

__all__ = ["Admin", "state"]

SCHEMA = 1
"""The version of what ``/state`` says. A key may be added under one number, never changed."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^:\[\]]+)(?::[0-9]*)?")


def state(gateway: Served) -> dict[str, Any]:
    """What ``/state`` says, as JSON knows it. Cost: O(hosts).

    >>> from hashring import LoadBalancer
    >>> from hashring.gateway import Gateway
    >>> state(Gateway(LoadBalancer(["a"])))["hosts"][0]["state"]
    'up'
    """
    lb = gateway.lb
    snapshot = lb.snapshot
    table = snapshot.table
    return {
        "schema": SCHEMA,
        "time": time.time(),
        "ready": gateway.ready,
        "fingerprint": lb.fingerprint,
        "epoch": snapshot.epoch,
        "placement": _placement(gateway, table),
        "hosts": [_host(gateway, name) for name in snapshot.members if name in lb],
        "discovery": None if gateway.discovery is None else _discovery(gateway.discovery),
        "lifted": None if gateway.health is None else gateway.health.panic_reason,
        "in_flight": gateway.in_flight,
        "stats": {
            **gateway.stats,
            "tokens": None if gateway.tokens is None else dict(gateway.tokens.stats),
            "health": None if gateway.health is None else dict(gateway.health.stats),
        },
    }


def _placement(gateway: Served, table: Any) -> dict[str, Any] | None:
    """A placement's kind and options. A secret is neither: whoever has it can aim at one host."""
    if gateway.placement is None and table is None:
        return None
    kind, given = gateway.placement or (_kind(table), {})
    shown = {
        name: getattr(table, name)
        for name in ("vnodes", "seed", "layout")
        if isinstance(getattr(table, name, None), (int, float, str, bool))
    }
    keyed = getattr(table, "key_check", None) is not None
    return {"kind": kind, "options": {**given, **shown}, "keyed": keyed}


def _kind(table: Any) -> str:
    if isinstance(table, RingTable):
        return "ring"
    return type(table).__module__.rpartition(".")[2]


def _discovery(discovery: Discovery) -> dict[str, Any]:
    membership, held = discovery.membership, discovery.held
    return {
        "source": str(discovery.source),
        "revision": None if membership is None else membership.revision,
        "trouble": discovery.trouble,
        "held": None if held is None else [host.name for host in held.hosts],
        "stats": dict(discovery.stats),
    }


def _host(gateway: Served, name: str) -> dict[str, Any]:
    lb = gateway.lb
    member = lb.snapshot.members[name]
    load = lb.load(name)
    return {
        "name": name,
        "address": member.host.address,
        "weight": member.host.weight,
        "id": member.host.id,
        "guid": member.host.guid,
        "state": lb.state(name),
        "down": dict(member.down),
        "drains": sorted(member.drains),
        "in_flight": load.in_flight,
        "ok": load.ok,
        "failed": load.failed,
        "latency": round(load.latency, 6),
    }


def _is_local(host: str) -> bool:
    """Whether a ``Host`` is loopback's address: a page can ask it under a name of its own.

    >>> [_is_local(host) for host in ("127.0.0.2:90", "[::1]", "localhost", "127.0.0.1.evil.org")]
    [True, True, True, False]
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    return is_loopback(found[1])


class Admin:
    """An ASGI application that answers GET to local clients and changes nothing."""

    def __init__(self, gateway: Served) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, said = self._answer(scope)
        body = json.dumps(said, indent=2).encode() + b"\n"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})

    def _answer(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if not _is_local(host.decode("latin-1")):
            return 403, {"error": "ask for 127.0.0.1 or localhost, not for another name"}
        if scope["method"] not in ("GET", "HEAD"):
            return 405, {"error": "only GET is answered here"}
        if scope["path"] == "/healthz":
            return 200, {"ok": True}
        if scope["path"] == "/readyz":
            return (200 if self._gateway.ready else 503), {"ready": self._gateway.ready}
        if scope["path"] == "/state":
            return 200, state(self._gateway)
        return 404, {"error": "the pages are /healthz, /readyz and /state"}
