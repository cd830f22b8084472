"""Every host fails: how much more than the clients ask does the gateway ask?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from hashring import LoadBalancer
from hashring.gateway import Gateway, Limits, Timeouts
from hashring.health import HealthMonitor, OutlierRules, ProbeRules
from tests.gateway.hosts import Script, head_of, scripted
from tests.gateway.running import get, hang_up, opened, response, served

HOSTS = 4
CLIENTS = 20
REQUESTS = 100  # of each client: so many that the first second's retries are a small part
SHARE, RATE = Limits().retry_share, Limits().retry_rate


def failing(manner: str, asked: Counter[str]) -> Script:
    """A host that counts each request in ``asked`` and fails it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            asked[manner] += 1
            if manner == "closes":
                return
            if manner == "says nothing":
                await asyncio.sleep(60)
            writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    return script


async def client(front: str, number: int, statuses: Counter[int]) -> None:
    for _ in range(number):
        reader, writer = await opened(front)
        writer.write(get("/"))
        statuses[(await response(reader)).status] += 1
        await hang_up(writer)


@pytest.mark.parametrize(
    ("manner", "status", "requests"),
    # who says nothing costs a time-out a try, so fewer requests make the same seconds
    [("closes", 502, REQUESTS), ("says 503", 503, REQUESTS), ("says nothing", 504, 10)],
)
@pytest.mark.parametrize("watched", [False, True])
def test_hosts_that_all_fail_get_few_extra_requests(
    manner: str, status: int, requests: int, watched: bool
) -> None:
    asked: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    async def main() -> float:
        stack = contextlib.AsyncExitStack()
        script = failing(manner, asked)
        lb = LoadBalancer([await stack.enter_async_context(scripted(script)) for _ in range(HOSTS)])
        # no probes of its own in so short a time: only the clients' requests are counted
        monitor = HealthMonitor(lb, rules=ProbeRules(interval=60), outliers=OutlierRules(share=1.0))
        # a busy machine may not look like a silent host
        times = Timeouts(connect=5, first_byte=0.1 if manner == "says nothing" else 5)
        gateway = Gateway(lb, health=monitor if watched else None, timeouts=times)
        began = time.monotonic()
        async with stack, served(gateway) as front:
            await asyncio.gather(*(client(front, requests, statuses) for _ in range(CLIENTS)))
            seconds = time.monotonic() - began
            # where all others are ejected, a retry is counted that asks nobody
            told = CLIENTS * requests + gateway.stats["retries"]
            assert asked.total() <= told if watched else asked.total() == told
        return seconds

    seconds = asyncio.run(main())
    clients = CLIENTS * requests
    assert statuses == {status: clients}
    # a second's worth of retries is there at the start
    assert asked.total() <= (1 + SHARE) * clients + RATE * (seconds + 1)
    if manner != "says 503":  # an answer is passed on, and no reason for another try
        assert asked.total() > clients
