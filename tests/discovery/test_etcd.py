from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hashring import ConfigError, DiscoveryError, Host, LoadBalancer
from hashring.discovery import Discovery, Membership, source
from hashring.discovery.etcd import EtcdSource
from tests.discovery.etcd_server import EtcdServer
from tests.waiting import wait_in_loop

pytest.importorskip("httpx2", reason="httpx2 is not installed")

WITHIN = 20.0  # seconds until a test that waits for something gives up


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path) as server:
        yield server


async def told(memberships: AsyncIterator[Membership]) -> Membership:
    async with asyncio.timeout(WITHIN):
        return await anext(memberships)


def quick(server: EtcdServer, **more: object) -> EtcdSource:
    return by_url(server.url, heartbeat=0.3, timeout=0.5, **more)


def by_url(url: str, **options: object) -> EtcdSource:
    found = source(url, **options)
    assert isinstance(found, EtcdSource)
    return found


def addresses(membership: Membership) -> dict[str, str]:
    return {host.name: host.address for host in membership.hosts}


def test_what_is_put_replaced_drained_and_deleted_is_reported(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    etcd.control("put", "/services/web2/other", "10.9.9.9:80")  # another prefix

    async def check() -> None:
        async with aclosing(quick(etcd).watch()) as memberships:
            assert addresses(await told(memberships)) == {"web1": "10.0.0.1:80"}
            await asyncio.to_thread(etcd.put, "web2", '{"address": "10.0.0.2:80", "weight": 2.5}')
            assert (await told(memberships)).hosts[1].same(Host("web2", 2.5, address="10.0.0.2:80"))
            await asyncio.to_thread(etcd.put, "web1", "10.0.0.9:80")
            assert addresses(await told(memberships))["web1"] == "10.0.0.9:80"
            await asyncio.to_thread(etcd.put, "web1", '{"address": "10.0.0.9:80", "weight": 0}')
            assert (await told(memberships)).draining == {"web1"}
            await asyncio.to_thread(etcd.delete, "web1")
            assert addresses(await told(memberships)) == {"web2": "10.0.0.2:80"}

    asyncio.run(check())


def test_a_transaction_is_one_membership(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")

    async def check() -> None:
        async with aclosing(quick(etcd).watch()) as memberships:
            await told(memberships)
            puts = "\n".join(f"put /services/web/new{n} 10.0.1.{n}:80" for n in range(50))
            done = await asyncio.to_thread(
                subprocess.run,
                ["etcdctl", f"--endpoints={etcd.endpoint}", "txn"],
                input=f"\n{puts}\n\n\n",
                text=True,
                capture_output=True,
                check=False,
                env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            )
            assert "SUCCESS" in done.stdout, done.stderr
            assert len((await told(memberships)).hosts) == 51

    asyncio.run(check())


def test_a_lease_that_expires_is_a_host_that_goes(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    lease = etcd.control("lease", "grant", "2").split()[1]
    etcd.put("web2", "10.0.0.2:80", f"--lease={lease}")

    async def check() -> None:
        async with aclosing(quick(etcd).watch()) as memberships:
            assert len((await told(memberships)).hosts) == 2
            assert list(addresses(await told(memberships))) == ["web1"]

    asyncio.run(check())


def test_a_compaction_under_the_watcher_loses_nothing(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")

    class Late(EtcdSource):
        """Between the range and the watch, the store moves on and forgets."""

        behind = True

        def _changes(self, client, state):  # type: ignore[no-untyped-def]  # as its base has it
            if self.behind:
                self.behind = False
                for number in range(5):
                    etcd.put("web2", f"10.0.0.2:{number}")
                revision = state.revision + 4
                etcd.control("compact", str(revision))
            return super()._changes(client, state)

    async def check() -> None:
        late = Late([etcd.endpoint], "/services/web", heartbeat=60.0)
        async with aclosing(late.watch()) as memberships:
            assert list(addresses(await told(memberships))) == ["web1"]
            assert addresses(await told(memberships))["web2"] == "10.0.0.2:4"
            await asyncio.to_thread(etcd.put, "web3", "10.0.0.3:80")
            assert len((await told(memberships)).hosts) == 3

    asyncio.run(check())


def test_a_compaction_beside_a_watch_changes_nothing(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")

    async def check() -> None:
        async with aclosing(quick(etcd).watch()) as memberships:
            revision = (await told(memberships)).revision
            await asyncio.to_thread(etcd.control, "compact", revision)
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.2:80")
            assert len((await told(memberships)).hosts) == 2

    asyncio.run(check())


def test_kill_9_and_a_restart(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    lb = LoadBalancer()

    async def check() -> None:
        async with Discovery(quick(etcd), lb) as discovery:
            await wait_in_loop(lambda: len(lb) == 1)
            await asyncio.to_thread(etcd.kill)
            await wait_in_loop(lambda: discovery.last_error)
            assert lb.pick("x").name == "web1"
            await asyncio.to_thread(etcd.start)
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.2:80")
            await wait_in_loop(lambda: len(lb) == 2)
            assert discovery.stats["lost"] == discovery.stats["back"] == 1
            assert discovery.last_error is None

    asyncio.run(check())


def test_a_server_that_freezes_looks_silent_and_is_noticed(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    lb = LoadBalancer()

    async def check() -> None:
        async with Discovery(quick(etcd), lb) as discovery:
            await wait_in_loop(lambda: len(lb) == 1)
            etcd.freeze()
            try:
                await wait_in_loop(lambda: discovery.last_error)
                assert "no answer in time" in str(discovery.last_error)
                await asyncio.sleep(3)
                assert lb.pick("x").name == "web1"
            finally:
                etcd.thaw()
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.2:80")
            await wait_in_loop(lambda: len(lb) == 2 and not discovery.last_error)

    asyncio.run(check())


def test_of_several_endpoints_one_that_lives_is_asked(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    two = EtcdSource(["127.0.0.1:1", etcd.endpoint], "/services/web")

    async def check() -> None:
        for _ in range(3):
            async with aclosing(two.watch()) as memberships:
                assert len((await told(memberships)).hosts) == 1
        none = EtcdSource(["127.0.0.1:1", "127.0.0.1:2"], "/services/web")
        with pytest.raises(DiscoveryError, match=r"127\.0\.0\.1:"):
            await told(none.watch())

    asyncio.run(check())


def test_an_event_that_the_watch_lost_is_found_by_the_heartbeat(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    etcd.put("web2", "10.0.0.2:80")

    class Deaf(EtcdSource):
        def _client(self):  # type: ignore[no-untyped-def]  # as its base has it
            client = super()._client()

            async def silent(since: int) -> AsyncIterator[object]:
                await asyncio.Event().wait()
                yield since

            client.watch = silent  # type: ignore[assignment,method-assign]  # a proxy that sits on the stream
            return client

    async def check() -> None:
        deaf = Deaf([etcd.endpoint], "/services/web", heartbeat=0.1)
        async with aclosing(deaf.watch()) as memberships:
            assert len((await told(memberships)).hosts) == 2
            await asyncio.to_thread(etcd.delete, "web1")
            assert list(addresses(await told(memberships))) == ["web2"]
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.9:80")
            assert addresses(await told(memberships)) == {"web2": "10.0.0.9:80"}

    asyncio.run(check())


def test_user_and_password(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    root = "--user=root:secret"
    etcd.control("user", "add", "root:secret")
    etcd.control("user", "grant-role", "root", "root")
    etcd.control("user", "add", "router:p@ss:word")
    etcd.control("role", "add", "reader")
    etcd.control("role", "grant-permission", "reader", "read", "/services/web/", "--prefix=true")
    etcd.control("user", "grant-role", "router", "reader")
    etcd.control("auth", "enable")
    path = f"{etcd.endpoint}/services"

    async def check() -> None:
        allowed = by_url(f"etcd://router:p%40ss%3Aword@{path}/web", heartbeat=0.2)
        assert "p@ss" not in str(allowed)
        async with aclosing(allowed.watch()) as memberships:
            assert len((await told(memberships)).hosts) == 1
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.2:80", root)
            assert len((await told(memberships)).hosts) == 2
        refused = {
            f"etcd://{path}/web": "user name",
            f"etcd://router:wrong@{path}/web": "authentication failed",
            f"etcd://router:p%40ss%3Aword@{path}/other": "permission denied",
        }
        for url, why in refused.items():
            with pytest.raises(DiscoveryError, match=why):
                await told(source(url).watch())

    asyncio.run(check())


def test_a_token_that_the_restarted_server_forgot_is_made_again(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    etcd.control("user", "add", "root:secret")
    etcd.control("user", "grant-role", "root", "root")
    etcd.control("auth", "enable")
    lb = LoadBalancer()

    async def check() -> None:
        url = f"etcd://root:secret@{etcd.endpoint}/services/web"
        async with Discovery(source(url, heartbeat=0.2, timeout=10), lb) as discovery:
            await wait_in_loop(lambda: len(lb) == 1)
            await asyncio.to_thread(etcd.kill)
            await asyncio.to_thread(etcd.start)
            await asyncio.to_thread(etcd.put, "web2", "10.0.0.2:80", "--user=root:secret")
            await wait_in_loop(lambda: len(lb) == 2 and not discovery.last_error)

    asyncio.run(check())


def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=etcd -addext"
    made = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    flags = ("--cert-file", "--key-file", "--trusted-ca-file", "--client-cert-auth")
    given = [
        word for pair in zip(flags, (cert, key, cert), strict=False) for word in map(str, pair)
    ]
    with EtcdServer(tmp_path, *given, flags[-1], scheme="https") as etcd:
        shown = [f"--cacert={cert}", f"--cert={cert}", f"--key={key}"]
        etcd.control("put", "/services/web/web1", "10.0.0.1:80", *shown)

        async def check() -> None:
            trusting = by_url(etcd.url, ca=str(cert), cert=str(cert), key=str(key))
            async with aclosing(trusting.watch()) as memberships:
                assert addresses(await told(memberships)) == {"web1": "10.0.0.1:80"}
            with pytest.raises(DiscoveryError, match=r"(?i)certificate"):
                await told(source(etcd.url, tls=True).watch())

        asyncio.run(check())


def test_pairs_that_are_not_hosts_are_problems_and_hide_no_other(etcd: EtcdServer) -> None:
    etcd.put("web1", "10.0.0.1:80")
    for name, value in {
        "nan": '{"weight": "heavy"}',
        "minus": '{"weight": -1}',
        "broken": '{"weight"',
        "prose": "not an address",
        "": "10.0.0.7:80",
        "deep/web1": "10.0.0.8:80",
    }.items():
        etcd.put(name, value)

    async def check() -> Membership:
        async with aclosing(quick(etcd).watch()) as memberships:
            return await told(memberships)

    found = asyncio.run(check())
    assert set(addresses(found)) == {"web1"}
    assert len(found.problems) == 6


def test_the_examination_names_what_to_do(etcd: EtcdServer) -> None:
    etcd.control("put", "services/web/web1", "10.0.0.1:80")
    findings = asyncio.run(quick(etcd).examine())
    assert [finding.level for finding in findings] == ["ok", "warning"]
    assert "?prefix=services/web/" in findings[1].text
    found = by_url(f"etcd://{etcd.endpoint}/?prefix=services/web/")

    async def check() -> None:
        async with aclosing(found.watch()) as memberships:
            assert len((await told(memberships)).hosts) == 1

    asyncio.run(check())


def test_a_url_without_a_prefix_or_half_a_login_is_refused() -> None:
    for url in ("etcd://e1:2379", "etcd://e1:2379/", "etcd://ann@e1:2379/web"):
        with pytest.raises(ConfigError):
            source(url)


ODD = [
    b"hello",
    b"[]",
    b'{"header": {"revision": "1"}, "kvs": [5]}',
    b'{"header": {"revision": "1"}, "kvs": [{}]}',
    b'{"header": {"revision": "1"}, "kvs": [{"key": 5}]}',
]


@pytest.mark.parametrize("body", ODD)
def test_a_server_that_is_not_etcd_is_reported(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    async def check() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(DiscoveryError, match="no answer of etcd's v3 API"):
                await told(source(f"etcd://127.0.0.1:{port}/web").watch())

    asyncio.run(check())
