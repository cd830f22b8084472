"""Options of sockets."""

from __future__ import annotations

import contextlib
import socket
from typing import Any


def set_no_delay(transport: Any) -> None:
    """Send small writes immediately: a response in two writes would else wait 40 ms."""
    sock = transport.get_extra_info("socket")
    # asyncio does so only for sockets that were made with the number of TCP
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # closed already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def set_keep_alive(transport: Any) -> None:
    """Let the system notice a peer that has vanished."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
