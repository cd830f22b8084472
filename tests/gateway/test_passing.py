"""What arrives at a host, and what comes back?  Byte for byte, but for what must not."""

from __future__ import annotations

import asyncio
import json

import pytest

from hashring import LoadBalancer
from hashring.affinity import (
    TokenAffinity,
    Tokens,
    TrustedProxies,
    cookie,
    header,
    json_field,
)
from hashring.gateway import AccessLog, Gateway, Limits
from tests.gateway.hosts import OK, answering, refused_address, scripted
from tests.gateway.recorder import recorder
from tests.gateway.running import ask, gateway_to, get, hang_up, opened, response, served


def fields(head: bytes) -> dict[bytes, bytes]:
    lines = head[:-4].split(b"\r\n")[1:]
    pairs = [(name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)]
    assert len(dict(pairs)) == len(pairs), f"a field came twice: {head!r}"
    return dict(pairs)


async def seen(request: bytes, **options: object) -> bytes:
    """The head of ``request`` as it came to the host."""
    async with recorder() as host, served(gateway_to(host.address, **options)) as front:
        assert (await ask(front, request)).status == 200
        (head, _), *more = host.requests
        assert not more
        return head


@pytest.mark.parametrize(
    "target",
    [
        "/a/../b//c",
        "/%2e%2e/%2E%2e",
        "//evil/x",
        "/a?",
        "/?",
        "/a?b=c&d=%20+%zz?",
        "/%00%ff",
        "/a;b/|",
    ],
)
def test_a_target_arrives_as_it_was_sent(target: str) -> None:
    head = asyncio.run(seen(get(target)))
    assert head.split(b" ")[1] == target.encode()


def test_header_values_arrive_as_they_were_sent() -> None:
    value = 'ä€ \t ü;,"=%20'
    head = asyncio.run(seen(get("/", f"X-Odd: {value}", "Accept-Encoding: br")))
    assert fields(head)[b"x-odd"] == value.encode()
    assert fields(head)[b"accept-encoding"] == b"br"
    assert b"user-agent" not in fields(head)


def test_hop_by_hop_headers_stay_here() -> None:
    lines = ("Connection: X-Hop, cookie, host", "X-Hop: 1", "TE: trailers", "Keep-Alive: 5",
             "Proxy-Authorization: x", "Cookie: a=1", "Authorization: me")  # fmt: skip
    found = fields(asyncio.run(seen(get("/", *lines))))
    assert not {b"connection", b"x-hop", b"te", b"keep-alive", b"proxy-authorization"} & set(found)
    assert (found[b"cookie"], found[b"authorization"], found[b"host"]) == (b"a=1", b"me", b"test")


def test_a_stranger_is_not_accepted() -> None:
    lies = ("X-Forwarded-For: 8.8.8.8", "Forwarded: for=8.8.8.8", "X_Forwarded_For: 8.8.8.8",
            "X-Real-IP: 8.8.8.8", "X-Forwarded-Evil: 8.8.8.8", "X-Request-ID: 8.8.8.8")  # fmt: skip
    head = asyncio.run(seen(get("/", *lies)))
    assert b"8.8.8.8" not in head
    found = fields(head)
    assert found[b"x-forwarded-for"] == b"127.0.0.1"
    assert found[b"forwarded"] == b'for=127.0.0.1;host="test";proto=http'


def test_a_trusted_proxy_is_continued() -> None:
    said = ("X-Forwarded-For: 8.8.8.8", "X-Forwarded-Proto: https", "X-Request-ID: r-1")
    found = fields(asyncio.run(seen(get("/", *said), trusted=TrustedProxies(["127.0.0.1"]))))
    assert found[b"x-forwarded-for"] == b"8.8.8.8, 127.0.0.1"
    assert (found[b"x-forwarded-proto"], found[b"x-request-id"]) == (b"https", b"r-1")
    assert b"forwarded" not in found


def test_the_host_header_may_be_the_hosts_own() -> None:
    head = asyncio.run(seen(get("/"), keep_host=False))
    assert fields(head)[b"host"].startswith(b"127.0.0.1:")
    assert fields(head)[b"x-forwarded-host"] == b"test"


def test_an_anonymous_client_gets_a_token_that_no_host_sees() -> None:
    async def main() -> None:
        async with recorder() as one, recorder() as two:
            lb = LoadBalancer([one.address, two.address], new_clients="fallback")
            tokens = TokenAffinity(lb, Tokens(b"sixteen or more random bytes"))
            async with served(Gateway(lb, tokens=tokens)) as front:
                first = await ask(front, get("/", "Cookie: a=1"))
                said = first.header(b"set-cookie") or b""
                token = said.split(b";")[0].decode()
                assert token.startswith("hashring=")
                for _ in range(4):
                    again = await ask(front, get("/", f"Cookie: a=1; {token}; b=2"))
                    assert again.header(b"set-cookie") is None
                counts = sorted(len(host.requests) for host in (one, two))
                assert counts == [0, 5]
                raw = b"".join(bytes(part) for host in (one, two) for part in host.raw)
                assert b"hashring" not in raw
                assert raw.count(b"cookie: a=1; b=2\r\n") == 4

    asyncio.run(main())


