"""The server: the listeners of the gateway and of its operators, and a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from hashring.config.settings import Limits, Settings, Timeouts
from hashring.errors import ConfigError, requires_extra
from hashring.gateway.admin import Admin
from hashring.gateway.app import Gateway
from hashring.gateway.operator_marks import DeferredActions, OperatorMarks
from hashring.gateway.systemd import notify, passed_socket
from hashring.net import join_address, parse_address
from hashring.tls import ListenerTls
from hashring.validators import LOOPBACK_ADDRESS

_LINGER = 1.0
"""Seconds in which requests are served but it reports not ready: two checks of a balancer."""

_GRACE = 30.0
"""Seconds for requests in flight at the end: as long as Kubernetes waits before it kills."""

_BACKLOG = 2048

_log = logging.getLogger("hashring")


def run(
    gateway: Gateway,
    *,
    listen: str = "127.0.0.1:8080",
    admin: str | None = None,
    admin_token: bytes | None = None,
    admin_public: Collection[str] = (),
    linger: float = _LINGER,
    grace: float = _GRACE,
    reload: Callable[[], object] | None = None,
    started: Callable[[str, str | None], object] | None = None,
    state_file: str | None = None,
    tls: ListenerTls | None = None,
    front: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return; see ``serve``. Runs uvloop where it is.

    Raises ``ConfigError`` for a bad address or a missing library, ``OSError`` for one that is
    taken.
    """
    _require_library()
    main = serve(
        gateway,
        listen=listen,
        admin=admin,
        admin_token=admin_token,
        admin_public=admin_public,
        linger=linger,
        grace=grace,
        reload=reload,
        started=started,
        state_file=state_file,
        tls=tls,
        front=front,
    )
    run_loop(main)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:  # it is not made for every system
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


async def serve(
    gateway: Gateway,
    *,
    listen: str = "127.0.0.1:8080",
    admin: str | None = None,
    admin_token: bytes | None = None,
    admin_public: Collection[str] = (),
    linger: float = _LINGER,
    grace: float = _GRACE,
    reload: Callable[[], object] | None = None,
    started: Callable[[str, str | None], object] | None = None,
    opened: Callable[[], object] | None = None,
    state_file: str | None = None,
    tls: ListenerTls | None = None,
    stop: asyncio.Event | None = None,
    front: socket.socket | None = None,
    back: socket.socket | None = None,
    retire: asyncio.Event | None = None,
) -> None:
    """Serve ``gateway`` on ``listen``, and the admin listener on ``admin``.

    ``front`` and ``back`` are listening sockets to use instead of the two addresses. ``retire``,
    set before ``stop``, means that another process accepts on the same socket: this one accepts no
    more at once. ``opened`` is called when the hosts are known, before the first request.

    Without ``admin_token`` the admin listener must be on loopback. ``admin_public`` are the pages
    that need no token. ``state_file`` keeps what operators do to hosts over a restart. With ``tls``
    clients connect by TLS, and a reload reads its files again.

    Addresses are ``host:port``; port 0 takes a free one, and ``started(listen, admin)`` is
    called with both. After SIGTERM, SIGINT or ``stop``, requests are served for ``linger`` seconds
    while it reports not ready, each as the last of its connection; then both listeners close, and
    requests in flight, streams and WebSockets have ``grace`` seconds. A second signal ends the
    waiting. SIGHUP calls ``reload``, SIGUSR1 opens the file of the access log again. Raises as
    ``run``.
    """
    _require_library()
    from hashring.gateway.http.app_request import AppService
    from hashring.gateway.http.listener import HttpListener

    if reload is not None:
        _ignore_hangup()
    front = front or passed_socket() or open_socket(listen)
    back = back or _open_admin(admin, admin_token, front)
    ending, hurry = stop or asyncio.Event(), asyncio.Event()
    _on_signals(ending, hurry, reload, gateway.reopen_log)
    clients = HttpListener(gateway, front, gateway.limits, gateway.timeouts)
    listeners = [clients]
    operators: HttpListener | None = None
    marks = None if state_file is None else OperatorMarks(state_file)
    if back is not None:
        app = Admin(gateway, token=admin_token, public=admin_public, marks=marks)
        operators = HttpListener(AppService(app), back, Limits(), Timeouts())
        listeners.append(operators)
    try:
        await gateway.open()
        _begin(gateway, opened, marks)
        await clients.start(tls=None if tls is None else _context(tls, gateway))
        if operators is not None:
            await operators.start()
        notify("READY=1")
        if started is not None:
            started(shown_address(front), None if back is None else shown_address(back))
        await ending.wait()
        gateway.stop()
        notify("STOPPING=1")
        _log.info("stopping: not ready from now on, %d in flight", gateway.in_flight)
        if retire is not None and retire.is_set():
            clients.stop_accepting()
        await _wait(hurry, linger)
        if operators is not None:  # first, so that a successor finds its port free
            operators.stop_accepting()
        clients.stop_accepting()
        if operators is not None:
            await operators.finish(0.0, hurry)
        await clients.finish(grace, hurry)
    finally:
        for listener in listeners:
            listener.stop_accepting()
            await listener.finish(0.0, hurry)
        await gateway.aclose()


