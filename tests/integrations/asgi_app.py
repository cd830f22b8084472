"""The applications that `test_asgi.py` runs under uvicorn: sessions in the memory of a process."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import socketio

from hashring.affinity import cookie, first_of, query
from hashring.integrations.asgi import StickyMiddleware, Workers

Message = MutableMapping[str, Any]

_visits: Counter[str | None] = Counter()


async def sessions(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Counts the visits of each client in this process; echoes WebSocket frames."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text = f"{os.getpid()} {scope['hashring'].client_id} {message['text']}"
            await send({"type": "websocket.send", "text": text})
    else:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        client = scope["hashring"].client_id
        _visits[client] += 1
        answer = {"pid": os.getpid(), "visits": _visits[client], "size": size}
        headers = [(b"content-type", b"application/json"), (b"x-odd", b"\xff\xfe")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


if directory := os.environ.get("ASGI_TEST_DIRECTORY"):
    app = StickyMiddleware(sessions, Workers(f"{directory}/app"))

    workers = Workers(f"{directory}/chat")
    sio = socketio.AsyncServer(async_mode="asgi", logger=False, engineio_logger=False)
    sio.eio.generate_id = workers.new_id

    @sio.on("echo")  # type: ignore[untyped-decorator]  # the library has no types
    async def echo(_sid: str, text: str) -> str:
        await asyncio.sleep(0)
        return f"{os.getpid()} {text}"

    chat = StickyMiddleware(
        socketio.ASGIApp(sio), workers, identity=first_of(query("sid"), cookie("io"))
    )
