"""A host as a process of its own: ``python -m tests.gateway.backend NAME FILE [PORT]``.

It tells its port on its first line of output, and appends each request's number to ``FILE`` when
it has carried it out, before it answers.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.gateway.hosts import head_of, length_of


async def main(name: str, path: Path, port: int) -> None:
    with path.open("ab", buffering=0) as done:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    head = await head_of(reader)
                    await reader.readexactly(length_of(head))
                    await asyncio.sleep(0.003)  # so that some are in flight when it is killed
                    number = head.split(b" ", 2)[1].strip(b"/")
                    done.write(number + b"\n")
                    body = name.encode()
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
                    )
                    await writer.drain()
            except (EOFError, OSError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port)
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
