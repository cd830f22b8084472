"""A host that writes down what it did: ``python -m benchmarks._fault_host NAME FILE MANNER PORT``.

It prints its port. Each request's number goes into ``FILE`` when it has been carried out, before
the answer. With the manner ``fail`` it closes the connection then; with ``serve`` it says its name.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

_WORK = 0.02  # seconds a request takes, so that some are in flight when a host is killed


async def main(name: str, path: Path, manner: str, port: int) -> None:
    """Serve until it is killed."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name.encode())
    with path.open("ab", buffering=0) as done:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    number = await _request(reader)
                    if number.isdigit():  # no probe
                        await asyncio.sleep(_WORK)
                        done.write(number + b"\n")
                        if manner == "fail":
                            break
                    writer.write(answer)
                    await writer.drain()
            except (OSError, EOFError):
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Read one request whole; what its target says behind the slash."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, rest = head.lower().partition(b"content-length:")
    if found:
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    return head.split(b" ", 2)[1].strip(b"/")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
