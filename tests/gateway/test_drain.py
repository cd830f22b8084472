"""A host drains under load: who stays on it, until when, and who never comes to it?"""

from __future__ import annotations

import asyncio
import time

from hashring import Host, LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.gateway import Gateway
from tests.cli.serving import hosts
from tests.gateway.running import served
from tests.gateway.sessions import Session, living, rounds

NAMES = ("a", "b", "c")
CLIENTS = 18
DEADLINE = 1.5  # seconds from the drain's beginning


async def under_load(lb: LoadBalancer) -> tuple[list[Session], list[Session], float, float]:
    """Who was there before host ``a`` drained, who came later, when it began, when it was over."""
    gateway = Gateway(lb, tokens=TokenAffinity(lb, Tokens(b"sixteen or more random bytes")))
    async with served(gateway) as front:
        known = [Session((front,)) for _ in range(CLIENTS)]
        new = [Session((front,)) for _ in range(CLIENTS)]
        async with living(known):
            await rounds(known, 5)
            began = time.monotonic()
            assert lb.drain("a", deadline=DEADLINE).keeps_sessions
            async with living(new[: CLIENTS // 2]):
                await rounds(known, 5)
                await asyncio.sleep(began + DEADLINE - time.monotonic())
                passed = time.monotonic()
                async with living(new[CLIENTS // 2 :]):
                    await rounds([*known, *new], 5)
    return known, new, began, passed


def test_known_clients_stay_until_the_deadline() -> None:
    with hosts(*NAMES) as addresses:
        lb = LoadBalancer(
            [Host(name, address=at) for name, at in zip(NAMES, addresses, strict=True)]
        )
        known, new, began, passed = asyncio.run(under_load(lb))
    assert not [wrong for client in (*known, *new) for wrong in client.wrong]
    there = [client for client in known if client.visits[0].host == "a"]
    assert 0 < len(there) < CLIENTS
    for client in known:
        homes = {visit.host for visit in client.visits if visit.ended < began + DEADLINE}
        assert homes == {client.visits[0].host}
    for client in there:
        assert any(began < visit.began and visit.host == "a" for visit in client.visits)
        later = {visit.host for visit in client.visits if visit.began > passed}
        assert len(later) == 1  # moved once, and stayed
        assert later < {"b", "c"}
    for client in (*new, *known):
        if client not in there:
            assert len({visit.host for visit in client.visits}) == 1
            assert client.visits[0].host != "a"
            assert not client.lost
