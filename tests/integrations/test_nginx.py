"""nginx: ``hash KEY consistent``, ``hash KEY`` and ``ip_hash``, weighted, with servers down."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from hashring.placement import create
from tests.integrations._asking import ADDRESSES, KEYS, http_bodies
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    Backends,
    HttpTalk,
    Proxy,
    free_port,
    program,
    running,
    version_of,
)

WEIGHTS = (3, 1, 4, 2, 5)
DOWN = frozenset([2])  # which of the servers the second upstream of each kind marks down
MOST_DOWN = frozenset([0, 2, 4])  # 12 of 15: 0.8^21, about 6 of 650 keys, find nobody in 20 tries
DOWNS = {"up": frozenset[int](), "one": DOWN, "most": MOST_DOWN}
DIRECTIVES = {
    "nginx-consistent": "hash $http_x_key consistent;",
    "nginx-hash": "hash $http_x_key;",
    "nginx-ip-hash": "ip_hash;",
}

CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  scgi_temp_path scgi; uwsgi_temp_path uwsgi;
  set_real_ip_from {loopback}; real_ip_header x-address;
  proxy_http_version 1.1; proxy_set_header Connection "";
  {upstreams}
  server {{ listen {loopback}:{port}; keepalive_requests 100000; {locations} }}
}}
"""


@pytest.fixture(scope="module")
def spellings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Five servers, each written in another way after ``server``."""
    backends = Backends(2, HttpTalk)
    path = tmp_path_factory.mktemp("sockets") / "a.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    backends.add(listening, f"unix:{path}")
    # the same port on two addresses: the text before the colon counts as well
    port = backends.addresses[0].rpartition(":")[2]
    backends.add(socket.create_server(("127.0.0.2", int(port))))
    v6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
    backends.add(v6, f"[::1]:{v6.getsockname()[1]}")
    yield backends.addresses
    backends.stop()


def upstream(name: str, directive: str, addresses: list[str], down: frozenset[int]) -> str:
    servers = (
        f"server {address} weight={weight}{' down' if index in down else ''};"
        for index, (address, weight) in enumerate(zip(addresses, WEIGHTS, strict=True))
    )
    return f"upstream {name} {{ {directive} {' '.join(servers)} keepalive 8; }}"


@pytest.fixture(scope="module")
def nginx(
    http_backends: Backends, spellings: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    path = program("nginx", "nginx-light")
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    pools = [
        (f"{name}-{which}", directive, http_backends.addresses, down)
        for name, directive in DIRECTIVES.items()
        for which, down in DOWNS.items()
    ]
    pools.append(("spelled", DIRECTIVES["nginx-consistent"], spellings, frozenset()))
    config = CONFIG.format(
        loopback=LOOPBACK,
        port=port,
        upstreams="\n".join(upstream(*pool) for pool in pools),
        locations=" ".join(
            f"location /{name} {{ proxy_pass http://{name}; }}" for name, *_ in pools
        ),
    )
    (folder / "nginx.conf").write_text(config)
    command = [path, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with running(command, folder, [port]):
        yield Proxy(version_of("nginx", path, "-v"), port)


@pytest.mark.parametrize("which", ["up", "one"])
@pytest.mark.parametrize("placement", DIRECTIVES)
def test_nginx_agrees(
    nginx: Proxy, http_backends: Backends, parity: Parity, placement: str, which: str
) -> None:
    addresses = http_backends.addresses
    by_address = placement == "nginx-ip-hash"
    bodies = http_bodies(
        nginx.port,
        f"/{placement}-{which}",
        ADDRESSES if by_address else KEYS,
        header="x-address" if by_address else "x-key",
    )
    table = create(placement, zip(addresses, WEIGHTS, strict=True))
    case = "weighted" if which == "up" else "weighted, one marked down"
    gone = [addresses[index] for index in DOWNS[which]]
    parity.agrees(
        nginx.version, placement, case, dict(bodies), partial(table.lookup, unavailable=gone)
    )


@pytest.mark.parametrize("placement", DIRECTIVES)
def test_nginx_gives_up_where_the_table_does(
    nginx: Proxy, http_backends: Backends, parity: Parity, placement: str
) -> None:
    addresses = http_backends.addresses
    gone = [addresses[index] for index in MOST_DOWN]
    seen: dict[str, set[str]] = {}
    by_address = placement == "nginx-ip-hash"
    keys = ADDRESSES if by_address else (*KEYS, "")
    # round robin between two servers, weighted 1 to 2, shows both in any three turns
    thrice = (key for key in keys for _ in range(3))
    header = "x-address" if by_address else "x-key"
    for key, body in http_bodies(nginx.port, f"/{placement}-most", thrice, header=header):
        seen.setdefault(key, set()).add(body)
    answers = {key: None if len(hosts) > 1 else hosts.pop() for key, hosts in seen.items()}
    table = create(placement, zip(addresses, WEIGHTS, strict=True))
    case = "weighted, three of five marked down"
    parity.agrees(nginx.version, placement, case, answers, partial(table.lookup, unavailable=gone))


def test_nginx_hashes_a_server_as_it_is_written(
    nginx: Proxy, spellings: list[str], parity: Parity
) -> None:
    answers = dict(http_bodies(nginx.port, "/spelled", KEYS))
    table = create("nginx-consistent", zip(spellings, WEIGHTS, strict=True))
    case = "weighted, unix: and IPv6 servers"
    parity.agrees(nginx.version, "nginx-consistent", case, answers, table.lookup)
