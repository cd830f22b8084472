from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from tests.gateway.corpus import Case, corpus
from tests.gateway.hosts import OK, head_of, scripted
from tests.gateway.recorder import Recorder, recorder
from tests.gateway.running import (
    LIMIT,
    Response,
    ask,
    gateway_to,
    get,
    hang_up,
    opened,
    response,
    served,
)

HOSTILE = "hostile requests (victims: next clients answered right)"
OUTCOMES = ("refused", "forwarded", "victims")
PATIENCE = 0.3  # seconds for a request that is not whole: nobody answers it


async def send(address: str, request: bytes) -> Response | None:
    """What is said to ``request``; None if the connection ends, or waits for more."""
    reader, writer = await opened(address)
    try:
        writer.write(request)
        with contextlib.suppress(EOFError, OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                return await response(reader)
        return None
    finally:
        await hang_up(writer)


async def attack(
    front: str, host: Recorder, case: Case, number: int, counts: Counter[tuple[str, str]]
) -> str | None:
    """Why ``case`` did harm; None if it did none. What became of it is added to ``counts``."""
    before = len(host.requests)
    said = await send(front, case.request)
    forwarded = host.requests[before:]
    counts[case.kind, "forwarded" if forwarded else "refused"] += 1
    if said is not None and said.status == 200 and not forwarded:
        return "answered, and nobody asked"
    if case.refused is True and forwarded:
        return f"forwarded as {forwarded!r}"
    if case.refused is False and (len(forwarded) != 1 or said is None or said.status != 200):
        return f"not forwarded: {said!r}"
    if len(forwarded) > 1:
        return f"forwarded as {len(forwarded)} requests"
    if said is not None and case.refused is True and not 400 <= said.status < 600:
        return f"refused by {said.status}"
    # the next client, through the same pool
    at = len(host.requests)
    victim = await ask(front, get(f"/victim-{number}"))
    if victim.status != 200 or victim.body != f"/victim-{number}".encode():
        return f"the victim got {victim!r}"
    if [head.split(b" ")[1] for head, _ in host.requests[at:]] != [f"/victim-{number}".encode()]:
        return f"the victim's request came as {host.requests[at:]!r}"
    counts[case.kind, "victims"] += 1
    return None


def test_a_hostile_request_is_refused_or_forwarded_as_one(
    report_line: Callable[[str, str], None],
) -> None:
    counts: Counter[tuple[str, str]] = Counter()

    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as front:
            harms = []
            for number, case in enumerate(corpus()):
                why = await attack(front, host, case, number, counts)
                if why is not None:
                    harms.append(f"{case.kind}: {case.request[:200]!r}: {why}")
            assert not harms, "\n".join(harms)
            assert not host.odd

    asyncio.run(main())
    kinds = Counter(case.kind for case in corpus())
    report_line(
        HOSTILE, f"{'class':<22}{'requests':>9}" + "".join(f"{word:>11}" for word in OUTCOMES)
    )
    for kind, count in [*kinds.items(), ("all", kinds.total())]:
        found = [sum(n for (k, w), n in counts.items() if w == word and kind in (k, "all"))
                 for word in OUTCOMES]  # fmt: skip
        report_line(HOSTILE, f"{kind:<22}{count:>9}" + "".join(f"{number:>11}" for number in found))


def test_the_corpus_has_every_class() -> None:
    kinds = Counter(case.kind for case in corpus())
    assert sum(kinds.values()) >= 150
    assert len(kinds) >= 20


def test_an_upgrade_does_not_overtake_an_answer() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            await asyncio.sleep(0.1)
            writer.write(OK)

    async def main() -> None:
        upgrade = get(
            "/ws",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        async with scripted(slow) as host, served(gateway_to(host)) as front:
            for between in (0.0, 0.05):
                reader, writer = await opened(front)
                writer.write(get("/first"))
                await asyncio.sleep(between)
                writer.write(upgrade)
                async with asyncio.timeout(LIMIT):
                    first, second = await response(reader), await response(reader)
                    assert (first.status, first.body, second.status) == (200, b"ok", 400)
                    assert await reader.read() == b""
                await hang_up(writer)

    asyncio.run(main())


def test_a_client_of_http_1_0_is_reported_no_interim_answer() -> None:
    async def main() -> None:
        lines = ("Host: test", "Expect: 100-continue", "Content-Length: 2", "", "ok")
        async with recorder() as host, served(gateway_to(host.address)) as front:
            for version, status in (("1.0", 200), ("1.1", 100)):
                request = "\r\n".join((f"POST /up HTTP/{version}", *lines)).encode()
                assert (await ask(front, request)).status == status
            assert host.requests[0][1] == b"ok"

    asyncio.run(main())


def test_a_request_without_host_gets_no_empty_host_header() -> None:
    async def main() -> None:
        async with recorder() as host, served(gateway_to(host.address)) as front:
            assert (await ask(front, b"GET / HTTP/1.0\r\n\r\n")).status == 200
            head = host.requests[0][0].lower()
            assert b"x-forwarded-host" not in head
            assert b"forwarded: for=127.0.0.1;proto=http\r\n" in head

    asyncio.run(main())
