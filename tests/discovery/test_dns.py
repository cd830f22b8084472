from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

from hashring import ConfigError, DiscoveryError, LoadBalancer
from hashring.discovery import Discovery, Membership, source
from hashring.discovery.dns import DnsSource, parse

pytest.importorskip("dns", reason="dnspython is not installed")

import dns.rcode

from tests.discovery.dns_server import DnsServer


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer() as started:
        yield started


def asking(
    server: DnsServer, name: str = "web.test", query: str = "", timeout: float = 10
) -> DnsSource:
    found = source(f"dns://{server.endpoint}/{name}?least=0.02&timeout={timeout}{query}")
    assert isinstance(found, DnsSource)
    return found


async def told(memberships: AsyncIterator[Membership]) -> Membership:
    async with asyncio.timeout(15):
        return await anext(memberships)


def first(dns_source: DnsSource) -> Membership:
    async def ask() -> Membership:
        async with aclosing(dns_source.watch()) as memberships:
            return await told(memberships)

    return asyncio.run(ask())


def names(membership: Membership) -> list[str]:
    return [host.name for host in membership.hosts]


def test_addresses_of_both_kinds(server: DnsServer) -> None:
    server.records = {
        ("web.test", "A"): ("10.0.0.2", "10.0.0.1"),
        ("web.test", "AAAA"): ("2001:db8::1",),
    }
    found = first(asking(server, query="&type=A,AAAA&port=80"))
    assert [host.address for host in found.hosts] == [
        "10.0.0.1:80",
        "10.0.0.2:80",
        "[2001:db8::1]:80",
    ]
    assert names(first(asking(server))) == ["10.0.0.1", "10.0.0.2"]


def test_srv_has_names_ports_and_weights(server: DnsServer) -> None:
    server.records = {
        ("_http._tcp.test", "SRV"): (
            "1 150 8080 web1.test.",
            "1 0 8081 web2.test.",
            "9 100 8082 spare.test.",
        )
    }
    found = first(asking(server, "_http._tcp.test"))
    assert [(host.name, host.weight, host.address) for host in found.hosts] == [
        ("web1.test", 1.5, "web1.test:8080"),
        ("web2.test", 1.0, "web2.test:8081"),
    ]
    assert found.draining == {"web2.test"}
    other = first(asking(server, "_http._tcp.test", "&weight_unit=50&with_port=true"))
    assert [(host.name, host.weight) for host in other.hosts] == [
        ("web1.test:8080", 3.0),
        ("web2.test:8081", 1.0),
    ]


def test_weights_that_are_all_0_are_not_drain() -> None:
    found = parse(["0 0 80 a.test.", "0 0 80 b.test."])
    assert not found.draining
    assert parse(["0 0 0 ."]).hosts == ()
    twice = parse(["0 1 80 a.test.", "0 1 81 a.test."])
    assert len(twice.hosts) == len(twice.problems) == 1
    assert len(parse(["nonsense"]).problems) == 1


def test_the_ttl_states_when_to_ask_again(server: DnsServer) -> None:
    server.ttl = 1
    server.records = {("web.test", "A"): ("10.0.0.1",)}

    async def check() -> None:
        async with aclosing(asking(server).watch()) as memberships:
            await told(memberships)
            server.records = {("web.test", "A"): ("10.0.0.2",)}
            asked = server.asked
            assert names(await told(memberships)) == ["10.0.0.2"]
            assert server.asked == asked + 1  # with 0.02 s it would have been 50

    asyncio.run(check())


def test_answers_in_another_order_are_the_same(server: DnsServer) -> None:
    server.records = {("web.test", "A"): ("10.0.0.1", "10.0.0.2")}

    async def check() -> None:
        async with aclosing(asking(server).watch()) as memberships:
            await told(memberships)
            server.records = {("web.test", "A"): ("10.0.0.2", "10.0.0.1")}
            await asyncio.sleep(0.1)
            server.records = {("web.test", "A"): ("10.0.0.2", "10.0.0.3")}
            assert names(await told(memberships)) == ["10.0.0.2", "10.0.0.3"]

    asyncio.run(check())


