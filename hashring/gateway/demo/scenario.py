"""The scenario of the demo: changes of the pool, and what they cost in sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hashring import placement
from hashring.balancer import LoadBalancer
from hashring.gateway.demo.clients import DemoClients
from hashring.gateway.demo.hosts import Backends

FIRST = ("web1", "web2", "web3", "web4")
_COMER, _DRAINED, _KILLED = "web5", "web2", "web3"

_ROUNDS = 4
"""Responses that each client gets after an event: one from a new host, one with the new token, and
two that would show a lost session."""

_LEAST = 2.0  # seconds between two events, for people to see what happened


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """The sessions after one event.

    ``minimum`` are those whose state was gone, wherever they went; ``modulo`` those that a router
    by ``hash % n`` would have sent to another host.
    """

    event: str
    sessions: int
    broken: int
    minimum: int
    modulo: int

    @property
    def kept(self) -> int:
        """Sessions that went on.

        >>> EventOutcome("web5 joins", 200, 0, 0, 160).kept
        200
        """
        return self.sessions - self.broken


class DemoScenario:
    """A host joins, one drains, one is killed and comes back, while clients send requests.

    ``tell`` gets a line for each event, before it happens and when it is over. ``outcomes`` grows;
    ``now`` is what is going on.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        backends: Backends,
        clients: DemoClients,
        tell: Callable[[str], object],
    ) -> None:
        self.lb, self.backends, self.clients = lb, backends, clients
        self.outcomes: list[EventOutcome] = []
        self.now = ""
        self._tell = tell
        self._naive = list(FIRST)  # the hosts as a router knows them that can only count them

    async def run(self) -> list[EventOutcome]:
        """All of it, in about 15 seconds."""
        size = len(self.clients.members)
        self._announce(f"{size} clients begin their sessions on {len(FIRST)} hosts")
        await self.clients.rounds(2)
        await self._event(f"{_COMER} joins", self._join, [*FIRST, _COMER])
        await self._event(f"{_DRAINED} drains", self._drain, _but(_DRAINED))
        await self._event(f"{_KILLED} is killed", self._kill, _but(_DRAINED, _KILLED))
        await self._event(f"{_KILLED} is back", self._back, _but(_DRAINED))
        self._announce("that was all")
        return self.outcomes

    @property
    def as_good_as_possible(self) -> bool:
        """Whether no session broke that need not, and no request failed."""
        lost = any(outcome.broken > outcome.minimum for outcome in self.outcomes)
        return not lost and not self.clients.failures

    # -- the events: each answers how many sessions cannot be kept --------------------------------

    async def _join(self) -> int:
        self.lb.register(await self.backends.start(_COMER))
        return 0

    async def _drain(self) -> int:
        self.lb.drain(_DRAINED)
        return 0

    async def _kill(self) -> int:
        at_stake = self.clients.sessions[_KILLED]
        self.backends.kill(_KILLED)
        await self._until("down")
        return at_stake

    async def _back(self) -> int:
        await self.backends.start(_KILLED)
        await self._until("up")
        return 0

    async def _until(self, state: str) -> None:
        while self.lb.state(_KILLED) != state:  # noqa: ASYNC110  # a thread may change it
            await asyncio.sleep(0.05)

    # -- what came of them ------------------------------------------------------------------------

    async def _event(
        self, name: str, happen: Callable[[], Awaitable[int]], naive: list[str]
    ) -> None:
        self._announce(name)
        before = self.clients.broken
        moved = self._moved_by_modulo(naive)
        minimum = await happen()
        await self.clients.rounds(_ROUNDS, _LEAST)
        broken = self.clients.broken - before
        outcome = EventOutcome(name, len(self.clients.members), broken, minimum, moved)
        self.outcomes.append(outcome)
        self._tell(
            f"  {outcome.kept} sessions kept, {broken} broken, the least possible is {minimum}"
        )

    def _moved_by_modulo(self, naive: list[str]) -> int:
        old = placement.create("modulo", self._naive)
        new = placement.create("modulo", naive)
        self._naive = naive
        sids = [client.sid for client in self.clients.members]
        return sum(old.lookup(sid) != new.lookup(sid) for sid in sids)

    def _announce(self, what: str) -> None:
        self.now = what
        self._tell(what)


def _but(*gone: str) -> list[str]:
    return [name for name in (*FIRST, _COMER) if name not in gone]
