"""Does what makes a request cheap leave it as it was?"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import Tokens
from hashring.affinity._cookies import cookie_values
from hashring.errors import InvalidKeyError
from hashring.gateway.headers import without_cookie
from hashring.gateway.timer_wheel import TimerWheel

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
