"""Two gateways with one secret: does anybody notice that one of them is started again?"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.serving import Serving, hosts, serving
from tests.gateway.sessions import Session, living, rounds

CLIENTS = 16
ROUNDS = 8

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")


def settings(folder: Path, addresses: list[str]) -> str:
    """A file that both gateways read; the hosts' names differ from their owners' order."""
    (folder / "secret").write_text("sixteen or more random bytes")
    file = folder / "h.toml"
    file.write_text(
        f"[pool]\nhosts = {addresses!r}\n"
        f'[tokens]\nsecret_file = "{(folder / "secret").as_posix()}"\n'
        "[gateway]\nlinger = 0.2\nshutdown_grace = 5\n"
    )
    return str(file)


async def restarted(file: str, old: Serving, number: signal.Signals, clients: list[Session]) -> int:
    """End ``old`` under load, let the other one carry it, start it again; its exit code."""
    address = old.address
    code = await asyncio.to_thread(old.end, number)
    await rounds(clients, ROUNDS)  # by the other one
    with serving(file, listen=address) as again:
        assert await asyncio.to_thread(lambda: again.address) == address
        await rounds(clients, ROUNDS, address)
        await asyncio.to_thread(again.end)
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_behind_a_second_gateway_loses_no_session(
    tmp_path: Path, number: signal.Signals
) -> None:
    with hosts("a", "b", "c") as addresses:
        file = settings(tmp_path, addresses)
        with serving(file) as one, serving(file) as two:
            clients = [Session((one.address, two.address)) for _ in range(CLIENTS)]

            async def main() -> int:
                async with living(clients):
                    await rounds(clients, ROUNDS, one.address)
                    await rounds(clients, ROUNDS, two.address)
                    return await restarted(file, two, number, clients)

            code = asyncio.run(main())
    assert code == (0 if number == signal.SIGTERM else -number)
    assert not [wrong for client in clients for wrong in client.wrong]
    assert not [client for client in clients if client.lost]
    assert all(len({visit.host for visit in client.visits}) == 1 for client in clients)
    assert len({client.visits[0].host for client in clients}) > 1
    assert sum(client.failovers for client in clients) >= CLIENTS  # it was noticed that it was away
