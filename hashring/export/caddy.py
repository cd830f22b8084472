"""Caddy: ``lb_policy`` by rendezvous hashing, as a Caddyfile."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashring.errors import ConfigError
from hashring.export._routing import Routing, network

TITLE = "Caddy"
READS = frozenset({"address", "header", "query"})
BRIDGE = False

_WORD = re.compile(r"[A-Za-z0-9_\-]+")


def notes(routing: Routing) -> Iterator[str]:
    """Notes for the reader, each a comment at the top."""
    yield "Run it: caddy run --adapter caddyfile --config FILE. Check it: caddy validate, likewise."
    yield (
        "Caddy hashes the address of a host as it is written: it is the host's name in Python. "
        "Weights do not count. A request without an ID goes to a random host."
    )
    if routing.checks is not None and routing.checks.probe == "tcp":
        yield "Caddy has no TCP probes: a host is down when requests on it fail (max_fails)."
    if routing.load_factor:
        yield "It has no bound on load either: load_factor has no effect."


def config(routing: Routing) -> str:
    """The Caddyfile."""
    if len(routing.terms) != 1:
        raise ConfigError(
            f"Caddy hashes one identity, got {len(routing.terms)}: {', '.join(routing.identity)}",
            option="identity",
        )
    for host in routing.pool:
        if host.name != host.address:
            raise ConfigError(
                f"host {host.name!r}: Caddy hashes the address {host.address}: use it as the name, "
                "which moves clients",
                option="name",
            )
    lines = ["{", "  admin off", "  auto_https off", *_trusted_proxies(routing), "}", ""]
    lines += [f"http://{routing.listen} {{", f"  reverse_proxy {_hosts(routing)} {{"]
    lines += [f"    {line}" for line in _proxy(routing)]
    lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def _trusted_proxies(routing: Routing) -> Iterator[str]:
    if routing.trusted:
        networks = " ".join(str(network(text, TITLE)) for text in routing.trusted)
        yield "  servers {"
        yield f"    trusted_proxies static {networks}"
        yield "    client_ip_headers X-Forwarded-For"
        yield "  }"


def _hosts(routing: Routing) -> str:
    return " ".join(host.address for host in routing.pool)


def _proxy(routing: Routing) -> Iterator[str]:
    yield f"lb_policy {_policy(*routing.terms[0])}"
    checks, rules = routing.checks, routing.ejection
    if routing.retries:
        yield "# A host that does not accept is tried until it has failed max_fails times; then the"
        yield "# next one of the walk is chosen, as in Python."
        yield f"lb_retries {routing.retries + (rules.failures if rules is not None else 0)}"
        yield "lb_try_interval 10ms"
    if checks is not None and checks.probe == "http":
        yield f"health_uri {_path(checks.path)}"
        yield f"health_interval {_ms(checks.interval)}"
        yield f"health_timeout {_ms(checks.timeout)}"
        yield f"health_fails {checks.fall}"
        yield f"health_passes {checks.rise}"
        if checks.port:
            yield f"health_port {checks.port}"
    if rules is not None:
        yield f"max_fails {rules.failures}"
        yield f"fail_duration {_ms(rules.base)}"
    yield "flush_interval -1"
    yield "transport http {"
    yield f"  dial_timeout {_ms(routing.connect)}"
    yield f"  response_header_timeout {_ms(routing.idle)}"
    yield "}"


def _policy(kind: str, name: str) -> str:
    if kind == "address":
        return "client_ip_hash"
    if not _WORD.fullmatch(name):
        raise ConfigError(
            f"Caddy's file would misread the name {name!r}: use letters, digits, - and _",
            option="identity",
        )
    return f"{kind} {name}"


def _path(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.~/?&=%:+\-]+", text):
        raise ConfigError(f"Caddy's file would misread the path {text!r}", option="path")
    return text


def _ms(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"
