from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hashring import Host
from hashring.discovery import Source, source
from hashring.discovery.dns import DnsSource
from hashring.discovery.file import FileSource
from hashring.testing import check_discovery
from tests.discovery.etcd_server import EtcdServer

NAMES = [f"web{number}.test" for number in range(10)]


class Known:
    """The part of a world that all share: who is in, told to ``write`` after each change."""

    names: Sequence[str] = NAMES
    can_change = can_stop = True

    def __init__(self) -> None:
        self.now: dict[str, Host] = {}

    def hosts(self) -> list[Host]:
        return list(self.now.values())

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, address=f"10.0.0.{number}:80")
        self.write()

    def remove(self, name: str) -> None:
        del self.now[name]
        self.write()

    def write(self) -> None:
        raise NotImplementedError


class Static(Known):
    can_change = can_stop = False

    def source(self) -> Source:
        self.now = {"a": Host("a", address="10.0.0.1:80"), "b": Host("b", 2)}
        return source("static:a@10.0.0.1:80,b=2")

    def stop(self) -> None: ...

    def start(self) -> None: ...


class File(Known):
    """Edited in place or replaced, as ``replace`` says."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        super().__init__()
        self._path, self._replace = path, replace

    def source(self) -> Source:
        return FileSource(self._path, interval=0.02)

    def write(self) -> None:
        hosts = {host.name: {"address": host.address} for host in self.hosts()}
        aside = self._path.with_suffix(".new")
        (aside if self._replace else self._path).write_text(json.dumps(hosts))
        if self._replace:
            aside.replace(self._path)

    def stop(self) -> None:
        self._path.unlink()

    def start(self) -> None:
        self.write()


class Srv(Known):
    def __init__(self) -> None:
        super().__init__()
        pytest.importorskip("dns", reason="dnspython is not installed")
        from tests.discovery.dns_server import DnsServer

        self.server = DnsServer()

    def source(self) -> Source:
        servers = [self.server.endpoint]
        return DnsSource("_http.test", ["SRV"], nameservers=servers, least=0.02, timeout=0.5)

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, number / 10, address=f"{name}:{8000 + number}")
        self.write()

    def write(self) -> None:
        texts = (f"0 {host.weight * 100:.0f} {host.address[-4:]} {host}." for host in self.hosts())
        self.server.records = {("_http.test", "SRV"): tuple(texts)}

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()


class Addresses(Srv):
    names = tuple(f"10.0.0.{number}" for number in range(1, 11))

    def source(self) -> Source:
        servers = [self.server.endpoint]
        return DnsSource("web.test", nameservers=servers, port=80, least=0.02, timeout=0.5)

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, address=f"{name}:80")
        self.write()

    def write(self) -> None:
        self.server.records = {("web.test", "A"): tuple(host.name for host in self.hosts())}


class Etcd(Known):
    def __init__(self, server: EtcdServer) -> None:
        super().__init__()
        self.server = server
        self.stop, self.start = server.kill, server.start

    def source(self) -> Source:
        return source(self.server.url, heartbeat=0.5, timeout=1.0)

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, address=f"10.0.0.{number}:80")
        self.server.put(name, self.now[name].address)

    def remove(self, name: str) -> None:
        del self.now[name]
        self.server.delete(name)


def test_static() -> None:
    check_discovery(Static())


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "edited in place"])
def test_a_file(tmp_path: Path, replace: bool) -> None:
    check_discovery(File(tmp_path / "hosts.json", replace=replace))


@pytest.mark.parametrize("kind", [Srv, Addresses])
def test_dns(kind: type[Srv]) -> None:
    world = kind()
    with world.server:
        check_discovery(world)


def test_etcd(tmp_path: Path) -> None:
    pytest.importorskip("httpx2", reason="httpx2 is not installed")
    with EtcdServer(tmp_path) as server:
        check_discovery(Etcd(server))
