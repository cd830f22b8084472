"""A gateway, or a host, as a process: ``python -m benchmarks._gateway_child KIND ADDRESS ...``."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens, cookie, first_of, header
from hashring.gateway import AccessLog, Gateway, Limits, Timeouts
from hashring.gateway.asgi import Receive, Scope, Send
from hashring.gateway.http.client import HostClient
from hashring.gateway.server import _server
from hashring.health import HealthMonitor

__all__ = ["bare", "full", "host"]

_HOP = (b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"te", b"expect")


class _Bare(Gateway):
    """What a pass-through cannot do without: stream both ways to one host, on the same client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        headers = [
            (name.decode(), value.decode()) for name, value in scope["headers"] if name not in _HOP
        ]
        sized = any(name == b"content-length" for name, _ in scope["headers"])

        async def body() -> Any:
            more = True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                yield message.get("body", b"")

        target = scope["raw_path"].decode()
        host = self.lb.hosts[0].address
        content = body() if sized else None
        answer = await self.upstream.request(host, scope["method"], target, headers, content)
        kept = [(n.lower(), v) for n, v in answer.headers if n.lower() not in _HOP]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        while True:
            chunk = await answer.read()
            ended = answer.ended
            await send({"type": "http.response.body", "body": chunk, "more_body": not ended})
            if ended:
                break


def bare(addresses: list[str]) -> Gateway:
    """The least that is a gateway."""
    return _Bare(LoadBalancer(addresses), upstream=HostClient(Timeouts(), Limits()))


def full(addresses: list[str]) -> Gateway:
    """All features on."""
    lb = LoadBalancer(addresses)
    return Gateway(
        lb,
        identity=first_of(header("x-user"), cookie("sid")),
        tokens=TokenAffinity(lb, Tokens(b"sixteen or more random bytes")),
        health=HealthMonitor(lb),
        access_log=AccessLog("text", open(os.devnull, "w", encoding="utf-8").write),  # noqa: PTH123  # until it ends
    )


async def host(size: int) -> None:
    """A host: ``GET /N`` is answered by N bytes, any other body is swallowed."""
    block = bytes(64 * 1024)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                left = _length(head)
                while left:
                    left -= len(await reader.read(min(left, len(block))))
                wanted = head.split(b" ", 2)[1].strip(b"/")
                give = int(wanted) if wanted.isdigit() else size
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % give)
                while give:
                    part = block[: min(give, len(block))]
                    writer.write(part)
                    await writer.drain()
                    give -= len(part)
        except (OSError, EOFError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 17)
    _tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _tell(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


async def _serve(gateway: Gateway) -> None:
    import socket

    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = _server(gateway, gateway, 1.0, lifespan="on")
    _tell(sock.getsockname()[1])
    await server._serve([sock])


def main() -> None:
    """Run what is asked for until it is killed."""
    kind, *addresses = sys.argv[1:]
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if kind == "host":
            runner.run(host(13))
        else:
            runner.run(_serve({"bare": bare, "full": full}[kind](addresses)))


if __name__ == "__main__":
    main()
