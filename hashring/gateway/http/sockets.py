"""Options of sockets."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Any, NamedTuple


class _Field(NamedTuple):
    start: int
    size: int


_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_ACKED = _Field(120, 8)  # tcpi_bytes_acked in struct tcp_info of linux/tcp.h, from Linux 4.1


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


def acked_bytes(sock: Any) -> int | None:
    """How many bytes the peer's system has acknowledged; None where that cannot be known."""
    if sock is None or _TCP_INFO is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.start + _ACKED.size)
    except (OSError, ValueError):  # closed already
        return None
    if len(info) < _ACKED.start + _ACKED.size:
        return None
    return int.from_bytes(info[_ACKED.start :], sys.byteorder)
