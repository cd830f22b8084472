from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hashring import DiscoveryError, Host, LoadBalancer
from hashring.discovery import Discovery, Membership, Source, source
from hashring.discovery.kubernetes import KubernetesSource, parse
from hashring.testing import check_discovery
from tests.discovery.kube_objects import endpoint, piece
from tests.discovery.kube_server import KubeServer
from tests.discovery.test_contract import Known

pytest.importorskip("httpx2", reason="httpx2 is not installed")

WITHIN = 20.0  # seconds until a test that waits for something gives up


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    with KubeServer() as server:
        yield server


async def told(memberships: AsyncIterator[Membership]) -> Membership:
    async with asyncio.timeout(WITHIN):
        return await anext(memberships)


def quick(server: KubeServer, **more: object) -> KubernetesSource:
    found = source(server.url, **{"timeout": 1.0, **more})
    assert isinstance(found, KubernetesSource)
    return found


def addresses(membership: Membership) -> dict[str, str]:
    return {host.name: host.address for host in membership.hosts}


def listed(*slices: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, "items": list(slices)}


class Kube(Known):
    """The hosts are in two slices by turns, as a service of more than 100 endpoints has them."""

    def __init__(self, server: KubeServer) -> None:
        super().__init__()
        self.server = server
        self.stop, self.start = server.stop, server.start

    def source(self) -> Source:
        return quick(self.server, port="80", lasting=1)

    def put(self, name: str, number: int) -> None:
        super().put(name, number)
        self._slice(name)

    def remove(self, name: str) -> None:
        del self.now[name]
        self._slice(name)

    def write(self) -> None: ...  # a slice at a time

    def _slice(self, name: str) -> None:
        turn = list(self.names).index(name) % 2
        hosts = [self.now[each] for each in self.names[turn::2] if each in self.now]
        ends = [endpoint(host.address.removesuffix(":80"), host.name) for host in hosts]
        self.server.put(piece(f"web-{turn}", *ends))


def test_the_contract(kube: KubeServer) -> None:
    check_discovery(Kube(kube))


def test_what_is_ready_draining_and_gone_is_reported(kube: KubeServer) -> None:
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
    kube.put(piece("other-a", endpoint("10.9.9.9", "other-0"), service="other"))

    async def check() -> None:
        async with aclosing(quick(kube).watch()) as memberships:
            first = await told(memberships)
            assert addresses(first) == {"web-0": "10.0.0.1:8080"}
            assert first.revision == str(kube.version)
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1")))
            assert list(addresses(await told(memberships))) == ["web-0", "web-1"]
            kube.put(piece("web-a", endpoint("10.0.0.7", "web-0")))  # made anew under its name
            assert addresses(await told(memberships))["web-0"] == "10.0.0.7:8080"
            dying = {"ready": False, "terminating": True}
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1", serving=True, **dying)))
            assert (await told(memberships)).draining == {"web-1"}
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1", serving=False, **dying)))
            assert list(addresses(await told(memberships))) == ["web-0"]
            kube.remove("web-a")
            assert (await told(memberships)).hosts == ()

    asyncio.run(check())


def test_a_list_comes_in_pages(kube: KubeServer) -> None:
    kube.page = 3
    for number in range(10):
        kube.put(piece(f"web-{number}", endpoint(f"10.0.0.{number}", f"web-{number}")))

    async def check() -> None:
        async with aclosing(quick(kube).watch()) as memberships:
            assert len((await told(memberships)).hosts) == 10

    asyncio.run(check())
    assert [verb for verb, _ in kube.asked] == ["list"] * 4


def test_a_version_that_is_gone_is_listed_again(kube: KubeServer) -> None:
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))

    async def check() -> None:
        async with aclosing(quick(kube).watch()) as memberships:
            await told(memberships)
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1")))
            kube.remove("web-a")
            kube.compact()  # the watch that begins now is too late for both
            assert list(addresses(await told(memberships))) == ["web-1"]
            kube.put(piece("web-c", endpoint("10.0.0.3", "web-2")))
            assert list(addresses(await told(memberships))) == ["web-1", "web-2"]

    asyncio.run(check())
    assert [verb for verb, _ in kube.asked].count("list") == 2


