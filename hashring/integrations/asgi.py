"""Sticky sessions inside an ASGI application, across hosts or across the workers of one machine.

``StickyMiddleware`` finds the client ID of each request, looks up the owner, and puts both into
``scope["hashring"]``. ``on_other`` decides what happens to a request that belongs elsewhere.

``Workers`` is affinity between the processes of ``uvicorn --workers 4``, gunicorn, hypercorn or
granian: each process claims a slot in a directory, listens on a Unix socket there, and a request
or WebSocket that reaches the wrong process is forwarded to its owner. No proxy is needed in front
of Socket.IO or of any other application that keeps sessions in memory::

    workers = Workers("/run/app", count=4)
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.eio.generate_id = workers.new_id  # an ID that belongs to the process it is made in
    app = StickyMiddleware(
        socketio.ASGIApp(sio), workers, identity=first_of(query("sid"), cookie("app"))
    )

A process that replaces another takes over its slot, so its clients stay in that slot.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from hashring.affinity import IdentitySource, cookie
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.integrations.workers import ASGIApp, Message, Receive, Scope, Send
from hashring.integrations.workers import (  # exported from here too
    Placement as Placement,  # noqa: PLC0414  # the form that type checkers take for an export
)
from hashring.integrations.workers import (
    Workers as Workers,  # noqa: PLC0414  # as above
)
from hashring.integrations.workers import (
    new_id as new_id,  # noqa: PLC0414  # as above
)

_COOKIE_AGE = 30 * 24 * 3600  # seconds


class StickyMiddleware:
    """Keeps each client of an ASGI application on one host or on one worker process.

    A request without a client ID is served where it arrived, and its response sets a cookie with a
    new ID that belongs there. An ID is a name and not a credential: a client that makes one up
    chooses only which process serves it.

    Cost: about 5 us a request that is served here; a forwarded one adds less than 0.5 ms.

    Parameters
    ----------
    app: the ASGI application.
    target: ``Workers`` for the processes of one machine, or a ``LoadBalancer`` over several hosts.
    me: with a ``LoadBalancer``, the name of the host that this process is.
    identity: where the client ID stands; the cookie by default. Sources are combined with
        ``hashring.affinity.first_of``.
    cookie_name: the cookie that an anonymous client gets; None for no cookie.
    secure: whether the cookie is only sent over TLS; ``"auto"`` if the request came over TLS.
    on_other: what happens to a request of another owner. ``"forward"`` (``Workers`` only) passes
        it on, ``"redirect"`` answers 307 with the owner's address, ``"replay"`` answers with the
        ``fly-replay`` header, ``"serve"`` serves it here, and the application decides.

    Raises
    ------
    ConfigError: an option is not valid, or ``me`` is missing.

    >>> import asyncio
    >>> async def app(scope, receive, send):
    ...     print(scope["hashring"])
    >>> lb = LoadBalancer(["web1", "web2"])
    >>> sticky = StickyMiddleware(app, lb, me="web1", on_other="serve")
    >>> scope = {"type": "http", "asgi": {}, "headers": [(b"cookie", b"hashring=session-42")]}
    >>> asyncio.run(sticky(scope, None, None))
    Placement(client_id='session-42', owner='web2', is_owner=False)
    """

    def __init__(
        self,
        app: ASGIApp,
        target: Workers | LoadBalancer,
        *,
        me: str | None = None,
        identity: IdentitySource | None = None,
        cookie_name: str | None = "hashring",
        secure: bool | Literal["auto"] = "auto",
        on_other: Literal["forward", "redirect", "replay", "serve"] = "forward",
    ) -> None:
        _check_target(target, me, on_other)
        if secure not in (True, False, "auto"):
            raise ConfigError(
                f"secure must be True, False or 'auto', got {secure!r}", option="secure"
            )
        if identity is None and cookie_name is None:
            raise ConfigError(
                "without a cookie the client ID must come from somewhere: give identity=, such as "
                "identity=header('x-user')",
                option="identity",
            )
        self._workers = target if isinstance(target, Workers) else None
        self._app = app
        self._balancer = target.balancer if isinstance(target, Workers) else target
        self._me = me
        self._identity = identity if identity is not None else cookie(cookie_name or "")
        self._cookie = cookie_name
        if cookie_name is not None:
            cookie(cookie_name)  # refuses a name that no cookie can have
        self._secure = secure
        self._on_other = on_other
        if self._workers is not None:
            self._workers.serve(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, forward or answer one request, WebSocket or lifespan."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if self._workers is not None:
            await self._workers.start()  # where the server runs no lifespan
        client = self._identity(scope)
        me = self._workers.name if self._workers is not None else self._me
        if client is None:
            await self._serve_new(scope, receive, send, me)
            return
        owner = self._balancer.pick(client)
        scope["hashring"] = Placement(client, owner.name, owner.name == me)
        if owner.name == me or self._on_other == "serve":
            await self._app(scope, receive, send)
        elif self._workers is not None:
            await self._workers.forward(client, scope, receive, send)
        else:
            await self._answer(owner, scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._workers is None:
            await self._app(scope, receive, send)
            return
        self._workers.state = scope.get("state")
        await self._workers.start()
        try:
            await self._app(scope, receive, send)
        finally:
            await self._workers.stop()

    async def _serve_new(self, scope: Scope, receive: Receive, send: Send, me: str | None) -> None:
        """Serve an anonymous request here, and name its client by an ID that belongs here."""
        here = me if me is not None and me in self._balancer.snapshot.members else None
        if self._cookie is None or here is None:
            # a process without a slot owns no ID: the client gets one at its next request
            owner = here or self._balancer.pick().name
            scope["hashring"] = Placement(None, owner, owner == me)
            await self._app(scope, receive, send)
            return
        client = new_id(self._balancer, here)
        scope["hashring"] = Placement(client, here, is_owner=True)
        value = self._set_cookie(client, scope)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] in (
                "http.response.start",
                "websocket.accept",
                "websocket.http.response.start",
            ):
                headers = [*message.get("headers", ()), (b"set-cookie", value)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _set_cookie(self, client: str, scope: Scope) -> bytes:
        secure = scope.get("scheme") in ("https", "wss") if self._secure == "auto" else self._secure
        end = "; Secure" if secure else ""
        text = (
            f"{self._cookie}={client}; Path=/; Max-Age={_COOKIE_AGE}; HttpOnly; SameSite=Lax{end}"
        )
        return text.encode("latin-1")

    async def _answer(self, owner: Host, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the client, or the platform's proxy, to the owner."""
        replay = self._on_other == "replay"
        headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
        if replay:
            headers.append((b"fly-replay", b"instance=" + owner.name.encode()))
        else:
            headers.append((b"location", _location(owner, scope)))
        status, prefix = (409 if replay else 307), "http.response"
        if scope["type"] == "websocket":
            if "websocket.http.response" not in scope.get("extensions", {}):
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": 1012, "reason": "another host"})
                return
            prefix = "websocket.http.response"
        await send({"type": f"{prefix}.start", "status": status, "headers": headers})
        await send({"type": f"{prefix}.body", "body": b""})


