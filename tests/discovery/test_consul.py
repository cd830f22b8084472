from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hashring import ConfigError, DiscoveryError, Host
from hashring.discovery import Membership, Source, source
from hashring.discovery.consul import LEAST, ConsulSource, parse
from hashring.testing import check_discovery
from tests.discovery.consul_server import ConsulServer, instance
from tests.discovery.test_contract import Known

pytest.importorskip("httpx2", reason="httpx2 is not installed")

TRANSCRIPTS = Path(__file__).parent / "transcripts"
WITHIN = 20.0  # seconds until a test that waits for something gives up


@pytest.fixture
def consul() -> Iterator[ConsulServer]:
    with ConsulServer() as server:
        yield server


async def told(memberships: AsyncIterator[Membership]) -> Membership:
    async with asyncio.timeout(WITHIN):
        return await anext(memberships)


def quick(server: ConsulServer, **more: object) -> ConsulSource:
    found = source(server.url, **{"wait": 0.5, "timeout": 1.0, **more})
    assert isinstance(found, ConsulSource)
    return found


def addresses(membership: Membership) -> dict[str, str]:
    return {host.name: host.address for host in membership.hosts}


class Consul(Known):
    def __init__(self, server: ConsulServer) -> None:
        super().__init__()
        self.server = server
        self.stop, self.start = server.stop, server.start

    def source(self) -> Source:
        return quick(self.server)

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, address=f"10.0.0.{number}:80")
        self.server.put(name, f"10.0.0.{number}")

    def remove(self, name: str) -> None:
        del self.now[name]
        self.server.remove(name)


def test_the_contract(consul: ConsulServer) -> None:
    check_discovery(Consul(consul))


def test_the_example_of_the_documentation() -> None:
    found = parse(json.loads((TRANSCRIPTS / "consul_documented.json").read_text()), "58")
    assert found == Membership((Host("redis", 10, address="10.1.10.12:8000"),), revision="58")
    assert found.hosts[0].same(Host("redis", 10, address="10.1.10.12:8000"))


def test_every_state_of_health() -> None:
    found = parse(json.loads((TRANSCRIPTS / "consul_health.json").read_text()), "91")
    assert {host.name: (host.weight, host.address) for host in found.hosts} == {
        "web-drained": (1.0, "10.1.10.5:80"),  # `consul maint -enable -service=web-drained`
        "web-node": (1.0, "10.1.10.13:80"),  # no address of its own: the node's
        "web-passing": (10.0, "10.1.10.12:80"),
        "web-six": (0.5, "[fd00::5]:80"),  # a tag overrules the weights
        "web-warning": (3.0, "10.1.10.14:80"),
        "web-zero": (1.0, "10.1.10.15:80"),  # Weights.Warning is 0
    }
    assert found.draining == {"web-drained", "web-zero"}
    assert found.problems == ()


def test_the_weight_unit_and_the_node_in_the_name() -> None:
    two = [
        instance("web", "10.0.0.1", node="n1", Weights={"Passing": 200, "Warning": 1}),
        instance("web", "10.0.0.2", node="n2", Weights={"Passing": 100, "Warning": 1}),
    ]
    found = parse(two, weight_unit=100, with_node=True)
    assert [(host.name, host.weight) for host in found.hosts] == [("n1/web", 2.0), ("n2/web", 1.0)]
    assert "given twice" in parse(two).problems[0]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        [],
        {},
        {"Service": {}},
        {"Service": None, "Node": None},
        {"Checks": [{}]},
        instance("x", ID=[]),
    ],
)
def test_what_is_not_a_instance_is_a_problem_and_hides_no_other(odd: Any) -> None:
    found = parse([odd, instance("web1"), instance("web2", Tags=["weight=heavy"])])
    assert [host.name for host in found.hosts] == ["web1"]
    assert len(found.problems) == 2


def test_what_is_registered_changed_and_failing_is_reported(consul: ConsulServer) -> None:
    consul.put("web1", "10.0.0.1")

    async def check() -> None:
        async with aclosing(quick(consul).watch()) as memberships:
            first = await told(memberships)
            assert addresses(first) == {"web1": "10.0.0.1:80"}
            assert first.revision == str(consul.index)
            consul.put("web2", "10.0.0.2", status="warning")
            assert len((await told(memberships)).hosts) == 2
            consul.put("web1", "10.0.0.9")
            assert addresses(await told(memberships))["web1"] == "10.0.0.9:80"
            consul.put("web1", "10.0.0.9", status="critical", check="_service_maintenance:web1")
            assert (await told(memberships)).draining == {"web1"}
            consul.put("web2", "10.0.0.2", status="critical")
            assert list(addresses(await told(memberships))) == ["web1"]
            consul.remove("web1")
            assert (await told(memberships)).hosts == ()

    asyncio.run(check())


def test_an_index_that_moves_without_a_change_reports_nothing(consul: ConsulServer) -> None:
    consul.put("web1")

    async def check() -> None:
        async with aclosing(quick(consul).watch()) as memberships:
            await told(memberships)
            coming = asyncio.ensure_future(anext(memberships))
            for _ in range(3):
                before = len(consul.asked)
                consul.touch()
                async with asyncio.timeout(WITHIN):
                    while len(consul.asked) == before:  # noqa: ASYNC110  # nobody would set an event
                        await asyncio.sleep(0.005)
            assert not coming.done()
            consul.put("web2")
            async with asyncio.timeout(WITHIN):
                assert len((await coming).hosts) == 2

    asyncio.run(check())