def test_a_bookmark_moves_the_version_on_and_reports_nothing(kube: KubeServer) -> None:
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))

    async def check() -> None:
        async with aclosing(quick(kube, lasting=1).watch()) as memberships:
            await told(memberships)
            coming = asyncio.ensure_future(anext(memberships))
            await verbs(kube, 2)
            kube.bookmark()
            version = kube.version
            await verbs(kube, 3)  # the first watch has ended
            assert not coming.done()
            assert int(kube.asked[-1][1]["resourceVersion"]) >= version
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1")))
            async with asyncio.timeout(WITHIN):
                assert len((await coming).hosts) == 2

    asyncio.run(check())
    assert [verb for verb, _ in kube.asked].count("list") == 1
    assert all(
        query["allowWatchBookmarks"] == "true" for verb, query in kube.asked if verb == "watch"
    )


async def verbs(kube: KubeServer, count: int) -> None:
    async with asyncio.timeout(WITHIN):
        while len(kube.asked) < count:  # noqa: ASYNC110  # nobody would set an event: it is asked
            await asyncio.sleep(0.005)


def test_rights_and_tokens(kube: KubeServer) -> None:
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
    kube.rights = {"reader": {"list", "watch"}, "lister": {"list"}, "none": set()}

    async def first(token: str) -> Membership:
        async with aclosing(quick(kube, token=token).watch()) as memberships:
            return await told(memberships)

    assert len(asyncio.run(first("reader")).hosts) == 1
    with pytest.raises(DiscoveryError, match=r"cannot list resource.*a Role with list and watch"):
        asyncio.run(first("none"))
    with pytest.raises(DiscoveryError, match="Unauthorized"):
        asyncio.run(first("unknown"))
    assert [each.level for each in asyncio.run(quick(kube, token="reader").examine())] == ["ok"]
    (finding,) = asyncio.run(quick(kube, token="lister").examine())
    assert finding.level == "error"
    assert "cannot watch" in finding.text


def test_a_token_that_rotates_is_read_again(kube: KubeServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
    kube.rights = {"old": {"list", "watch"}}
    lb = LoadBalancer()

    async def check() -> None:
        found = quick(kube, token_file=str(file), lasting=1)
        async with Discovery(found, lb) as discovery:
            file.write_text("new\n")
            kube.rights = {"new": {"list", "watch"}}
            await verbs(kube, 4)  # two watches later
            kube.put(piece("web-b", endpoint("10.0.0.2", "web-1")))
            async with asyncio.timeout(WITHIN):
                while len(lb) < 2:  # noqa: ASYNC110  # nobody would set an event: it is asked
                    await asyncio.sleep(0.005)
            assert discovery.stats["lost"] == 0
        file.unlink()
        with pytest.raises(DiscoveryError, match="token"):
            await told(found.watch())

    asyncio.run(check())


def test_a_server_that_is_not_kubernetes_is_reported(kube: KubeServer) -> None:
    url = f"kubernetes://{kube.endpoint}/shop/web?tls=false"
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))
    kube.slices["web-a"]["metadata"].pop("name")

    async def first() -> Membership:
        async with aclosing(source(url).watch()) as memberships:  # type: ignore[type-var]  # it is a generator
            return await told(memberships)

    with pytest.raises(DiscoveryError, match="not an EndpointSlice"):
        asyncio.run(first())


def test_an_api_that_falls_silent_is_noticed(kube: KubeServer) -> None:
    kube.put(piece("web-a", endpoint("10.0.0.1", "web-0")))

    async def check() -> None:
        async with aclosing(quick(kube, lasting=1, timeout=0.3).watch()) as memberships:
            await told(memberships)
            coming = asyncio.ensure_future(anext(memberships))
            await verbs(kube, 2)
            with kube.changed, pytest.raises(DiscoveryError, match="no answer in time"):
                # nobody answers while it is held
                async with asyncio.timeout(WITHIN):
                    await coming

    asyncio.run(check())