def test_a_missing_name_or_record_has_no_hosts(server: DnsServer) -> None:
    assert names(first(asking(server))) == []
    server.records = {("web.test", "AAAA"): ("2001:db8::1",)}
    assert names(first(asking(server))) == []


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_fails_is_not_an_empty_pool(
    server: DnsServer, rcode: dns.rcode.Rcode
) -> None:
    server.rcode = rcode
    with pytest.raises(DiscoveryError, match=rcode.name):
        first(asking(server))
    server.stop()
    with pytest.raises(DiscoveryError, match=r"web\.test"):
        first(asking(server, timeout=0.3))


def test_flaps_and_outages_keep_the_pool(server: DnsServer) -> None:
    full = {("web.test", "A"): tuple(f"10.0.0.{n}" for n in range(1, 5))}
    server.records = full
    lb = LoadBalancer()

    async def check() -> None:
        async with Discovery(asking(server), lb, hold=1000.0) as discovery:
            assert len(lb) == 4
            for _ in range(3):
                server.records = {}
                async with asyncio.timeout(10):
                    while discovery.held is None:  # noqa: ASYNC110  # nobody sets an event
                        await asyncio.sleep(0.005)
                server.records = full
                server.rcode = dns.rcode.SERVFAIL
                async with asyncio.timeout(10):
                    while discovery.last_error is None:  # noqa: ASYNC110  # nobody sets an event
                        await asyncio.sleep(0.005)
                server.rcode = None
                async with asyncio.timeout(10):
                    while discovery.held is not None or discovery.last_error:  # noqa: ASYNC110  # as above
                        await asyncio.sleep(0.005)
                assert len(lb) == 4
            assert discovery.stats["changed"] == 1

    asyncio.run(check())


def test_no_cancellation_is_lost_however_it_meets_an_answer(server: DnsServer) -> None:
    server.records = {("web.test", "A"): ("10.0.0.1",)}

    async def watch() -> None:
        eager = DnsSource("web.test", nameservers=[server.endpoint], least=0.0001)
        async for _ in eager.watch():
            pass

    async def check() -> None:
        for turn in range(300):
            watching = asyncio.create_task(watch())
            await asyncio.sleep(turn % 30 / 3000)
            watching.cancel()
            await asyncio.wait((watching,), timeout=10)
            assert watching.cancelled()

    asyncio.run(check())


def test_the_examination(server: DnsServer) -> None:
    server.records = {("web.test", "A"): ("10.0.0.1",)}
    assert [finding.level for finding in asyncio.run(asking(server).examine())] == ["ok", "warning"]
    server.ttl = 86_400
    assert "86400 s" in asyncio.run(asking(server).examine())[1].text
    server.rcode = dns.rcode.SERVFAIL
    assert [finding.level for finding in asyncio.run(asking(server).examine())] == ["error"]


def test_urls() -> None:
    assert str(source("dns://[2001:db8::53]:5353/web.test")) == (
        "dns://[2001:db8::53]:5353/web.test?type=A"
    )
    for url in ("dns:", "dns:web?type=TXT", "dns://resolver.test/web", "dns:web?weight_unit=0"):
        with pytest.raises(ConfigError):
            source(url)


def test_a_target_is_one_name_in_large_and_small_letters() -> None:
    found = parse(["0 100 80 Web1.Test.", "0 100 80 web1.test.", "0 100 80 web2.TEST."])
    assert [host.name for host in found.hosts] == ["web1.test", "web2.test"]
    assert len(found.problems) == 1


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_invalid_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to 65535"):
        DnsSource("web.test", port=port, nameservers=["127.0.0.1"])


def test_a_name_of_one_family_has_the_ttl_of_its_addresses(server: DnsServer) -> None:
    server.records = {("web.test", "A"): ("10.0.0.1",)}
    server.ttl = 60
    first_said = asyncio.run(asking(server, query="&type=A,AAAA").examine())[0]
    assert "1 records, good for 60 s" in first_said.text
