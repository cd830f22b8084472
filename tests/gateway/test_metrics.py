"""/metrics: valid for Prometheus, true to what clients count, and kept over a reload."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hashring import LoadBalancer
from hashring.gateway import AccessEntry, Gateway
from hashring.gateway.metrics import GatewayCollector, exposition
from tests.cli.serving import Serving, hosts, serving
from tests.waiting import wait_until


@dataclass
class Client:
    """A client that keeps its cookies and counts on which hosts it was."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)

    def ask(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request("GET", "/", headers={"cookie": cookies} if cookies else {})
        response = connection.getresponse()
        self.served.append(json.loads(response.read())["host"])
        for text in response.headers.get_all("set-cookie", []):
            name, _, value = text.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()

    @property
    def moves(self) -> int:
        return sum(one != two for one, two in zip(self.served, self.served[1:], strict=False))


@dataclass
class Running:
    """A gateway, its file, and its admin listener."""

    process: Serving
    file: Path
    admin: str

    def fetch(self, path: str, body: dict[str, object] | None = None) -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(self.admin, timeout=20)
        if body is None:
            connection.request("GET", path)
        else:
            headers = {"content-type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        found = response.status, response.read().decode(), response.headers["content-type"]
        connection.close()
        return found

    def metrics(self) -> dict[str, Counter[tuple[str, ...]]]:
        """Name of a sample -> values of its labels -> number."""
        status, text, kind = self.fetch("/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        found: dict[str, Counter[tuple[str, ...]]] = {}
        for family in text_string_to_metric_families(text):
            assert family.documentation
            for sample in family.samples:
                labels = tuple(sample.labels.values())
                found.setdefault(sample.name, Counter())[labels] = int(sample.value * 1000) / 1000  # type: ignore[assignment]  # a float
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Running, list[str]]]:
    with hosts("a", "b", "c") as addresses:
        file = tmp_path / "h.toml"
        listed = [
            f'{{name = "{name}", address = "{address}"}}'
            for name, address in zip("abc", addresses, strict=True)
        ]
        file.write_text(
            f"[pool]\nhosts = [{', '.join(listed)}]\n"
            '[gateway]\nadmin = "127.0.0.1:0"\n[limits]\nretries = 1\n'
        )
        with serving(str(file)) as process:
            admin = process.hear("admin listener at").rpartition("//")[2]
            yield Running(process, file, admin), addresses


def test_causes_of_moves_are_those_that_clients_count(
    running: tuple[Running, list[str]],
) -> None:
    gateway, _ = running
    clients = [Client(gateway.process.address) for _ in range(30)]
    for client in clients:
        client.ask()
    homes = Counter(client.served[0] for client in clients)
    assert set(homes) == {"a", "b", "c"}
    gateway.fetch("/v1/hosts/a/drain", {"deadline": 0})
    for client in clients:
        client.ask()
    gateway.fetch("/v1/hosts/b/down", {"reason": "test"})
    for client in clients:
        client.ask()
    found = gateway.metrics()
    causes = found["hashring_gateway_sessions_moved_total"]
    assert causes["drain_deadline",] == homes["a"]
    assert sum(causes.values()) == sum(client.moves for client in clients)
    assert set(causes) == {("drain_deadline",), ("host_down",)}
    requests = found["hashring_gateway_requests_total"]
    served = Counter(host for client in clients for host in client.served)
    assert {host: requests[host, "2xx"] for host in "abc"} == served
    durations = found["hashring_gateway_request_duration_seconds_count"]
    assert {host: durations[host,] for host in "abc"} == served
    assert found["hashring_hosts"] == {("up",): 1, ("draining",): 0, ("down",): 2}
    assert found["hashring_host_up"]["b",] == 0
    assert sum(found["hashring_gateway_picks_total"].values()) == 90
    assert found["hashring_share_peak_to_mean"][()] >= 1


def test_counts_survive_a_reload(running: tuple[Running, list[str]]) -> None:
    gateway, _ = running
    client = Client(gateway.process.address)
    for _ in range(5):
        client.ask()
    before = gateway.metrics()
    gateway.file.write_text(gateway.file.read_text().replace("retries = 1", "retries = 2"))
    gateway.process.hear("new settings")
    client.ask()
    after = gateway.metrics()
    name = "hashring_gateway_requests_total"
    assert sum(after[name].values()) == sum(before[name].values()) + 1 == 6
    ready = "hashring_gateway_ready"
    assert wait_until(lambda: gateway.metrics()[ready][()] == 1)
    assert client.moves == 0


def test_without_the_extra_the_page_names_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "from hashring import LoadBalancer\n"
        "from hashring.gateway import Admin, Gateway\n"
        "async def main():\n"
        "    sent = []\n"
        "    async def send(message): sent.append(message)\n"
        "    scope = {'type': 'http', 'method': 'GET', 'path': '/metrics',\n"
        "             'headers': [(b'host', b'localhost')]}\n"
        "    await Admin(Gateway(LoadBalancer(['a:1'])))(scope, None, send)\n"
        "    print(sent[0]['status'], sent[1]['body'].decode())\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.startswith("501"), done.stderr
    assert 'pip install \\"sticky-hashring[metrics]\\"' in done.stdout


def test_the_text_is_that_of_the_official_writer() -> None:
    gateway = Gateway(LoadBalancer(["web1", 'a"b\\c\nd']))
    for host in ("web1", 'a"b\\c\nd'):
        gateway.counts.add(AccessEntry("GET", "/", "peer", host=host, reason="owner", status=200))
    registry = CollectorRegistry()
    registry.register(GatewayCollector(gateway))

    def samples(text: bytes) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    assert samples(exposition(gateway)) == samples(generate_latest(registry))
