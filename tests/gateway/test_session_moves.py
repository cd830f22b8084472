"""What may move a session: an unreachable host, and nothing that a visitor can cause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hashring.gateway import Gateway
from tests.gateway.running import ask, get
from tests.gateway.session_hosts import (
    LIMIT,
    PageHost,
    cookie_of,
    count_moved,
    gateway_of,
    join,
    started,
)

SESSIONS = 30


def hosts(number: int = 3) -> list[PageHost]:
    return [PageHost(f"web{each}") for each in range(number)]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110  # the pool has no event for it
            await asyncio.sleep(0.01)


async def fail_often(front: str, cookie: str, page: str) -> None:
    for _ in range(6):  # a reset of a kept connection, the first one here, does not count
        await ask(front, get(page, f"Cookie: {cookie}", "Content-Length: 0", method="POST"))


@pytest.mark.parametrize("page", ["/503", "/cut"])
def test_pages_that_go_wrong_eject_no_host(page: str) -> None:
    async def main() -> None:
        async with started(hosts()) as pool, gateway_of(pool) as (front, gateway):
            sessions = await join(front, SESSIONS)
            for _ in range(12):
                await ask(front, get(page, f"Cookie: {sessions[0][0]}"))
            assert await count_moved(front, sessions) == 0
            assert gateway.health is not None
            assert gateway.health.stats["ejections"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("page", ["/hang", "/reset", "/503"])
def test_an_ejected_host_keeps_clients_and_takes_no_new(page: str) -> None:
    async def main() -> None:
        listed = {"health.outliers.statuses": [503]}
        async with started(hosts()) as pool, gateway_of(pool, listed) as (front, gateway):
            sessions = await join(front, SESSIONS)
            await fail_often(front, sessions[0][0], page)
            await until(lambda: gateway.lb.snapshot.away)
            assert gateway.lb.snapshot.away == {sessions[0][1].decode()}
            assert await count_moved(front, sessions) == 0
            assert sessions[0][1] not in {host for _, host in await join(front, SESSIONS)}

    asyncio.run(main())


async def stop_home(pool: list[PageHost], front: str, gateway: Gateway) -> tuple[str, PageHost]:
    """The cookie of a client whose host has stopped and is ejected, and that host."""
    ((cookie, home),) = await join(front, 1)
    host = next(each for each in pool if each.name.encode() == home)
    host.stop()
    for _ in range(5):
        await ask(front, get("/", f"Cookie: {cookie}"))
    await until(lambda: gateway.lb.state(host.name) == "down")
    return cookie, host


SHORT = {"health.outliers.base": 0.2, "health.outliers.cap": 0.2}


def test_a_moved_client_stays_after_the_return_of_its_host() -> None:
    async def main() -> None:
        async with started(hosts()) as pool, gateway_of(pool, SHORT) as (front, gateway):
            cookie, host = await stop_home(pool, front, gateway)
            moved = await ask(front, get("/", f"Cookie: {cookie}"))
            await host.start()
            await until(lambda: gateway.lb.state(host.name) == "up")
            again = await ask(front, get("/", f"Cookie: {cookie_of(moved)}"))
            assert moved.body == again.body != host.name.encode()

    asyncio.run(main())


def test_a_lent_client_goes_home_after_the_return() -> None:
    async def main() -> None:
        options = {**SHORT, "pool.return_home": True}
        async with started(hosts()) as pool, gateway_of(pool, options) as (front, gateway):
            cookie, host = await stop_home(pool, front, gateway)
            lent = await ask(front, get("/", f"Cookie: {cookie}"))
            assert (lent.status, cookie_of(lent)) == (200, None)
            await host.start()
            await until(lambda: gateway.lb.state(host.name) == "up")
            assert (await ask(front, get("/", f"Cookie: {cookie}"))).body == host.name.encode()

    asyncio.run(main())


def test_a_refused_client_gets_503_until_its_host_is_back() -> None:
    async def main() -> None:
        options = {**SHORT, "pool.on_unavailable": "refuse"}
        async with started(hosts()) as pool, gateway_of(pool, options) as (front, gateway):
            cookie, host = await stop_home(pool, front, gateway)
            refused = await ask(front, get("/", f"Cookie: {cookie}"))
            assert (refused.status, refused.header(b"retry-after")) == (503, b"1")
            assert (await ask(front, get("/"))).status == 200
            await host.start()
            await until(lambda: gateway.lb.state(host.name) == "up")
            assert (await ask(front, get("/", f"Cookie: {cookie}"))).body == host.name.encode()

    asyncio.run(main())
