"""Do the exported files place as Python does?  Each proxy, each place of an ID, and a host less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from hashring.affinity.identity import (
    IdentitySource,
    client_address,
    cookie,
    header,
    path_part,
    query,
)
from hashring.export import Routing, export
from hashring.hosts import Host
from hashring.placement import create
from tests.integrations._asking import ADDRESSES
from tests.integrations._exported import THOUSAND, Running, asked, until_gone
from tests.integrations._parity import Parity
from tests.integrations._processes import LOOPBACK, Backends

WEIGHTS = (3, 1, 4, 2, 5)
IDS = (11, 3, 700, 21, 5)
GONE = 2  # which host the second export has no more
TRUSTED = f"{LOOPBACK}/32"

WITH_COMMAS = (*THOUSAND[:-50], *(f"a,{number}" for number in range(50)))
CLIENTS = (*ADDRESSES, *(f"203.0.{number >> 8}.{number & 255}" for number in range(400)))
PLAIN = tuple(f"session-{number}.x_y~z" for number in range(1000))  # nothing to encode

SESSION, SID, USER = header("X-Session"), cookie("my-sid"), query("user")
ROOM, CLIENT = path_part(1), client_address([TRUSTED])


class Case(NamedTuple):
    """One exported file: whose, under which placement, and where the ID stands."""

    proxy: str
    placement: str
    who: IdentitySource
    keys: tuple[str, ...]
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed
    named: bool = False  # whether the hosts have names that are not their addresses


CASES = [
    Case("envoy", "envoy-maglev", SESSION, WITH_COMMAS, named=True),
    Case("envoy", "envoy-ring", SID, THOUSAND, {"hash_function": "murmur2"}),
    Case("envoy", "envoy-ring", USER, PLAIN),
    Case("envoy", "envoy-maglev", ROOM, PLAIN, {"table_size": 1009}),
    Case("envoy", "envoy-maglev", path_part(-2), PLAIN),
    Case("envoy", "envoy-maglev", CLIENT, CLIENTS),
    Case("haproxy", "haproxy-consistent", SESSION, WITH_COMMAS, named=True),
    Case("haproxy", "haproxy-consistent", SID, THOUSAND, {"hash_function": "wt6"}),
    Case("haproxy", "haproxy-consistent", USER, THOUSAND, {"hash_function": "crc32"}),
    Case("haproxy", "haproxy-map", ROOM, THOUSAND, {"avalanche": True}),
    Case("haproxy", "haproxy-consistent", path_part(-2), THOUSAND),
    Case("haproxy", "haproxy-consistent", CLIENT, CLIENTS, {"balance": "source"}),
    Case("haproxy", "haproxy-consistent", CLIENT, CLIENTS),
    Case("nginx", "nginx-consistent", SESSION, WITH_COMMAS),
    Case("nginx", "nginx-consistent", SID, THOUSAND),
    Case("nginx", "nginx-consistent", USER, PLAIN),
    Case("nginx", "nginx-hash", ROOM, THOUSAND),
    Case("nginx", "nginx-consistent", path_part(-2), THOUSAND),
    Case("nginx", "nginx-consistent", CLIENT, CLIENTS),
    Case("nginx", "nginx-ip-hash", CLIENT, CLIENTS),
]


def pool(case: Case, addresses: list[str]) -> list[Host]:
    return [
        Host(
            f"web-{index}" if case.named else address,
            WEIGHTS[index],
            address=address,
            id=IDS[index] if case.proxy == "haproxy" else None,
        )
        for index, address in enumerate(addresses)
    ]


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.placement} {case.who.places[0]} {len(case.options)}"
)
def test_the_exported_file_agrees_and_so_does_the_next(
    case: Case, start: Callable[[str], Running], http_backends: Backends, parity: Parity
) -> None:
    proxy = start(case.proxy)
    hosts = pool(case, http_backends.addresses)
    names = {host.address: host.name for host in hosts}
    left = [host for index, host in enumerate(hosts) if index != GONE]
    trusted = [TRUSTED] if case.who is CLIENT else []
    for now, what in ((hosts, "exported"), (left, "one host less, reloaded")):
        routing = Routing(
            now,
            case.placement,
            case.options,
            identity=case.who.places,
            listen=proxy.listen,
            trusted=trusted,
        )
        text, table = export(case.proxy, routing), create(case.placement, now, **case.options)
        if now is hosts:
            proxy.start(text)
            lost = next(key for key in case.keys if table.lookup(key) == hosts[GONE].name)
        else:
            proxy.reload(text)
            until_gone(proxy.port, case.who, lost, hosts[GONE].address)
        answers = {key: names[a] for key, a in asked(proxy.port, case.who, case.keys).items()}
        notes = [f"{name}={value}" for name, value in case.options.items()]
        by = ", ".join([case.who.places[0], *notes, what])
        parity.agrees(proxy.version, case.placement, by, answers, table.lookup)