def test_the_examination_counts_the_states(kube: KubeServer) -> None:
    (empty,) = asyncio.run(quick(kube).examine())
    assert empty.level == "warning"
    ends = [endpoint("10.0.0.1", "web-0"), endpoint("10.0.0.2", "web-1", ready=False)]
    kube.put(piece("web-a", *ends))
    (finding,) = asyncio.run(quick(kube).examine())
    assert finding.level == "ok"
    assert "1 slices, endpoints: 1 ready, 1 unready" in finding.text


def test_one_host_in_several_slices_counts_once() -> None:
    dying = endpoint("10.0.0.1", "web-0", ready=False, terminating=True)
    six = piece("web-6", endpoint("fd00::1", "web-1"), endpoint("fd00::2"), family="IPv6")
    four = piece("web-4", endpoint("10.0.0.2", "web-1"), dying)
    moved = piece("web-5", endpoint("10.0.0.9", "web-0"))
    for order in ([six, four, moved], [moved, four, six]):
        found = parse(listed(*order))
        assert addresses(found) == {
            "[fd00::2]:8080": "[fd00::2]:8080",
            "web-0": "10.0.0.9:8080",
            "web-1": "10.0.0.2:8080",
        }
        assert not found.draining
        assert not found.problems


def test_ports_by_name_and_number() -> None:
    two = piece("web-a", endpoint("10.0.0.1", "web-0"), ports={"http": 8080, "admin": 9090})
    other = piece("web-b", endpoint("10.0.0.2", "web-1"), ports={"http": 8888, "admin": 9090})
    assert addresses(parse(listed(two, other), port="http")) == {
        "web-0": "10.0.0.1:8080",
        "web-1": "10.0.0.2:8888",  # a named target port may differ from pod to pod
    }
    assert addresses(parse(listed(two), port="7000")) == {"web-0": "10.0.0.1:7000"}
    for wanted, why in ((None, "has several ports"), ("https", "has no port 'https'")):
        found = parse(listed(two), port=wanted)
        assert not found.hosts
        assert why in found.problems[0]
        assert "'http', 'admin'" in found.problems[0]
    bare = piece("web-c", endpoint("10.0.0.3"), ports={})
    assert addresses(parse(listed(bare))) == {"10.0.0.3": "10.0.0.3"}


def test_what_is_not_given_is_as_the_api_defines_it() -> None:
    silent: dict[str, Any] = {"addresses": ["10.0.0.1"]}
    unready = {"addresses": ["10.0.0.2"], "conditions": {"ready": False}}
    dying = {"addresses": ["10.0.0.3"], "conditions": {"ready": False, "terminating": True}}
    published = {"addresses": ["10.0.0.4"], "conditions": {"ready": True, "terminating": True}}
    found = parse(listed(piece("web-a", silent, unready, dying, published), piece("web-empty")))
    assert found.hosts == (Host("10.0.0.1:8080"), Host("10.0.0.4:8080"))
    assert found.draining == {"10.0.0.4:8080"}


@pytest.mark.parametrize(
    "odd",
    [None, 7, {"endpoints": [None]}, {"endpoints": [{"addresses": []}]}, {"endpoints": [{}]}],
)
def test_what_is_not_a_slice_is_a_problem_and_hides_no_other(odd: Any) -> None:
    found = parse(listed(odd, piece("web-a", endpoint("10.0.0.1", "web-0"))))
    assert list(addresses(found)) == ["web-0"]
    assert len(found.problems) == 1
    beside = piece("web-a", {"addresses": None}, endpoint("10.0.0.1", "web-0"))
    found = parse(listed(beside))
    assert list(addresses(found)) == ["web-0"]
    assert len(found.problems) == 1
