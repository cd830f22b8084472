"""systemd: readiness messages of ``Type=notify``, and sockets of socket activation."""

from __future__ import annotations

import os
import socket

_FIRST = 3  # the number of the first socket that is passed (sd_listen_fds(3))


def notify(message: str) -> bool:
    """Send ``message`` (``READY=1``) to the service manager; False where there is none.

    >>> notify("READY=1") if "NOTIFY_SOCKET" in os.environ else False
    False
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path  # @ is the abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), address)
    except OSError:  # the manager has gone: not a reason to stop serving
        return False
    return True


def passed_socket() -> socket.socket | None:
    """The listening socket that systemd passed; None without socket activation.

    The variables are removed, so that a child process does not take the socket too.
    """
    count, process = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    if count != "1" or process != str(os.getpid()):
        return None
    passed = socket.socket(fileno=_FIRST)
    passed.setblocking(False)
    passed.set_inheritable(False)
    return passed
