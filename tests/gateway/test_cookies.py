"""The cookie that keeps a client: its attributes, planted ones, and a browser's first requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hashring.config import ProblemsError, read
from tests.gateway.running import ask, get
from tests.gateway.session_hosts import PageHost, cookie_of, gateway_of, join, started

LAX = "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"


def hosts(number: int = 4) -> list[PageHost]:
    return [PageHost(f"web{each}") for each in range(number)]


@pytest.mark.parametrize(
    ("options", "name", "attributes"),
    [
        ({}, "hashring", LAX),
        ({"cookie_samesite": "Strict"}, "hashring", LAX.replace("Lax", "Strict")),
        ({"cookie_samesite": "None"}, "hashring", LAX.replace("Lax", "None; Secure")),
        ({"cookie_partitioned": True}, "hashring", f"{LAX}; Secure; Partitioned"),
        ({"cookie_max_age": 0}, "hashring", LAX.replace("Max-Age=2592000; ", "")),
        ({"cookie_path": "/app"}, "hashring", LAX.replace("/;", "/app;")),
        (
            {"cookie_domain": "example.com", "cookie_secure": True},
            "__Secure-hashring",
            LAX.replace("/;", "/; Domain=example.com;") + "; Secure",
        ),
        ({"cookie_secure": True}, "__Host-hashring", f"{LAX}; Secure"),
    ],
    ids=lambda value: next(iter(value), "default") if isinstance(value, dict) else "",
)
def test_attributes(options: dict[str, Any], name: str, attributes: str) -> None:
    given = {f"tokens.{key}": value for key, value in options.items()}

    async def main() -> None:
        async with started(hosts(1)) as pool, gateway_of(pool, given) as (front, _):
            first = await ask(front, get("/"))
            cookie, _, rest = (first.header(b"set-cookie") or b"").decode().partition("; ")
            assert cookie.partition("=")[0] == name
            assert rest == attributes
            again = await ask(front, get("/", f"Cookie: {cookie}"))
            assert again.header(b"set-cookie") is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "key", "what"),
    [
        ({"cookie_samesite": "none"}, "cookie_samesite", "did you mean 'None'?"),
        ({"cookie_samesite": "None", "cookie_secure": False}, "cookie_secure", "only if it is"),
        ({"cookie_partitioned": True, "cookie_secure": False}, "cookie_secure", "only if it is"),
        ({"cookie_path": "app"}, "cookie_path", "begins with /"),
        ({"cookie_path": "/a;b"}, "cookie_path", "begins with /"),
        ({"cookie_path": "/a\r\nb"}, "cookie_path", "begins with /"),
        ({"cookie_domain": "example.com:80"}, "cookie_domain", "without a port"),
        ({"cookie_domain": "com; Secure"}, "cookie_domain", "without a port"),
        ({"cookie_max_age": 60}, "cookie_max_age", "must be 0"),
        ({"cookie_hint": -1}, "cookie_hint", "seconds above 0"),
    ],
)
def test_what_no_browser_accepts(options: dict[str, Any], key: str, what: str) -> None:
    given = {f"tokens.{name}": value for name, value in options.items()}
    given["pool.hosts"] = ["127.0.0.1:9001"]
    with pytest.raises(ProblemsError, match=what) as caught:
        read(options=given, names=dict.fromkeys(given, "of a test"), environ={})
    assert [problem.key for problem in caught.value.problems] == [f"tokens.{key}"]


def test_planted_cookies_end_no_session() -> None:
    async def main() -> None:
        async with started(hosts()) as pool, gateway_of(pool) as (front, _):
            for cookie, home in await join(front, 10):
                planted = "; ".join(f"hashring=planted{number}" for number in range(20))
                response = await ask(front, get("/", f"Cookie: {planted}; {cookie}"))
                assert response.body == home
                assert response.header(b"set-cookie") is None

    asyncio.run(main())


def test_first_requests_of_a_browser_go_to_one_host() -> None:
    async def at_once(options: dict[str, Any], agent: str) -> tuple[set[bytes], set[str | None]]:
        async with started(hosts()) as pool, gateway_of(pool, options) as (front, _):
            browser = get("/", f"User-Agent: {agent}")
            responses = await asyncio.gather(*[ask(front, browser) for _ in range(20)])
            cookies = [cookie_of(response) for response in responses]
            homes = {response.body for response in responses}
            for cookie in cookies[:5]:  # whichever the browser keeps, it stays there
                assert (await ask(front, get("/", f"Cookie: {cookie}"))).body in homes
            other = [await ask(front, get("/", f"User-Agent: {n}")) for n in range(20)]
            assert len({response.body for response in other}) > 1
            return homes, set(cookies)

    async def main() -> None:
        homes, cookies = await at_once({"tokens.cookie_hint": 60}, "Mozilla/5.0")
        assert len(homes) == 1
        assert len(cookies) == 20  # clients of their own, as several browsers behind one address
        homes, _ = await at_once({}, "Mozilla/5.0")
        assert len(homes) > 1  # it is off by default

    asyncio.run(main())
