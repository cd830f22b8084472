"""A gateway over three engines that stream: what waits on each, and why the first body byte counts.

Each engine computes one prompt at a time, as an LLM server does, and sends the head of its response
before it computes. In the second run it also sends a comment line before it computes: the response
has then begun although nothing is computed, and the gateway cannot see what waits.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import mean

SETTINGS = """
[gateway]
listen = "127.0.0.1:0"
access_log = "off"
admin = "127.0.0.1:0"
[health]
probe = "none"
[placement]
new_clients = "least-outstanding"
[placement.cost]
from = "json:tokens"
[pool]
hosts = {hosts}
"""
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Engine:
    """Computes prompts one after the other: 1 ms for 20 tokens, then one line of answer."""

    def __init__(self, early: bytes) -> None:
        self.early, self.turn, self.name = early, asyncio.Lock(), ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                tokens = json.loads(await reader.readexactly(length))["tokens"]
                writer.write(HEAD + self.early)
                async with self.turn:
                    await asyncio.sleep(tokens / 20_000)
                line = b"token of %s\n" % self.name.encode()
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(line), line))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()


class Client:
    """One conversation of three turns, with the cookie that the gateway gives it."""

    def __init__(self, address: str, tokens: int, start: float) -> None:
        self.address, self.tokens, self.start = address, tokens, start
        self.hosts: list[str] = []
        self.waits: list[float] = []

    async def live(self) -> None:
        """Send the turns, and note which host answered each and after how long."""
        await asyncio.sleep(self.start)
        host, _, port = self.address.partition(":")
        cookie = b""
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            body = json.dumps({"tokens": self.tokens}).encode()
            began = asyncio.get_running_loop().time()
            writer.write(
                b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%bContent-Length: %d\r\n\r\n%b"
                % (cookie, len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"set-cookie: "):
                    cookie = b"Cookie: %b\r\n" % line[12:].partition(b";")[0]
            while not (line := await reader.readline()).startswith(b"token of "):
                assert line, "the response ended early"
            self.waits.append(asyncio.get_running_loop().time() - began)
            self.hosts.append(line.split()[-1].decode())
            await reader.read()
            writer.close()
            await asyncio.sleep(0.05)


async def waiting(admin: str) -> list[float]:
    """The outstanding work of each host, as the gateway reports it."""
    host, _, port = admin.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/hosts HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return [host["outstanding"] for host in json.loads(answer)["hosts"]]


async def run(early: bytes) -> tuple[list[Client], list[float]]:
    """Sixty conversations, a few of them with a long prompt, through one gateway."""
    engines = [Engine(early) for _ in range(3)]
    servers = [await asyncio.start_server(engine, "127.0.0.1", 0) for engine in engines]
    for engine, server in zip(engines, servers, strict=True):
        engine.name = "{}:{}".format(*server.sockets[0].getsockname())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hashring.toml"
        file.write_text(SETTINGS.format(hosts=json.dumps([engine.name for engine in engines])))
        command = [sys.executable, "-m", "hashring", "serve", str(file)]
        gateway = await asyncio.to_thread(
            subprocess.Popen, command, stderr=subprocess.PIPE, text=True
        )
        try:
            places = {}
            assert gateway.stderr is not None
            while {"gateway", "admin"} - places.keys():
                words = (await asyncio.to_thread(gateway.stderr.readline)).split()
                assert words, "the gateway ended"
                for word in words:
                    if word.startswith("http://127.0.0.1:"):
                        kind = "admin" if "admin" in words else "gateway"
                        places[kind] = word.removeprefix("http://").rstrip(",;/")
            chance = random.Random(1)
            sizes = [4000 if number % 10 == 0 else 400 for number in range(60)]
            clients = [Client(places["gateway"], size, chance.random()) for size in sizes]
            tasks = [asyncio.create_task(client.live()) for client in clients]
            most = [0.0] * 3
            while not all(task.done() for task in tasks):
                now = sorted(await waiting(places["admin"]), reverse=True)
                most = [max(pair) for pair in zip(most, now, strict=True)]
                await asyncio.sleep(0.05)
            await asyncio.gather(*tasks)
        finally:
            gateway.terminate()
            gateway.communicate()
            for server in servers:
                server.close()
    return clients, most


def main() -> None:
    """Run it with the first byte of the body as the start, and with one that comes too early."""
    for name, early in (("first byte computed", b""), ("first byte early", b"2\r\n:\n\r\n")):
        clients, most = asyncio.run(run(early))
        waits = sorted(wait for client in clients for wait in client.waits)
        moves = sum(len(set(client.hosts)) - 1 for client in clients)
        homes = sorted(Counter(client.hosts[0] for client in clients).values())
        p90 = waits[len(waits) * 9 // 10]
        print(
            f"{name:<19} {len(waits)} requests, {moves} moved; first token mean "
            f"{mean(waits):.2f} s, p90 {p90:.2f} s; most outstanding on the fullest host "
            f"{most[0]:.1f}; sessions {homes}"
        )


if __name__ == "__main__":
    main()
