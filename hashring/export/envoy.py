"""Envoy: a static bootstrap with RING_HASH or MAGLEV, as YAML."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from hashring.export._routing import Checks, Routing, endpoint, network
from hashring.export._yaml import Noted, dump_yaml
from hashring.health import OutlierRules
from hashring.hosts import Host

TITLE = "Envoy"
READS = frozenset({"address", "cookie", "header", "path", "query"})
BRIDGE = False

_TYPES = "type.googleapis.com/envoy.extensions"
_FUNCTIONS = {"xxhash": "XX_HASH", "murmur2": "MURMUR_HASH_2"}


def notes(routing: Routing) -> Iterator[str]:
    """Notes for the reader, each a comment at the top."""
    yield "Start it: envoy -c FILE.yaml. A change of hosts is a new file and a hot restart."
    if routing.placement == "envoy-ring":
        yield (
            "Envoy scales its ring again when a host leaves or fails, which moves clients of "
            "unchanged hosts, as in Python. The placement envoy-maglev moves almost none."
        )
    if routing.load_factor:
        yield (
            "Excess requests of a full host go to other hosts in another order than Python's walk, "
            "and each Envoy counts its own requests: beyond the bound the two do not agree."
        )


def config(routing: Routing) -> str:
    """The bootstrap."""
    resources = {"listeners": [_listener(routing)], "clusters": [_cluster(routing)]}
    return dump_yaml({"static_resources": resources})


def _listener(routing: Routing) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    kind = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
    manager = {
        "@type": kind,
        "stat_prefix": "hashring",
        **_client_address(routing),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(routing)]}]
        },
        "http_filters": [router],
    }
    name = "envoy.filters.network.http_connection_manager"
    return {
        "name": "clients",
        "address": _address(routing.listen, "listen"),
        "filter_chains": [{"filters": [{"name": name, "typed_config": manager}]}],
    }


def _client_address(routing: Routing) -> dict[str, Any]:
    if not routing.trusted:
        why = "The client is the peer: without this, X-Forwarded-For of any client is accepted."
        return {"use_remote_address": Noted(True, why)}
    networks = [network(text, TITLE) for text in routing.trusted]
    cidrs = [
        {"address_prefix": str(n.network_address), "prefix_len": n.prefixlen} for n in networks
    ]
    detection = {
        "name": "envoy.http.original_ip_detection.xff",
        "typed_config": {
            "@type": f"{_TYPES}.http.original_ip_detection.xff.v3.XffConfig",
            "xff_trusted_cidrs": {"cidrs": cidrs},
            "skip_xff_append": False,
        },
    }
    why = "The last address of X-Forwarded-For that is not one of these proxies."
    return {"original_ip_detection_extensions": Noted([detection], why)}


def _route(routing: Routing) -> dict[str, Any]:
    retry = {
        "retry_on": "connect-failure",
        "num_retries": routing.retries,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": f"{_TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 8 * len(routing.pool),
    }
    action: dict[str, Any] = {
        "cluster": "hashring",
        "hash_policy": Noted(
            [_policy(kind, name) for kind, name in routing.terms],
            "Where the client ID is read: the first of these that is present. A request without "
            "any goes to a random host.",
        ),
        "timeout": Noted("0s", "No limit for a whole response, which may be a stream."),
        "idle_timeout": _seconds(routing.idle),
    }
    if routing.retries:
        why = "If a host does not accept, the next one of the walk is tried, as in Python."
        action["retry_policy"] = Noted(retry, why)
    return {"match": {"prefix": "/"}, "route": action}


def _policy(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if kind == "header":
        found["header"] = {"header_name": name}
    elif kind == "cookie":
        found["cookie"] = {"name": name}
    elif kind == "query":
        found["query_parameter"] = {"name": name}
    elif kind == "path":
        rewrite = {"pattern": {"regex": _path_pattern(name)}, "substitution": "\\1"}
        found["header"] = {"header_name": ":path", "regex_rewrite": rewrite}
    else:
        found["connection_properties"] = {"source_ip": True}
    return {**found, "terminal": True}


def _path_pattern(number: str) -> str:
    """RE2 for a path whose part ``number`` is the group; a path without it is hashed whole."""
    part = int(number)
    if part < 0:
        return rf"^/(?:[^?]*/)?([^/?]*)(?:/[^/?]*){{{-part - 1}}}(?:\?.*)?$"
    return rf"^/(?:[^/?]*/){{{part}}}([^/?]*)(?:[/?].*)?$"


def _cluster(routing: Routing) -> dict[str, Any]:
    named = any(_is_name(host) for host in routing.pool)
    endpoints = [_endpoint(host) for host in routing.pool]
    found: dict[str, Any] = {
        "name": "hashring",
        "type": "STRICT_DNS" if named else "STATIC",
        "connect_timeout": _seconds(routing.connect),
        **_balancing(routing),
        "common_lb_config": _common(routing),
        "load_assignment": {
            "cluster_name": "hashring",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    if routing.checks:
        found["health_checks"] = [_check(routing.checks)]
    if routing.ejection:
        found["outlier_detection"] = _outliers(routing.ejection)
    return found


def _balancing(routing: Routing) -> dict[str, Any]:
    option = routing.option
    if routing.placement == "envoy-maglev":
        return {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": option("table_size")}}
    settings = {
        "minimum_ring_size": option("minimum_ring_size"),
        "maximum_ring_size": option("maximum_ring_size"),
        "hash_function": _FUNCTIONS[option("hash_function")],
    }
    return {"lb_policy": "RING_HASH", "ring_hash_lb_config": settings}


def _common(routing: Routing) -> dict[str, Any]:
    panic = Noted(
        {"value": round(100 * routing.panic)},
        "Envoy's own 50 would route to dead hosts as soon as half of the pool is down, which moves "
        "the clients of the living half as well.",
    )
    found: dict[str, Any] = {"healthy_panic_threshold": panic}
    if routing.load_factor:
        factor = {"hash_balance_factor": round(100 * routing.load_factor)}
        found["consistent_hashing_lb_config"] = factor
    return found


def _endpoint(host: Host) -> dict[str, Any]:
    key = {"filter_metadata": {"envoy.lb": {"hash_key": host.name}}}
    return {
        "endpoint": {"address": _address(host.address, f"host {host.name!r}")},
        "load_balancing_weight": int(host.weight),
        # the name, so that another address under it moves no client
        "metadata": key,
    }


def _is_name(host: Host) -> bool:
    address, _ = endpoint(host.address, f"host {host.name!r}")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return True
    return False


def _address(text: str, what: str) -> dict[str, Any]:
    address, port = endpoint(text, what)
    return {"socket_address": {"address": address, "port_value": port}}


def _check(checks: Checks) -> dict[str, Any]:
    found: dict[str, Any] = {
        "timeout": _seconds(checks.timeout),
        "reuse_connection": Noted(
            False, "A probe also checks whether the host still accepts connections."
        ),
        "interval": _seconds(checks.interval),
        "unhealthy_interval": _seconds(checks.interval),
        "unhealthy_edge_interval": _seconds(checks.fast),
        "healthy_edge_interval": _seconds(checks.fast),
        "no_traffic_interval": Noted(
            _seconds(checks.interval),
            "With Envoy's own 60s a dead host would stay in use until then.",
        ),
        "unhealthy_threshold": checks.fall,
        "healthy_threshold": checks.rise,
    }
    if checks.port:
        found["alt_port"] = checks.port
    if checks.probe == "tcp":
        return {**found, "tcp_health_check": {}}
    statuses = [{"start": 200, "end": 400}]
    return {**found, "http_health_check": {"path": checks.path, "expected_statuses": statuses}}


def _outliers(rules: OutlierRules) -> dict[str, Any]:
    return {
        "split_external_local_origin_errors": Noted(
            True, "A failure is a failed connection, not a response of 5xx, as in Python."
        ),
        "consecutive_local_origin_failure": rules.failures,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "base_ejection_time": _seconds(rules.base),
        "max_ejection_time": _seconds(rules.cap),
        "max_ejection_percent": round(100 * rules.share),
    }


def _seconds(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".") + "s"
