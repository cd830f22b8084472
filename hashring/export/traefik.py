"""Traefik: ``strategy: hrw`` by the client's address, as a file of the file provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hashring.errors import ConfigError
from hashring.export._routing import Routing
from hashring.export._yaml import Noted, dump_yaml

TITLE = "Traefik"
READS = frozenset({"address"})
BRIDGE = False


def notes(routing: Routing) -> Iterator[str]:
    """Notes for the reader, each a comment at the top."""
    yield (
        f"Run it: traefik --entrypoints.clients.address={routing.listen} "
        "--providers.file.filename=FILE. A change of the file is read by itself."
    )
    yield (
        "Traefik hashes the URL of a host as it is written: it is the host's name in Python "
        "(http://ADDRESS:PORT). It hashes the address of the peer, also behind another proxy, and "
        "a failed request is not tried on another host."
    )
    if routing.checks is not None and routing.checks.probe == "tcp":
        yield "Traefik has no TCP probes for HTTP services: these probes are left out."
    if routing.load_factor:
        yield "It has no bound on load either: load_factor has no effect."


def config(routing: Routing) -> str:
    """The file."""
    if routing.trusted:
        raise ConfigError(
            "Traefik hashes the address of the peer, so trusted proxies would hide the clients: "
            "put it in front",
            option="trusted",
        )
    for host in routing.pool:
        if host.name != f"http://{host.address}":
            raise ConfigError(
                f"host {host.name!r}: Traefik hashes the URL http://{host.address}: use it as the "
                "name, which moves clients",
                option="name",
            )
    service: dict[str, Any] = {
        "strategy": "hrw",
        "servers": [
            {"url": host.name, "weight": weight}
            for host, weight in zip(routing.pool, routing.weights, strict=True)
        ],
        "passHostHeader": True,
        "responseForwarding": {
            "flushInterval": Noted("-1ms", "A stream is forwarded without a delay.")
        },
        "serversTransport": "hashring",
    }
    checks, rules = routing.checks, routing.ejection
    if checks is not None and checks.probe == "http":
        service["healthCheck"] = {
            "path": checks.path,
            "interval": _ms(checks.interval),
            "unhealthyInterval": _ms(checks.fast),
            "timeout": _ms(checks.timeout),
            **({"port": checks.port} if checks.port else {}),
        }
    if rules is not None:
        service["passiveHealthCheck"] = {
            "failureWindow": _ms(rules.base),
            "maxFailedAttempts": rules.failures,
        }
    router = {"rule": "PathPrefix(`/`)", "service": "hashring", "entryPoints": ["clients"]}
    transport = {
        "forwardingTimeouts": {
            "dialTimeout": _ms(routing.connect),
            "responseHeaderTimeout": _ms(routing.idle),
        }
    }
    return dump_yaml(
        {
            "http": {
                "routers": {"hashring": router},
                "services": {"hashring": {"loadBalancer": service}},
                "serversTransports": {"hashring": transport},
            }
        }
    )


def _ms(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"
