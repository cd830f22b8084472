"""Small HTTP servers in threads of this process, for the tests of clients."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOOPBACK = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    """Answers its server's name; some paths go wrong."""

    protocol_version = "HTTP/1.1"
    server: NamedServer

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        self.server.requests[f"{self.command} {self.path}"] += 1
        if self.path == "/cut" and self.server.cuts:
            self.close_connection = True  # without a response
            return
        if self.path == "/hang":
            self.server.released.wait(30)
        status = 503 if self.path == "/503" else 200
        text = b"%b %b %b" % (self.server.name.encode(), self.headers["Host"].encode(), body)
        self.send_response(status)
        if self.path == "/broken":  # the response ends early
            self.send_header("Content-Length", str(len(text) + 100))
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing: the test prints what it needs."""


class NamedServer(ThreadingHTTPServer):
    """Counts its requests by method and path. ``cuts``: ``/cut`` ends without a response."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.name = name
        self.cuts = True
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        self.accepted: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.server_address[1]}"

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self.accepted.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients of these tests hang up."""

    def stop(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self.released.set()
        self.shutdown()
        self.server_close()
        for each in self.accepted:
            with _gone():
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def _gone() -> Iterator[None]:
    """A connection that has ended already."""
    try:
        yield
    except OSError:
        return


@contextmanager
def named_servers(number: int) -> Iterator[dict[str, NamedServer]]:
    servers = {f"web{each}": NamedServer(f"web{each}") for each in range(number)}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.stop()
