"""Clients of httpx, httpx2 and requests send each request to the host of its client."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hashring import ConfigError, Host, LoadBalancer, NoHostsError
from hashring.affinity import PinTable
from hashring.health import HealthMonitor, OutlierRules
from tests.integrations._http_servers import NamedServer, named_servers
from tests.waiting import wait_until

CLIENTS = [f"session-{number}" for number in range(60)]
HEADER = "X-Session"
LIBRARIES = ["httpx", "httpx2"]


@pytest.fixture
def servers() -> Iterator[dict[str, NamedServer]]:
    with named_servers(4) as started:
        yield started


def balancer(servers: dict[str, NamedServer], **options: Any) -> LoadBalancer:
    return LoadBalancer([Host(s.name, address=s.address) for s in servers.values()], **options)


class Client:
    """One of the libraries, with one way to call it: the response's status and text."""

    def __init__(self, kind: str, lb: LoadBalancer, timeout: float = 10.0, **options: Any) -> None:
        options.setdefault("identity", HEADER)
        self.kind, self._timeout = kind, timeout
        if kind == "requests":
            requests = pytest.importorskip("requests")
            from hashring.integrations.requests import StickyAdapter

            self.library, self._client = requests, requests.Session()
            self._client.mount("http://app", StickyAdapter(lb, **options))
        else:
            self.library = pytest.importorskip(kind)
            from hashring.integrations.httpx import StickyTransport

            inner = self.library.HTTPTransport()
            transport = StickyTransport(lb, inner, **options)
            self._client = self.library.Client(transport=transport, timeout=timeout)
        name = {"requests": "ConnectionError"}.get(kind, "TransportError")
        self.error: type[Exception] = getattr(self.library, name)

    def ask(
        self, path: str, client: str | None, method: str = "GET", body: Any = b""
    ) -> tuple[int, str]:
        given: dict[str, Any] = {"headers": {} if client is None else {HEADER: client}}
        if self.kind == "requests":
            given |= {"data": body, "timeout": self._timeout}
        else:
            given |= {"content": body}
        response = self._client.request(method, f"http://app{path}", **given)
        return response.status_code, response.text

    def close(self) -> None:
        self._client.close()


