"""Does what makes a request cheap leave it as it was?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens, first_of, header
from hashring.affinity._cookies import cookie_values
from hashring.errors import InvalidKeyError
from hashring.gateway import Limits, Timeouts
from hashring.gateway.generation import Generation
from hashring.gateway.headers import RequestHead, ResponseHead, without_cookie
from hashring.gateway.http.client_connection import ClientConnection
from hashring.gateway.http.host_connection import HostConnection
from hashring.gateway.request_identity import plain_id
from hashring.gateway.timer_wheel import TimerWheel
from hashring.testing import FakeClock


class QuietListener:
    """A listener or pool for a connection that is not opened."""

    loop: Any = None
    limits, timeouts = Limits(), Timeouts()


_PIECES = st.lists(st.sampled_from(["sid", "=", ";", " ", "\t", '"', "x", "xsid", "a=1"]))


def _plainly(header: str, name: str) -> list[str]:
    """What ``cookie_values`` means, part by part."""
    parts = [part.partition("=") for part in header.split(";")]
    values = [value.strip(" \t") for found, sign, value in parts if sign and _bare(found) == name]
    return [value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
            for value in values]  # fmt: skip


def _bare(text: str) -> str:
    return text.strip(" \t")


@given(_PIECES)
def test_one_search_finds_the_cookies_that_splitting_finds(pieces: list[str]) -> None:
    header = "".join(pieces)
    assert cookie_values(header, "sid") == _plainly(header, "sid")


@given(_PIECES)
def test_no_cookie_of_that_name_is_left_and_no_other_is_lost(pieces: list[str]) -> None:
    header = "".join(pieces)
    kept = without_cookie(header.encode(), b"sid").decode()
    assert not any(_bare(part.partition("=")[0]) == "sid" for part in kept.split(";"))
    others = [_bare(part) for part in header.split(";") if _bare(part.partition("=")[0]) != "sid"]
    assert [one for one in map(_bare, kept.split(";")) if one] == [one for one in others if one]


def test_a_remembered_hash_is_that_of_the_same_id_only() -> None:
    tokens = Tokens(b"sixteen or more random bytes")
    assert tokens.clients("1") == tokens.clients("1") == tokens.clients(1) == tokens.clients(b"1")
    assert tokens.clients("x" * 1000) == tokens.clients(b"x" * 1000) != tokens.clients("x")
    with pytest.raises(InvalidKeyError):
        tokens.clients(True)


def test_a_remembered_visit_gets_its_new_token_in_time() -> None:
    clock = FakeClock(1_000_000)
    lb = LoadBalancer(["a"])
    tokens = Tokens(b"sixteen or more random bytes", max_age=100, clock=clock)
    affinity = TokenAffinity(lb, tokens)
    sent = (affinity.decide().set_cookie or "").partition(";")[0]
    for _ in range(2):  # read, and then remembered
        visit = affinity.visit(sent)
        assert visit.is_settled
        assert affinity.set_cookie(visit, "a") is None
    clock.advance(51)
    assert not affinity.visit(sent).is_settled
    assert affinity.decide(sent).set_cookie is not None
    clock.advance(50)
    assert affinity.visit(sent).token is None
    slow = Tokens(b"sixteen or more random bytes", max_age=100, clock=FakeClock(1_000_000 - 51))
    assert TokenAffinity(lb, slow).decide(sent).set_cookie is not None  # issued in its future


def test_the_timer_ends_with_the_last_member_and_starts_again() -> None:
    class Member:
        due = 0.0

        def __init__(self) -> None:
            self.seen = asyncio.Event()

        def check(self, now: float) -> None:
            self.seen.set()

    wheel = TimerWheel(1.0, None)

    async def one() -> None:
        member = Member()
        wheel.join(member, asyncio.get_running_loop())
        async with asyncio.timeout(30):
            await member.seen.wait()
        wheel.leave(member)

    async def both() -> None:
        await one()
        while wheel._timer is not None:  # noqa: ASYNC110  # a round without members has no signal
            await asyncio.sleep(0.01)
        await asyncio.gather(one(), one())

    asyncio.run(both())
    asyncio.run(one())  # and in another loop


@given(st.lists(st.tuples(st.sampled_from([b"x-user", b"x-other"]), st.binary(max_size=300))))
def test_an_id_is_read_from_the_head_as_its_source_reads_it(
    headers: list[tuple[bytes, bytes]],
) -> None:
    who = first_of(header("x-user"), header("x-other"))
    gateway = Generation(LoadBalancer(["a"]), identity=who)
    head = RequestHead()
    for pair in headers:
        head.add(*pair)
    assert gateway.plain_header is not None
    found = plain_id(head, gateway.plain_header)
    assert found in (None, who({"asgi": None, "headers": headers}))


@given(st.lists(st.sampled_from([b"Host", b"cookie", b"X-A", b"x_forwarded_for", b"Upgrade"])))
def test_a_connection_takes_headers_as_a_head_does(names: list[bytes]) -> None:
    apart, connection = RequestHead(), ClientConnection(QuietListener())  # type: ignore[arg-type]  # a listener that is not asked
    for name in names:
        apart.add(name, b"v")
        connection.on_header(name, b"v")
    assert vars(connection._head) == vars(apart)
    response, host = ResponseHead(), HostConnection(QuietListener())  # type: ignore[arg-type]  # a pool that is not asked
    host._in_head = True
    for name in names:
        response.add(name, b"v")
        host.on_header(name, b"v")
    assert vars(host._head) == vars(response)