def _begin(
    gateway: Gateway, opened: Callable[[], object] | None, marks: OperatorMarks | None
) -> None:
    """The hosts are known: set what operators had set."""
    if opened is not None:
        opened()
    if marks is not None:
        DeferredActions(gateway, marks.actions()).begin()


def _context(tls: ListenerTls, gateway: Gateway) -> ssl.SSLContext:
    """The context of the listener; each reload of the settings refreshes its certificate."""
    context = tls.context()

    def refresh(_: Settings) -> None:
        try:
            tls.refresh(context)
        except ConfigError as error:
            _log.error("the certificate stays as it was: %s", error)

    gateway.settings_read.subscribe(refresh)
    return context


def _open_admin(
    admin: str | None, token: bytes | None, front: socket.socket
) -> socket.socket | None:
    try:
        return None if admin is None else open_admin(admin, token)
    except BaseException:
        front.close()
        raise


async def _wait(hurry: asyncio.Event, seconds: float) -> None:
    if seconds:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), seconds)


def _ignore_hangup() -> None:
    """From here on SIGHUP does not end the process, although no reload is possible yet."""
    # a system may lack the signal, and only the main thread may set it
    with contextlib.suppress(AttributeError, ValueError):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _on_signals(
    ending: asyncio.Event,
    hurry: asyncio.Event,
    reload: Callable[[], object] | None,
    reopen_log: Callable[[], object],
) -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        if ending.is_set():  # the second signal
            hurry.set()
        ending.set()

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        if reload is not None:
            loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGUSR1, reopen_log)
    except (NotImplementedError, RuntimeError, ValueError):
        pass  # not the main thread, or a system without them: ``stop`` is the way then


def open_socket(
    address: str, *, reuse_port: bool = False, mode: int | None = None
) -> socket.socket:
    """A socket that is bound to ``address``; its connections queue until it is served.

    With ``reuse_port`` others of this user may listen on it at the same time. ``mode`` are the
    permissions of a Unix socket. Raises ``OSError``.
    """
    if address.startswith("unix:"):
        return open_unix_socket(address.removeprefix("unix:"), mode)
    name, port = parse_address(address, any_port=True, option="listen")
    try:
        return socket.create_server(
            (name, port),
            family=socket.AF_INET6 if ":" in name else socket.AF_INET,
            backlog=_BACKLOG,
            reuse_port=reuse_port,
        )
    except OSError as error:
        raise type(error)(error.errno, f"cannot listen on {address}: {error.strerror}") from None


def open_unix_socket(path: str, mode: int | None = None) -> socket.socket:
    """A Unix socket at ``path``; one that no process listens on any more is replaced.

    ``mode`` are its permissions; None leaves what the process gives. Raises ``OSError``.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116  # a str is what bind() takes
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(path):
                    os.unlink(path)  # noqa: PTH108  # as above
    except FileNotFoundError:
        pass
    try:
        sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)  # noqa: PTH101  # as above; before a client can connect
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise type(error)(error.errno, f"cannot listen on {path}: {error.strerror}") from None
    return sock


def open_admin(address: str, token: bytes | None) -> socket.socket:
    """The socket of the admin listener, which without a token only this machine may reach.

    A Unix socket is for this user only. Raises ``ConfigError`` and ``OSError``.
    """
    if token is None:
        LOOPBACK_ADDRESS(address, "admin")
    return open_socket(address, mode=0o600)


def shown_address(sock: socket.socket) -> str:
    """The address of a listening socket, as people write it."""
    found = sock.getsockname()
    if isinstance(found, str):
        return f"unix:{found}"
    return join_address(found[0], found[1])


def _require_library() -> None:
    with requires_extra("gateway", "gateways"):
        import httptools  # noqa: F401  # asked for here, so that the error names the extra
