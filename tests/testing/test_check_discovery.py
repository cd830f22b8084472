"""Does ``check_discovery`` find what is wrong?  Each source here breaks one law."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hashring import DiscoveryError, Host
from hashring.discovery import Membership
from hashring.testing import check_discovery

pytestmark = pytest.mark.slow

WITHIN = 1.0  # seconds: what is wrong here never comes


class Memory:
    """A world in memory; ``kind`` is the source that looks at it."""

    names = tuple(f"web{number}" for number in range(10))
    can_change = can_stop = True

    def __init__(self, kind: type[Good]) -> None:
        self.kind = kind
        self.now: dict[str, Host] = {}
        self.past: list[Membership] = [Membership(())]
        self.up = True

    def source(self) -> Good:
        return self.kind(self)

    def hosts(self) -> list[Host]:
        return list(self.now.values())

    def put(self, name: str, number: int) -> None:
        self.now[name] = Host(name, address=f"10.0.0.{number}:80")
        self.changed()

    def remove(self, name: str) -> None:
        del self.now[name]
        self.changed()

    def changed(self) -> None:
        self.past.append(Membership(tuple(self.now.values()), revision=str(len(self.past))))

    def stop(self) -> None:
        self.up = False

    def start(self) -> None:
        self.up = True


class Good:
    """Tells every state once, in order."""

    def __init__(self, world: Memory) -> None:
        self.world = world

    async def watch(self) -> AsyncIterator[Membership]:
        at, told = len(self.world.past) - 1, None
        while True:
            news = self.world.past[at:]
            for membership in news:
                if not membership.same(told):
                    told = membership
                    yield membership
            at += len(news)
            while self.world.up and at == len(self.world.past):  # noqa: ASYNC110  # put() is in a thread
                await asyncio.sleep(0.001)
            if not self.world.up:
                raise DiscoveryError("down")

    def __str__(self) -> str:
        return type(self).__name__


class Partial(Good):
    """Leaves the first host out at first."""

    async def watch(self) -> AsyncIterator[Membership]:
        yield Membership(self.world.past[-1].hosts[1:])
        async for membership in super().watch():
            yield membership


class Deaf(Good):
    """Tells the first state only."""

    async def watch(self) -> AsyncIterator[Membership]:
        async for membership in super().watch():
            yield membership
            await asyncio.Event().wait()


class Stammering(Good):
    async def watch(self) -> AsyncIterator[Membership]:
        async for membership in super().watch():
            yield membership
            yield membership


class Backwards(Good):
    """Tells the state before once more."""

    async def watch(self) -> AsyncIterator[Membership]:
        before = None
        async for membership in super().watch():
            yield membership
            if before is not None and len(before.hosts) < len(membership.hosts):
                yield before
                yield membership
            before = membership


class Leaking(Good):
    """Starts a task that outlives it."""

    async def watch(self) -> AsyncIterator[Membership]:
        tasks.add(asyncio.ensure_future(asyncio.sleep(1000)))
        async for membership in super().watch():
            yield membership


class Stubborn(Good):
    """Loses the first cancellation."""

    async def watch(self) -> AsyncIterator[Membership]:
        async for membership in super().watch():
            yield membership
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                await asyncio.sleep(WITHIN * 2)


class Blind(Good):
    """Never sees that what it asks has died."""

    async def watch(self) -> AsyncIterator[Membership]:
        told = None
        while True:
            now = self.world.past[-1]
            if self.world.up and not now.same(told):
                told = now
                yield now
            await asyncio.sleep(0.001)


class Ending(Good):
    async def watch(self) -> AsyncIterator[Membership]:
        return
        yield


tasks: set[Any] = set()


def test_a_source_that_keeps_the_contract_passes() -> None:
    check_discovery(Memory(Good))


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Partial, "full_state_first"),
        (Ending, "full_state_first"),
        (Deaf, "no_lost_change"),
        (Stammering, "no_lost_change"),
        (Backwards, "order"),
        (Leaking, "cancel"),
        (Stubborn, "cancel"),
        (Blind, "recovery"),
    ],
)
def test_a_broken_law_is_named_with_the_source(kind: type[Good], law: str) -> None:
    with pytest.raises(AssertionError, match=f"{law} is broken by {kind.__name__}: "):
        check_discovery(Memory(kind), within=WITHIN)
