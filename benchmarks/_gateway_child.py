"""A gateway, or a host, as a process: ``python -m benchmarks._gateway_child KIND ADDRESS ...``."""

from __future__ import annotations

import asyncio
import os
import sys

from hashring import LoadBalancer
from hashring.affinity import TokenAffinity, Tokens, cookie, first_of, header
from hashring.gateway import AccessLog, Gateway, serve
from hashring.health import HealthMonitor

__all__ = ["bare", "full", "host"]


def bare(addresses: list[str]) -> Gateway:
    """The gateway without any feature that can be switched off."""
    return Gateway(LoadBalancer(addresses))


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
    def tell(listen: str, _: str | None) -> None:
        _tell(int(listen.rpartition(":")[2]))

    await serve(gateway, listen="127.0.0.1:0", linger=0, grace=1.0, started=tell)


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
