"""A request to an ASGI application that our own server runs, such as the admin listener."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from hashring.gateway.headers import RequestHead, ResponseHead

if TYPE_CHECKING:
    from hashring.gateway.asgi import Application, Message
    from hashring.gateway.http.client_connection import ClientConnection

_HIGH = 64 * 1024  # bytes of a request's body that wait for the application
_CRLF: Final = b"\r\n"

_log = logging.getLogger("hashring")


class AppService:
    """Makes a request of each head, for an application; ``stopping`` ends each connection."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.stopping = False

    def open_request(self, client: ClientConnection, head: RequestHead) -> AppRequest:
        """The request of ``head``."""
        return AppRequest(self, self._app, client, head)


class AppRequest:
    """One request in a task of its own, with ``receive`` and ``send`` of ASGI."""

    def __init__(
        self, service: AppService, app: Application, client: ClientConnection, head: RequestHead
    ) -> None:
        self._service, self._app, self._client, self._head = service, app, client, head
        self._chunks: list[bytes] = []
        self._size = 0
        self._complete = self._lost = self._over = self._given = self._begun = False
        self._full = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the application."""
        self._task = self._client.loop.create_task(self._run())

    def feed(self, chunk: bytes) -> None:
        """Some of the body has come."""
        if not self._over:
            self._chunks.append(chunk)
            self._size += len(chunk)
            if self._size > _HIGH:
                self._client.pause_body()
            self._changed.set()

    def end_body(self) -> None:
        """The body is complete."""
        self._complete = True
        self._changed.set()

    def lose_client(self) -> None:
        """The client has hung up, which the application receives."""
        self._lost = True
        self._changed.set()

    def pause_response(self) -> None:
        """The client reads more slowly than it is sent to."""
        self._full = True

    def resume_response(self) -> None:
        """The client has read what was sent."""
        self._full = False
        self._changed.set()

    # -- ASGI -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception:
            _log.exception("the application failed on %s", self._head.target.decode("latin-1"))
        if self._over or self._lost:
            return
        self._over = True
        if self._begun:
            self._client.cut(now=False)
        else:
            self._client.write_head(500, [], b"0", has_body=True, last=True)
            self._client.write_end([])

    def _scope(self) -> dict[str, Any]:
        head, client = self._head, self._client
        path, _, query = head.target.partition(b"?")
        from urllib.parse import unquote

        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method.decode("ascii"),
            "scheme": client.scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": client.address,
            "server": None,
        }

    async def _receive(self) -> Message:
        while not self._lost and not self._over:
            if self._chunks or (self._complete and not self._given):
                chunk = b"".join(self._chunks)
                self._chunks, self._size, self._given = [], 0, self._complete
                self._client.resume_body()
                return {"type": "http.request", "body": chunk, "more_body": not self._complete}
            self._changed.clear()
            await self._changed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        while self._full and not self._lost:
            self._changed.clear()
            await self._changed.wait()
        if self._lost or self._over:
            return
        client = self._client
        if message["type"] == "http.response.start":
            self._start(message)
            return
        chunk, more = message.get("body", b""), message.get("more_body", False)
        if chunk and self._head.method != b"HEAD":
            client.write_body(chunk)
        if more:
            client.flush()
        else:
            self._over = True
            client.write_end([])

    def _start(self, message: Message) -> None:
        head = ResponseHead()
        head.status = message["status"]
        for name, value in message.get("headers", ()):
            head.add(name, value)
        head.read_framing()
        self._begun = True
        has_body = head.status not in (204, 304) and self._head.method != b"HEAD"
        last = self._service.stopping or not self._complete
        self._client.write_head(head.status, head.fields, head.length, has_body=has_body, last=last)
