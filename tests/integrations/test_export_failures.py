"""Do exported files place as Python does when hosts are dead, and when a cookie says where?"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Literal

import pytest

from hashring.affinity.identity import cookie, header
from hashring.export import Bridge, Checks, Routing, export, haproxy_cookie
from hashring.hosts import Host
from hashring.placement import create
from tests.integrations._exported import PLACEMENTS, THOUSAND, Running, asked, until_gone
from tests.integrations._parity import Parity
from tests.integrations._processes import LOOPBACK, Backends, HttpTalk

GONE = 2  # which host refuses connections
SESSION = header("X-Session")


@pytest.mark.parametrize("loopback", [LOOPBACK, "::1"])
def test_haproxy_honours_the_cookie_that_python_sets(
    start: Callable[[str], Running], parity: Parity, loopback: str
) -> None:
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    backends = Backends(0, HttpTalk)
    for _ in range(5):
        listening = socket.create_server((loopback, 0), family=family)
        port = listening.getsockname()[1]
        backends.add(listening, f"[::1]:{port}" if family == socket.AF_INET6 else None)
    hosts = [Host(f"web-{n}", n + 0.5, address=a) for n, a in enumerate(backends.addresses)]
    addresses = {host.name: host.address for host in hosts}
    table, bridge = create("ring", hosts), Bridge("my-host", "a-key")
    proxy = start("haproxy")
    proxy.start(export("haproxy", Routing(hosts, "ring", listen=proxy.listen, bridge=bridge)))
    values = {host.name: haproxy_cookie(host, bridge.key) for host in hosts}
    answers: dict[str, str | None] = {}
    for key in THOUSAND:
        value = values[str(table.lookup(key))]
        answers[key] = asked(proxy.port, cookie(bridge.cookie), (value,))[value]
    backends.stop()
    case = f"the bridge's cookie, {'IPv6' if ':' in loopback else 'IPv4'} hosts"
    parity.agrees(
        proxy.version, "ring", case, answers, lambda key: addresses[str(table.lookup(key))]
    )


@pytest.mark.parametrize("proxy", ["envoy", "haproxy", "nginx"])
def test_a_dead_host_s_clients_go_on_along_the_walk(
    proxy: str, start: Callable[[str], Running], parity: Parity
) -> None:
    placement = PLACEMENTS[proxy]
    backends = Backends(5, HttpTalk)
    hosts = [Host(address) for address in backends.addresses]
    started = start(proxy)
    # by connections that fail alone: probes would rebuild the table at a moment of their own
    routing = Routing(
        hosts,
        placement,
        identity=SESSION.places,
        listen=started.listen,
        checks=None,
        ejection=None,
    )
    started.start(export(proxy, routing))
    dead = hosts[GONE].name
    backends.close(dead)
    answers = asked(started.port, SESSION, THOUSAND)
    backends.stop()

    def ours(key: str) -> str | None:
        return next(name for name in routing.table.walk(key) if name != dead)

    parity.agrees(started.version, placement, "one host refuses connections", answers, ours)


@pytest.mark.parametrize("proxy", ["envoy", "haproxy"])
@pytest.mark.parametrize("probe", ["http", "tcp"])
def test_the_rest_keep_clients_while_most_hosts_fail_probes(
    proxy: str, probe: Literal["http", "tcp"], start: Callable[[str], Running], parity: Parity
) -> None:
    placement = {"envoy": "envoy-ring", "haproxy": "haproxy-consistent"}[proxy]
    backends = Backends(5, HttpTalk)
    hosts = [Host(address) for address in backends.addresses]
    started = start(proxy)
    routing = Routing(
        hosts,
        placement,
        identity=SESSION.places,
        listen=started.listen,
        # who refuses is noticed at once; who is slow, on a busy machine, shall not be
        checks=Checks(probe, interval=0.2, fast=0.2, timeout=20, fall=2),
        ejection=None,
        retries=0,  # so that an answer says which hosts the proxy takes for up
    )
    started.start(export(proxy, routing))
    dead = [host.name for host in hosts[1:4]]
    for name in dead:
        backends.close(name)
    for name in dead:
        lost = next(key for key in THOUSAND if routing.table.lookup(key) == name)
        until_gone(started.port, SESSION, lost, name)
    left = routing.table.without(dead)
    answers = asked(started.port, SESSION, THOUSAND)
    backends.stop()
    case = f"three of five fail their {probe} probes"
    parity.agrees(started.version, placement, case, answers, left.lookup)
