"""How does a law of discovery see the world?  It changes it in threads, and waits with a limit."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, Protocol

from hashring.discovery import Membership, Source
from hashring.hosts import Host

_LOOK = 0.005  # seconds between two looks at what is waited for
_DESCRIPTORS = Path("/proc/self/fd")  # Linux; elsewhere sockets are not counted


class World(Protocol):
    """What a source looks at, in the hands of a test. Its methods may block."""

    @property
    def names(self) -> Sequence[str]:
        """Ten names or more that its hosts can have."""

    @property
    def can_change(self) -> bool:
        """Whether ``put`` and ``remove`` may be called; laws that need them are left out if not."""

    @property
    def can_stop(self) -> bool:
        """Whether ``stop`` and ``start`` may be called."""

    def source(self) -> Source:
        """A new source that looks at this world."""

    def hosts(self) -> Sequence[Host]:
        """The hosts now, as the source must return them; any order."""

    def put(self, name: str, number: int) -> None:
        """``name`` is in, at an address of this ``number``, where names and addresses differ."""

    def remove(self, name: str) -> None:
        """``name`` is out."""

    def stop(self) -> None:
        """What serves the source dies, as by ``kill -9``; what it knew stays."""

    def start(self) -> None:
        """It is back."""


class Trial:
    """One law's view of the world: it changes it in threads, and waits with a limit."""

    def __init__(self, world: World, law: str, within: float) -> None:
        self.world, self._law, self.within = world, law, within

    def fail(self, so: str) -> NoReturn:
        """The law is broken."""
        raise AssertionError(f"{self._law} is broken by {self.world.source()}: {so}")

    async def do(self, change: Callable[..., None], *args: Any) -> None:
        """Change the world."""
        await asyncio.to_thread(change, *args)

    async def reset(self, count: int) -> None:
        """Let exactly the first ``count`` names be in."""
        wanted = list(self.world.names[:count])
        for host in self.world.hosts():
            if host.name not in wanted:
                await self.do(self.world.remove, host.name)
        for name in wanted:
            await self.do(self.world.put, name, 1)

    def differs(self, hosts: Sequence[Host]) -> str | None:
        """How ``hosts`` are not those of the world now; None if they are."""
        returned, real = describe_hosts(hosts), describe_hosts(self.world.hosts())
        return None if returned == real else f"it returns {returned}, and there are {real}"

    async def next(self, memberships: AsyncIterator[Membership]) -> Membership:
        """The next membership."""
        try:
            async with asyncio.timeout(self.within):
                return await anext(memberships)
        except TimeoutError:
            self.fail(f"nothing came within {self.within:g} s")
        except StopAsyncIteration:
            self.fail("watch() ended by itself")

    async def until(self, done: Callable[[], bool], what: Callable[[], object]) -> None:
        """Wait until ``done``; if that never is, say ``what`` is instead."""
        try:
            async with asyncio.timeout(self.within):
                while not done():  # noqa: ASYNC110  # a condition without an event
                    await asyncio.sleep(_LOOK)
        except TimeoutError:
            self.fail(f"{what()}, after {self.within:g} s")

    async def settles(self, memberships: AsyncIterator[Membership]) -> list[Membership]:
        """All memberships until one is as the world is; no two in a row may be the same."""
        told: list[Membership] = []
        try:
            async with asyncio.timeout(self.within):
                while not told or self.differs(told[-1].hosts):
                    told.append(await anext(memberships))
        except TimeoutError:
            seen = self.differs(told[-1].hosts) if told else "nothing came"
            self.fail(f"{seen}, after {self.within:g} s")
        for before, after in itertools.pairwise(told):
            if after.same(before):
                self.fail(f"the same membership came twice in a row: {after}")
        return told


def describe_hosts(hosts: Sequence[Host]) -> list[str]:
    return sorted(repr(host) for host in hosts)


@asynccontextmanager
async def watching(source: Source) -> AsyncIterator[AsyncIterator[Membership]]:
    memberships: Any = source.watch()  # a generator, or it has nothing to close
    if hasattr(memberships, "aclose"):
        async with aclosing(memberships):
            yield memberships
    else:
        yield memberships


async def settle() -> None:
    gc.collect()
    for _ in range(3):  # a transport closes its socket in the round after
        await asyncio.sleep(0)


def descriptors() -> int:
    return sum(1 for _ in _DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else 0