def _check_target(target: object, me: object, on_other: str) -> None:
    """Refuse a target, a name of this process or a rule that do not go together."""
    if on_other not in ("forward", "redirect", "replay", "serve"):
        raise ConfigError(
            f"on_other must be 'forward', 'redirect', 'replay' or 'serve', got {on_other!r}",
            option="on_other",
        )
    if isinstance(target, Workers):
        if me is not None:
            raise ConfigError("Workers know their own name: leave out me", option="me")
        if on_other not in ("forward", "serve"):
            raise ConfigError(
                f"on_other={on_other!r} sends clients to another address, and workers share one: "
                "use 'forward' or 'serve'",
                option="on_other",
            )
        return
    if not isinstance(target, LoadBalancer):
        raise ConfigError(
            f"the target must be Workers or a LoadBalancer, got {type(target).__name__}",
            option="target",
        )
    if not isinstance(me, str) or not me:
        raise ConfigError(
            "with a LoadBalancer, me must be the name of this host in it", option="me"
        )
    if on_other == "forward":
        raise ConfigError(
            "on_other='forward' passes requests between the workers of one machine: give Workers, "
            "or choose 'redirect', 'replay' or 'serve' between hosts",
            option="on_other",
        )


def _location(owner: Host, scope: Scope) -> bytes:
    """The same URL at the owner's address, percent-encoded."""
    address = owner.address or owner.name
    scheme = {"ws": "http", "wss": "https"}.get(
        scope.get("scheme", ""), scope.get("scheme", "http")
    )
    base = address if "://" in address else f"{scheme}://{address}"
    path = scope.get("raw_path") or quote(scope.get("path", "/")).encode()
    url = base.rstrip("/").encode() + bytes(path)
    return url + (b"?" + scope["query_string"] if scope.get("query_string") else b"")