@pytest.fixture(params=[*LIBRARIES, "requests"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def client(lb: LoadBalancer, **options: Any) -> Client:
        made.append(Client(request.param, lb, **options))
        return made[-1]

    yield client
    for each in made:
        each.close()


def idle(lb: LoadBalancer) -> bool:
    return all(lb.load(host).in_flight == 0 for host in lb.hosts)


def test_a_client_goes_to_its_own_host(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb)
    for _ in range(2):
        for name in CLIENTS:
            home = lb.pick(name)
            assert client.ask("/", name) == (200, f"{home.name} {home.address} ")
    assert client.ask("/", CLIENTS[0], "POST", b"text")[1].endswith(" text")
    assert len({client.ask("/", None)[1] for _ in range(8)}) > 1  # anonymous
    assert idle(lb)
    assert sum(lb.load(host).ok for host in lb.hosts) == 2 * len(CLIENTS) + 9


def test_a_stopped_host_moves_its_own_clients_only(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb)
    homes = {name: client.ask("/", name)[1].split()[0] for name in CLIENTS}
    servers["web1"].stop()
    after = {name: client.ask("/", name, "POST")[1].split()[0] for name in CLIENTS}
    for name in CLIENTS:
        walk = [host.name for host in lb.walk(name)]
        assert after[name] == next(host for host in walk if host != "web1")
        assert homes[name] in (after[name], "web1")
    assert idle(lb)
    assert lb.load("web1").failed == sum(home == "web1" for home in homes.values()) > 0


def test_what_may_be_sent_twice(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb, retries=1)
    home, following = (host.name for host in lb.walk(CLIENTS[0], 2))
    servers[following].cuts = False
    assert client.ask("/cut", CLIENTS[0])[1].split()[0] == following
    with pytest.raises(client.error):
        client.ask("/cut", CLIENTS[0], "POST")  # the host may have acted on it
    assert servers[following].requests["POST /cut"] == 0
    servers[following].cuts = True
    with pytest.raises(client.error):  # one retry, not three
        client.ask("/cut", CLIENTS[0])
    assert sum(server.requests["GET /cut"] for server in servers.values()) == 4
    assert idle(lb)
    assert lb.load(home).failed == 3
    assert lb.load(home).ok == 0


def test_a_body_that_is_read_once_is_sent_once(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb)
    servers[lb.pick(CLIENTS[0]).name].stop()
    with pytest.raises(client.error):
        client.ask("/", CLIENTS[0], "PUT", iter([b"a", b"b"]))
    assert idle(lb)


def test_a_response_that_ends_early_is_a_failure(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb, failure_statuses=(503,))
    home = lb.pick(CLIENTS[0])
    with pytest.raises(Exception, match=r"(?i)incomplete|peer closed"):
        client.ask("/broken", CLIENTS[0])
    assert (lb.load(home).failed, lb.load(home).ok) == (1, 0)
    assert client.ask("/503", CLIENTS[0])[0] == 503
    assert (lb.load(home).failed, lb.load(home).ok) == (2, 0)
    assert idle(lb)


def test_a_slow_response_is_a_failure_and_asked_once(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb, timeout=0.3)
    home = lb.pick(CLIENTS[0])
    with pytest.raises(Exception, match=r"(?i)timed out"):
        client.ask("/hang", CLIENTS[0])
    assert lb.load(home).failed == 1
    assert sum(server.requests["GET /hang"] for server in servers.values()) == 1
    assert idle(lb)


def test_failures_eject_a_host(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb, retries=0)
    home = lb.pick(CLIENTS[0]).name
    with HealthMonitor(lb, None, outliers=OutlierRules(failures=3)):
        for _ in range(3):
            with pytest.raises(client.error):
                client.ask("/cut", CLIENTS[0], "POST")
        wait_until(lambda: home in lb.snapshot.away, "the host was not ejected")


def test_errors_of_the_pool_come_unchanged(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers)
    client = make(lb)
    for host in lb.hosts:
        lb.mark_down(host, "night")
    with pytest.raises(NoHostsError):
        client.ask("/", CLIENTS[0])


@pytest.mark.parametrize(
    "options", [{"identity": 5}, {"retries": -1}, {"retries": True}, {"failure_statuses": (5,)}]
)
def test_options_that_do_not_fit(
    servers: dict[str, NamedServer], make: Callable[..., Client], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        make(balancer(servers), **options)


def test_clients_of_many_threads(
    servers: dict[str, NamedServer], make: Callable[..., Client]
) -> None:
    lb = balancer(servers, pins=PinTable())
    client = make(lb)
    found: Counter[tuple[str, str]] = Counter()

    def work() -> None:
        for name in CLIENTS[:20]:
            found[name, client.ask("/", name)[1].split()[0]] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20  # one host each
    assert idle(lb)


# -- what only httpx has ---------------------------------------------------------------------------


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_stream_counts_until_it_is_closed(servers: dict[str, NamedServer], library: str) -> None:
    httpx = pytest.importorskip(library)
    from hashring.integrations.httpx import StickyTransport

    lb = balancer(servers)
    home = lb.pick("s-1")
    transport = StickyTransport(lb, httpx.HTTPTransport(), keep_host=True)
    with httpx.Client(transport=transport) as client:
        request = client.build_request("GET", "http://app/", extensions={"client_id": "s-1"})
        response = client.send(request, stream=True)
        assert lb.load(home).in_flight == 1
        assert lb.load(home).outstanding == 1
        parts = response.iter_bytes()
        assert next(parts).startswith(f"{home.name} app".encode())
        assert lb.load(home).outstanding == 0
        assert lb.load(home).in_flight == 1
        response.close()
        assert idle(lb)


@pytest.mark.parametrize("library", LIBRARIES)
def test_awaited_requests_and_cancels(servers: dict[str, NamedServer], library: str) -> None:
    httpx = pytest.importorskip(library)
    from hashring.integrations.httpx import AsyncStickyTransport

    lb = balancer(servers)
    transport = AsyncStickyTransport(lb, httpx.AsyncHTTPTransport(), identity=HEADER)

    async def main() -> None:
        async with httpx.AsyncClient(transport=transport, timeout=10) as client:

            async def ask(name: str, path: str = "/") -> str:
                response = await client.get(f"http://app{path}", headers={HEADER: name})
                text: str = response.text
                return text.split(maxsplit=1)[0]

            found = await asyncio.gather(*map(ask, CLIENTS))
            assert found == [lb.pick(name).name for name in CLIENTS]
            waiting = asyncio.create_task(ask(CLIENTS[0], "/hang"))
            while lb.load(lb.pick(CLIENTS[0])).in_flight == 0:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert idle(lb)
            assert sum(lb.load(host).failed for host in lb.hosts) == 0  # the client's own doing
            servers["web1"].stop()
            moved = [name for name in CLIENTS if lb.pick(name).name == "web1"]
            expected = [[h.name for h in lb.walk(name) if h.name != "web1"][0] for name in moved]  # noqa: RUF015  # a list, as the rest
            assert await asyncio.gather(*map(ask, moved)) == expected
            assert idle(lb)

    asyncio.run(main())


def test_a_transport_of_neither_library_is_refused() -> None:
    from hashring.integrations.httpx import StickyTransport

    with pytest.raises(ConfigError, match="transport must be one of httpx2 or httpx"):
        StickyTransport(LoadBalancer(["127.0.0.1:1"]), object())


# -- aiohttp ---------------------------------------------------------------------------------------


def test_aiohttp_sends_each_client_to_its_host(servers: dict[str, NamedServer]) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    from hashring.integrations.aiohttp import StickyRequests

    lb = balancer(servers)
    sticky = StickyRequests(lb, identity=HEADER, failure_statuses=(503,), retries=1)

    async def main() -> None:
        async with aiohttp.ClientSession(middlewares=[sticky]) as session:

            async def ask(name: str, path: str = "/", method: str = "GET", **given: Any) -> str:
                url, headers = f"http://app{path}", {HEADER: name}
                async with session.request(method, url, headers=headers, **given) as response:
                    text: str = await response.text()
                    return text

            found = await asyncio.gather(*map(ask, CLIENTS))
            homes = [lb.pick(name) for name in CLIENTS]
            assert found == [f"{home.name} {home.address} " for home in homes]
            assert idle(lb)
            assert sum(lb.load(host).ok for host in lb.hosts) == len(CLIENTS)

            home, following = lb.walk(CLIENTS[0], 2)
            before = lb.load(home)
            servers[following.name].cuts = False
            assert (await ask(CLIENTS[0], "/cut")).split()[0] == following.name
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await ask(CLIENTS[0], "/cut", "POST", data=b"text")
            with pytest.raises(aiohttp.ClientPayloadError):
                await ask(CLIENTS[0], "/broken")
            await ask(CLIENTS[0], "/503")
            assert lb.load(home).failed == before.failed + 4
            with pytest.raises(aiohttp.SocketTimeoutError):
                await ask(CLIENTS[0], "/hang", timeout=aiohttp.ClientTimeout(sock_read=0.2))
            assert lb.load(home).failed == before.failed + 5
            assert idle(lb)

            waiting = asyncio.create_task(ask(CLIENTS[0], "/hang"))
            while idle(lb):  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert lb.load(home).failed == before.failed + 5  # the client's own doing
            assert idle(lb)

            servers["web1"].stop()
            await asyncio.sleep(0.1)  # kept connections learn that they are closed
            moved = [name for name in CLIENTS if lb.pick(name).name == "web1"]
            for name in moved:
                walk = [host.name for host in lb.walk(name) if host.name != "web1"]
                assert (await ask(name, method="POST", data=b"text")).split()[0] == walk[0]

            async def parts() -> Any:
                yield b"text"

            with pytest.raises(aiohttp.ClientConnectorError):
                await ask(moved[0], method="POST", data=parts())  # a body that is read once
            assert idle(lb)

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"identity": 5}, {"retries": -1}, {"failure_statuses": (5,)}])
def test_aiohttp_options_that_do_not_fit(options: dict[str, Any]) -> None:
    pytest.importorskip("aiohttp")
    from hashring.integrations.aiohttp import StickyRequests

    with pytest.raises(ConfigError, match=next(iter(options))):
        StickyRequests(LoadBalancer(["127.0.0.1:1"]), **options)
