"""HAProxy: ``hash-type consistent`` and ``map-based``, weighted, and with a server disabled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from hashring.placement import create
from tests.integrations._asking import ADDRESSES, KEYS, http_bodies
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

WEIGHTS = (4, 2, 12, 8, 16)  # their common divisor grows when the second is disabled
IDS = (11, 3, 700, 21, 5)
DOWN = 1  # which of the servers the second backend of each kind disables


class Kind(NamedTuple):
    """One way to balance: what HAProxy is told, and what the placement is."""

    balance: str
    hash_type: str
    placement: str
    options: dict[str, Any]


KINDS = [
    Kind("hdr(x-key)", "consistent", "haproxy-consistent", {}),
    Kind(
        "hdr(x-key)",
        "consistent djb2",
        "haproxy-consistent",
        {"hash_function": "djb2", "avalanche": False},
    ),
    Kind(
        "hdr(x-key)",
        "consistent wt6 avalanche",
        "haproxy-consistent",
        {"hash_function": "wt6", "avalanche": True},
    ),
    Kind("source", "consistent", "haproxy-consistent", {"balance": "source"}),
    Kind("hdr(x-key)", "map-based", "haproxy-map", {}),
    Kind(
        "hdr(x-key)",
        "map-based crc32 avalanche",
        "haproxy-map",
        {"hash_function": "crc32", "avalanche": True},
    ),
    Kind("source", "map-based", "haproxy-map", {"balance": "source"}),
]

CONFIG = """
global
  maxconn 200
defaults
  mode http
  timeout connect 10s
  timeout client 20s
  timeout server 20s
frontend asked
  bind {loopback}:{port}
  http-request set-src hdr(x-address) if {{ req.hdr(x-address) -m found }}
  use_backend %[path,field(2,/)]
{backends}
"""


def backend(name: str, kind: Kind, addresses: list[str], down: int | None) -> str:
    servers = (
        f"  server b{index} {address} weight {weight} id {number}"
        f"{' disabled' if index == down else ''}\n"
        for index, (address, weight, number) in enumerate(zip(addresses, WEIGHTS, IDS, strict=True))
    )
    return (
        f"backend {name}\n  balance {kind.balance}\n  hash-type {kind.hash_type}\n"
        f"{''.join(servers)}"
    )


@pytest.fixture(scope="module")
def haproxy(http_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    path = program("haproxy", "haproxy")
    folder = tmp_path_factory.mktemp("haproxy")
    port = free_port()
    backends = (
        backend(f"{number}-{down}", kind, http_backends.addresses, down)
        for number, kind in enumerate(KINDS)
        for down in (None, DOWN)
    )
    config = CONFIG.format(loopback=LOOPBACK, port=port, backends="\n".join(backends))
    (folder / "haproxy.cfg").write_text(config)
    with running([path, "-db", "-f", "haproxy.cfg"], folder, [port]):
        yield Proxy(version_of("HAProxy", path, "-v"), port)


@pytest.mark.parametrize("down", [None, DOWN], ids=["all up", "one down"])
@pytest.mark.parametrize(
    "number", range(len(KINDS)), ids=lambda n: f"{KINDS[n].balance} {KINDS[n].hash_type}"
)
def test_haproxy_agrees(
    haproxy: Proxy,
    http_backends: Backends,
    parity: Parity,
    number: int,
    down: int | None,
) -> None:
    kind = KINDS[number]
    by_address = kind.balance == "source"
    bodies = http_bodies(
        haproxy.port,
        f"/{number}-{down}",
        ADDRESSES if by_address else KEYS,
        header="x-address" if by_address else "x-key",
    )
    addresses = http_backends.addresses
    hosts = [
        {"name": address, "weight": weight, "id": number}
        for address, weight, number in zip(addresses, WEIGHTS, IDS, strict=True)
    ]
    table = create(kind.placement, hosts, **kind.options)
    case = f"{kind.balance}, {kind.hash_type}{', one disabled' if down is not None else ''}"
    gone = [] if down is None else [addresses[down]]
    parity.agrees(
        haproxy.version, kind.placement, case, dict(bodies), partial(table.lookup, unavailable=gone)
    )
