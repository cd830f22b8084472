"""Hosts come, drain and go while streams are open: does one miss a word?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens
from hashring.gateway import Gateway
from tests.gateway.hosts import head_of, scripted
from tests.gateway.running import LIMIT, get, hang_up, opened, served
from tests.gateway.test_websocket import talker

STREAMS = 12
SECRET = b"sixteen or more random bytes"


async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A host that counts aloud, for as long as it is listened to."""
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    for number in range(1_000_000):
        event = b"data: %d\n\n" % number
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(0.01)


class Listener:
    """A client of ``events``; ``heard`` is the number that must come next."""

    def __init__(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = connection
        self.heard = 0

    async def listen(self) -> None:
        while True:
            chunk = await self.reader.readuntil(b"\n\n\r\n")
            assert chunk.split(b"\r\n", 1)[1] == b"data: %d\n\n\r\n" % self.heard
            self.heard += 1


async def resized(lb: LoadBalancer, others: list[str], wait: Callable[[], object]) -> None:
    """Two hosts come, one of the first two drains to its end and goes, the other goes at once."""
    first, second = [host.name for host in lb.hosts]
    changes: list[Callable[[], object]] = [
        *(lambda name=name: lb.register(name) for name in others),
        lambda: lb.drain(first, deadline=0),
        lambda: lb.unregister(first),
        lambda: lb.unregister(second),
    ]
    for change in changes:
        change()
        await wait()  # type: ignore[misc]  # a coroutine
    assert [host.name for host in lb.hosts] == others


def test_event_streams_miss_nothing_while_hosts_drain() -> None:
    async def main() -> None:
        async with (
            scripted(events) as a,
            scripted(events) as b,
            scripted(events) as c,
            scripted(events) as d,
        ):
            lb = LoadBalancer([a, b])
            gateway = Gateway(lb, tokens=TokenAffinity(lb, Tokens(SECRET)))
            async with served(gateway) as front, asyncio.timeout(LIMIT):
                listeners = [Listener(await opened(front)) for _ in range(STREAMS)]
                for listener in listeners:
                    listener.writer.write(get("/events", "Accept: text/event-stream"))
                    assert b" 200 " in await listener.reader.readuntil(b"\r\n\r\n")
                assert all(lb.load(host).in_flight for host in (a, b))
                tasks = [asyncio.create_task(listener.listen()) for listener in listeners]

                async def heard() -> None:
                    goals = [(listener, listener.heard + 10) for listener in listeners]
                    while any(listener.heard < goal for listener, goal in goals):
                        assert not any(task.done() for task in tasks), tasks
                        await asyncio.sleep(0.01)

                await resized(lb, [c, d], heard)
                for task, listener in zip(tasks, listeners, strict=True):
                    task.cancel()
                    await hang_up(listener.writer)

    asyncio.run(main())


def test_websockets_go_on_while_their_hosts_drain_and_go() -> None:
    async def main() -> None:
        async with talker() as a, talker() as b, talker() as c, talker() as d:
            lb = LoadBalancer([a.address, b.address])
            gateway = Gateway(lb, tokens=TokenAffinity(lb, Tokens(SECRET)))
            async with served(gateway) as front, asyncio.timeout(LIMIT):
                sockets = [await connect(f"ws://{front}/") for _ in range(STREAMS)]

                async def talk(socket: ClientConnection, number: int) -> None:
                    for turn in range(20):
                        await socket.send(f"{number} {turn}")
                        assert await socket.recv() == f"{number} {turn}"

                async def talked() -> None:
                    await asyncio.gather(*(talk(ws, n) for n, ws in enumerate(sockets)))

                await talked()
                before = {host.address: len(host.paths) for host in (a, b)}
                assert sum(before.values()) == STREAMS
                assert all(before.values())
                await resized(lb, [c.address, d.address], talked)
                assert {host.address: len(host.paths) for host in (a, b)} == before  # none again
                assert not c.paths + d.paths
                await asyncio.gather(*(socket.close(3000, "enough") for socket in sockets))
                codes = [await host.closes.get() for host in (a, b) for _ in host.paths]
                assert codes == [(3000, "enough")] * STREAMS

    asyncio.run(main())
