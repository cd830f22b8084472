"""Engines without a model: ``python -m benchmarks._fake_engines N PREFILL DECODE``.

Each listens on a port of its own and prints it. An engine computes one prompt at a time, with
``PREFILL`` tokens a second for what is not in its cache, sends the first token, and then decodes
``DECODE`` tokens a second beside the others. The cache holds the last 2,048 blocks of 512 tokens. A
prompt is ``<ID>`` and filler for each block and ``#TOKENS:OUTPUT`` at its end; the first token is
the text ``[ENGINE CACHED]``, which every router passes.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import OrderedDict

__all__ = ["BLOCK", "prompt"]

BLOCK = 512
_CACHE = 2048  # blocks, as hashring.analysis.model_host.Engine has them
_FILLER = "the words of this part of the prompt are the same in every turn that continues it; "
_SIZE = 128  # characters of a block: a quarter of a character a token costs routers little CPU
_PATHS = frozenset({b"/v1/chat/completions", b"/v1/completions"})
_IDS = re.compile(rb"<(\d+)>")
_END = re.compile(rb"#(\d+):(\d+)")
_MODELS = json.dumps({
    "object": "list", "data": [{"id": "m", "object": "model"}], "model_path": "m",
    "served_model_name": "m", "status": "ok",
}).encode()  # fmt: skip
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def prompt(blocks: tuple[int, ...], tokens: int, output: int) -> str:
    """The text of a prompt: two prompts that share their first blocks begin with the same text."""
    return "".join(f"<{block}>{_FILLER * 2}"[:_SIZE] for block in blocks) + f"#{tokens}:{output}"


class _Engine:
    def __init__(self, number: int, prefill: float, decode: float) -> None:
        self.number, self.prefill, self.decode = number, prefill, decode
        self.turn = asyncio.Lock()  # first come, first served
        self.cache: OrderedDict[bytes, None] = OrderedDict()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await _body(head, reader)
                if head.split(b" ", 2)[1] in _PATHS:
                    await self._answer(body, writer)
                elif head.startswith(b"GET "):
                    writer.write(_JSON % (len(_MODELS), _MODELS))
                elif head.split(b" ", 2)[1].endswith(b"/render"):
                    tokens = _rendered(body)
                    writer.write(_JSON % (len(tokens), tokens))
                else:
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (OSError, EOFError):
            writer.close()

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        found = _END.search(body)
        if found is None:  # a router's own probe
            found = _END.search(b"#1:1")
            assert found is not None
        tokens, output = int(found[1]), int(found[2])
        writer.write(_STREAM)
        async with self.turn:
            cached = min(self._use(_IDS.findall(body)) * BLOCK, tokens)
            await asyncio.sleep((tokens - cached) / self.prefill)
        writer.write(_event(f"[{self.number} {cached}]", None))
        await writer.drain()
        await asyncio.sleep(output / self.decode)
        writer.write(_event("", "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _use(self, blocks: list[bytes]) -> int:
        """How many of the first blocks are in the cache; all are afterwards."""
        missing = (at for at, block in enumerate(blocks) if block not in self.cache)
        found = next(missing, len(blocks))
        for block in blocks:
            self.cache[block] = None
            self.cache.move_to_end(block)
        while len(self.cache) > _CACHE:
            self.cache.popitem(last=False)
        return found


def _rendered(body: bytes) -> bytes:
    """The tokens of a prompt, which vllm-router asks for: 16 of each block, vLLM's block size."""
    ids = (int(block) * 16 + at for block in _IDS.findall(body) for at in range(16))
    return json.dumps({"request_id": "x", "model": "m", "token_ids": [*ids, 1]}).encode()


def _event(text: str, reason: str | None) -> bytes:
    delta = {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    made = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    data = b"data: %b\n\n" % json.dumps({**made, "choices": [choice]}).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    fields = head.lower()
    if b"\r\ntransfer-encoding: chunked" in fields:
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body
    _, found, rest = fields.partition(b"\r\ncontent-length:")
    return await reader.readexactly(int(rest.partition(b"\r\n")[0])) if found else b""


async def _main(count: int, prefill: float, decode: float) -> None:
    engines = [_Engine(number, prefill, decode) for number in range(count)]
    servers = [
        await asyncio.start_server(each.serve, "127.0.0.1", 0, limit=1 << 17) for each in engines
    ]
    for server in servers:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