def test_an_index_that_goes_backwards_is_forgotten(consul: ConsulServer) -> None:
    consul.touch(1000)
    consul.put("web1")

    async def check() -> None:
        async with aclosing(quick(consul).watch()) as memberships:
            await told(memberships)
            with consul.changed:  # a snapshot from before is restored
                consul.instances = {"old": instance("old")}
            consul.touch(5)
            found = await told(memberships)
            assert (list(addresses(found)), found.revision) == (["old"], "5")
            consul.put("web2")  # at an index below that of the beginning
            assert list(addresses(await told(memberships))) == ["old", "web2"]

    asyncio.run(check())
    indexes = [int(query.get("index", ["0"])[0]) for query in consul.asked]
    assert indexes[0] == 0  # the first never blocks
    assert 0 in indexes[indexes.index(1001) :]  # neither does the one after the reset


def test_an_index_of_0_makes_no_busy_loop(consul: ConsulServer) -> None:
    consul.touch(0)

    began = time.monotonic()

    async def check() -> None:
        async with aclosing(quick(consul).watch()) as memberships:
            await told(memberships)
            coming = asyncio.ensure_future(anext(memberships))
            await asyncio.sleep(1.0)
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    asyncio.run(check())
    assert len(consul.asked) <= (time.monotonic() - began) / LEAST + 1
    assert ["1"] in [query.get("index") for query in consul.asked]


def test_tags_and_the_datacenter_are_asked_for(consul: ConsulServer) -> None:
    consul.put("web1", Tags=["blue", "v2"])
    consul.put("web2", Tags=["blue"])

    async def check() -> None:
        async with aclosing(quick(consul, tags="blue,v2", dc="dc1").watch()) as memberships:
            assert list(addresses(await told(memberships))) == ["web1"]

    asyncio.run(check())
    assert consul.asked[0] == {"tag": ["blue", "v2"], "dc": ["dc1"]}


def test_a_token_that_may_not_read_is_not_a_empty_service(consul: ConsulServer) -> None:
    consul.put("web1")
    consul.token = "reader"

    async def first(token: str) -> Membership:
        async with aclosing(quick(consul, token=token).watch()) as memberships:
            return await told(memberships)

    assert len(asyncio.run(first("reader")).hosts) == 1
    with pytest.raises(DiscoveryError, match="service:read"):
        asyncio.run(first("other"))
    with pytest.raises(DiscoveryError, match="ACL not found"):
        asyncio.run(first("unknown"))
    findings = asyncio.run(quick(consul, token="other").examine())
    assert [finding.level for finding in findings] == ["error"]
    assert "reader" not in str(quick(consul, token="reader"))


def test_the_examination_counts_the_states_and_sees_shared_ids(consul: ConsulServer) -> None:
    consul.put("a", node="n1")
    consul.put("b", node="n2", status="critical")
    with consul.changed:
        consul.instances["twin"] = instance("a", node="n3")
    findings = asyncio.run(quick(consul).examine())
    assert "1 critical, 2 passing" in findings[0].text
    assert "with_node" in findings[1].text
    named = asyncio.run(quick(consul, with_node=True).examine())
    assert [finding.level for finding in named] == ["ok"]


def test_an_agent_that_falls_silent_is_noticed() -> None:
    with socket.socket() as silent:  # takes connections and answers nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"consul://127.0.0.1:{silent.getsockname()[1]}/web"
        with pytest.raises(DiscoveryError, match="no answer in time"):
            asyncio.run(anext(source(url, timeout=0.2).watch()))  # type: ignore[arg-type]  # a generator's step


def test_a_server_that_is_not_consul_is_reported(consul: ConsulServer) -> None:
    async def check() -> None:
        found = ConsulSource("../catalog", consul.endpoint)
        async with aclosing(found.watch()) as memberships:
            assert (await told(memberships)).hosts == ()  # quoted: no other endpoint is reached

    asyncio.run(check())
    for url in ("consul:", "consul://a,b/web", "consul:web?wait=0", "consul:web?wait=soon"):
        with pytest.raises(ConfigError):
            source(url)


def test_the_real_agent(tmp_path: Path) -> None:
    program = shutil.which("consul")
    if program is None:
        pytest.skip("consul is not installed (package consul, which Debian 12 does not have)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    words = [program, "agent", "-dev", "-bind=127.0.0.1", f"-data-dir={tmp_path}"]
    ports = ("-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1", f"-http-port={port}")
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen([*words, *ports], stdout=log, stderr=log)
    try:
        asyncio.run(_live(program, port, tmp_path))
    finally:
        agent.kill()
        agent.wait()


async def _live(program: str, port: int, folder: Path) -> None:
    here = f"-http-addr=127.0.0.1:{port}"

    async def control(*words: str) -> int:
        running = await asyncio.create_subprocess_exec(program, *words)
        return await running.wait()

    until = time.monotonic() + WITHIN
    while await control("services", "register", here, "-name=web", "-id=web1", "-port=80"):
        assert time.monotonic() < until, (folder / "log").read_text()[-2000:]
        await asyncio.sleep(0.1)
    async with aclosing(ConsulSource("web", f"127.0.0.1:{port}").watch()) as memberships:
        found = await told(memberships)
        while not found.hosts:  # it may not have reached the catalog yet
            found = await told(memberships)
        assert list(addresses(found)) == ["web1"]
        await control("services", "register", here, "-name=web", "-id=web2", "-port=81")
        assert list(addresses(await told(memberships))) == ["web1", "web2"]
        await control("maint", here, "-enable", "-service=web1")
        assert (await told(memberships)).draining == {"web1"}
        await control("services", "deregister", here, "-id=web1")
        assert list(addresses(await told(memberships))) == ["web2"]


def test_an_address_in_brackets_gets_no_second_ones() -> None:
    service = {"ID": "a", "Address": "[::1]", "Port": 80}
    found = parse([{"Node": {"Address": "10.0.0.1"}, "Service": service, "Checks": []}])
    assert found.hosts[0].address == "[::1]:80"
