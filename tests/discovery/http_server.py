"""A small HTTP/1.1 server in threads that a test can kill: its connections go with it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers import Server

LOOK = 0.02  # seconds between two looks whether a client that is kept waiting still waits


def left(connection: socket.socket) -> bool:
    """Whether the client has closed its end: a server that blocks notices, as real ones do."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


class Killable(Server):
    """``start`` and ``stop`` as often as wanted, on one port of 127.0.0.1.

    ``handler`` is a class of the server's own; ``changed`` is held by whoever reads or writes what
    it serves, and ``alive`` is False while it is stopped.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.changed = threading.Condition()
        self.alive = False
        self._handler = handler
        self._server: ThreadingHTTPServer | None = None
        self._sockets: set[socket.socket] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.endpoint = f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on."""
        owner, sockets = self, self._sockets

        class Handler(self._handler):  # type: ignore[name-defined,misc]  # a class by its value
            protocol_version = "HTTP/1.1"
            world = owner

            def setup(self) -> None:
                sockets.add(self.request)
                super().setup()

            def finish(self) -> None:
                sockets.discard(self.request)
                with contextlib.suppress(OSError):  # killed with it
                    super().finish()

            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):  # the client or we went away
                    super().handle()

            def log_message(self, format: str, *args: object) -> None: ...

        self.alive = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """As ``kill -9``: every connection breaks."""
        if self._server is None:
            return
        with self.changed:
            self.alive = False
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for each in tuple(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