def test_a_client_id_goes_to_one_host_by_header_cookie_or_body() -> None:
    async def main() -> None:
        async with recorder() as one, recorder() as two:
            lb = LoadBalancer([one.address, two.address])
            from hashring.affinity import first_of

            who = first_of(header("x-user"), cookie("sid"), json_field("user"))
            async with served(Gateway(lb, identity=who)) as front:
                body = json.dumps({"user": "ann"})
                post = get("/", f"Content-Length: {len(body)}", method="POST") + body.encode()
                for request in (get("/", "X-User: ann"), get("/", "Cookie: sid=ann"), post):
                    assert (await ask(front, request)).status == 200
            assert sorted(len(host.requests) for host in (one, two)) == [0, 3]
            (found,) = [host for host in (one, two) if host.requests]
            assert found.address == lb.pick("ann").name
            assert found.requests[-1][1] == body.encode()

    asyncio.run(main())


def test_answers_lose_what_is_of_one_connection() -> None:
    said = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: own\r\nDate: then\r\nX-Hop: 1\r\n"
            b"Connection: keep-alive, x-hop\r\nKeep-Alive: 5\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: b=2\r\nX-Odd: \xc3\xa4\xff\r\n\r\nok")  # fmt: skip

    async def main() -> None:
        async with scripted(answering(said)) as host, served(gateway_to(host)) as front:
            found = await ask(front, get("/"))
        names = [name for name, _ in found.headers]
        assert names.count(b"set-cookie") == 2
        assert (names.count(b"server"), names.count(b"date")) == (1, 1)
        assert not {b"connection", b"keep-alive", b"x-hop"} & set(names)
        assert found.header(b"x-odd") == b"\xc3\xa4\xff"
        assert found.body == b"ok"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "said", "status"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 200),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", 304),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200),
        ("GET", b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n", 302),
    ],
)
def test_answers_with_and_without_a_body(method: str, said: bytes, status: int) -> None:
    async def main() -> None:
        async with scripted(answering(said)) as host, served(gateway_to(host)) as front:
            reader, writer = await opened(front)
            for _ in range(3):  # on one connection, which must stay in step
                writer.write(get("/", method=method))
                found = await response(reader, head=method == "HEAD")
                assert found.status == status
            await hang_up(writer)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("accept", "kind"), [("application/json", b"application/json"), ("text/html", b"text/plain")]
)
def test_a_problem_names_what_to_do(accept: str, kind: bytes) -> None:
    async def main() -> None:
        async with served(gateway_to(refused_address())) as front:
            found = await ask(front, get("/", f"Accept: {accept}"))
        assert found.status == 502
        assert (found.header(b"content-type") or b"").startswith(kind)
        assert b"ry again" in found.body
        assert (found.header(b"x-request-id") or b"-") in found.body

    asyncio.run(main())


def test_no_host_is_a_503() -> None:
    async def main() -> None:
        gateway = gateway_to("127.0.0.1:1")
        gateway.lb.mark_down("127.0.0.1:1", "reboot")
        async with served(gateway) as front:
            found = await ask(front, get("/"))
        assert (found.status, found.header(b"retry-after")) == (503, b"1")
        assert json.loads(found.body)["error"]["code"] == "no_host"
        assert b"reboot" not in found.body

    asyncio.run(main())


def test_a_body_over_the_limit_is_refused() -> None:
    async def main() -> None:
        async with recorder() as host:
            async with served(gateway_to(host.address, limits=Limits(body=10))) as front:
                told = await ask(front, get("/", "Content-Length: 11", method="POST") + b"x" * 11)
                chunks = b"6\r\nxxxxxx\r\n" * 2 + b"0\r\n\r\n"
                head = get("/", "Transfer-Encoding: chunked", method="POST")
                untold = await ask(front, head + chunks)
                assert (await ask(front, get("/ok"))).status == 200
            assert (told.status, untold.status) == (413, 413)
            assert [head.split(b" ")[1] for head, _ in host.requests] == [b"/ok"]

    asyncio.run(main())


def test_the_access_log_has_no_client_id() -> None:
    lines: list[str] = []

    async def main() -> None:
        async with recorder() as host:
            gateway = gateway_to(
                host.address, identity=header("x-user"), access_log=AccessLog("json", lines.append)
            )
            async with served(gateway) as front:
                for user in ("ann", "ann", "bob"):
                    await ask(front, get("/x?y", f"X-User: {user}"))

    asyncio.run(main())
    said = [json.loads(line) for line in lines]
    assert [(e["status"], e["target"], e["tries"], e["out"]) for e in said] == [
        (200, "/x?y", 1, 4)
    ] * 3
    assert said[0]["client"] == said[1]["client"] != said[2]["client"]
    assert "ann" not in "".join(lines)


def test_a_host_cannot_set_the_cookie_that_keeps_the_client() -> None:
    async def main() -> None:
        said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        for each in (b"hashring=evil", b" hashring = evil; Path=/", b"=hashring=evil", b"a=1"):
            said += b"Set-Cookie: " + each + b"\r\n"
        async with scripted(answering(said + b"\r\nok")) as host:
            lb = LoadBalancer([host])
            tokens = TokenAffinity(lb, Tokens(b"sixteen or more random bytes"))
            async with served(Gateway(lb, tokens=tokens)) as front:
                first = await ask(front, get("/"))
                own, token = [value for name, value in first.headers if name == b"set-cookie"]
                assert own == b"a=1"
                sent = token.split(b";")[0].decode()
                again = await ask(front, get("/", f"Cookie: {sent}"))
                set_again = [value for name, value in again.headers if name == b"set-cookie"]
                assert set_again == [b"a=1"]

    asyncio.run(main())
