"""Sticky sessions inside a WSGI application (Flask, Django) that runs on several hosts.

>>> from hashring import LoadBalancer
>>> def application(environ, start_response):
...     start_response("200 OK", [])
...     return [repr(environ["hashring"]).encode()]
>>> hosts = LoadBalancer(["web1", "web2"])
>>> app = WsgiStickyMiddleware(application, hosts, me="web1", on_other="serve")
>>> environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": "hashring=session-42"}
>>> app(environ, lambda status, headers, error=None: None)
[b"Placement(client_id='session-42', owner='web2', is_owner=False)"]

The workers of one machine share a port under WSGI servers, and a request cannot be passed on inside
one: give each worker an address of its own, or use the ASGI middleware with ``Workers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from hashring.affinity import IdentitySource, cookie
from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.integrations.workers import Placement, new_id

_COOKIE_AGE = 30 * 24 * 3600  # seconds

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]
ErrorInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | None
Application: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class WsgiStickyMiddleware:
    """Keeps each client of a WSGI application on one host.

    A request without a client ID is served where it arrived, and its response sets a cookie with a
    new ID that belongs there. An ID is a name and not a credential: a client that makes one up
    chooses only which host serves it. Cost: about 5 us a request.

    app: the WSGI application; it finds the ``Placement`` in ``environ["hashring"]``.
    lb: the balancer over all hosts; a redirect needs their addresses.
    me: the name of the host that this process is.
    identity: where the client ID stands; the cookie by default. Sources are combined with
        ``hashring.affinity.first_of``.
    cookie_name: the cookie that an anonymous client gets; None for no cookie.
    secure: whether the cookie is only sent over TLS; ``"auto"`` if the request came over TLS.
    on_other: what happens to a request of another owner. ``"redirect"`` answers 307 with the
        owner's address, ``"replay"`` answers with the ``fly-replay`` header, ``"serve"`` serves it
        here, and the application decides.

    Raises ``ConfigError`` for bad options. Errors of the balancer reach the server.
    """

    def __init__(
        self,
        app: Application,
        lb: LoadBalancer,
        *,
        me: str,
        identity: IdentitySource | None = None,
        cookie_name: str | None = "hashring",
        secure: bool | Literal["auto"] = "auto",
        on_other: Literal["redirect", "replay", "serve"] = "redirect",
    ) -> None:
        if on_other not in ("redirect", "replay", "serve"):
            raise ConfigError(
                f"on_other must be 'redirect', 'replay' or 'serve', got {on_other!r}",
                option="on_other",
            )
        if not isinstance(me, str) or not me:
            raise ConfigError(f"me must be the name of this host, got {me!r}", option="me")
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
        if cookie_name is not None:
            cookie(cookie_name)  # refuses a name that no cookie can have
        self._app, self._balancer, self._me = app, lb, me
        self._identity = identity if identity is not None else cookie(cookie_name or "")
        self._cookie = cookie_name
        self._secure = secure
        self._on_other = on_other

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve or answer one request."""
        client = self._identity(environ)
        if client is None:
            return self._serve_new(environ, start_response)
        owner = self._balancer.pick(client)
        environ["hashring"] = Placement(client, owner.name, owner.name == self._me)
        if owner.name == self._me or self._on_other == "serve":
            return self._app(environ, start_response)
        headers = [("Content-Type", "text/plain"), ("Content-Length", "0")]
        headers.append(("Cache-Control", "no-store"))
        if self._on_other == "replay":
            start_response("409 Conflict", [*headers, ("fly-replay", f"instance={owner.name}")])
        else:
            location = ("Location", _location(owner, environ))
            start_response("307 Temporary Redirect", [*headers, location])
        return []

    def _serve_new(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve an anonymous request here, and name its client by an ID that belongs here."""
        if self._cookie is None or self._me not in self._balancer.snapshot.members:
            owner = self._balancer.pick().name
            environ["hashring"] = Placement(None, owner, owner == self._me)
            return self._app(environ, start_response)
        client = new_id(self._balancer, self._me)
        environ["hashring"] = Placement(client, self._me, is_owner=True)
        tls = environ.get("wsgi.url_scheme") == "https"
        secure = "; Secure" if (tls if self._secure == "auto" else self._secure) else ""
        value = (
            f"{self._cookie}={client}; Path=/; Max-Age={_COOKIE_AGE}; HttpOnly; "
            f"SameSite=Lax{secure}"
        )

        def start_with_cookie(status: str, headers: Headers, error: ErrorInfo = None) -> Any:
            return start_response(status, [*headers, ("Set-Cookie", value)], error)

        return self._app(environ, start_with_cookie)


def _location(owner: Host, environ: Environ) -> str:
    """The same URL at the owner's address, percent-encoded."""
    address = owner.address or owner.name
    base = address if "://" in address else f"{environ.get('wsgi.url_scheme', 'http')}://{address}"
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "/")
    query = environ.get("QUERY_STRING")
    # WSGI has the decoded bytes of the path as Latin-1
    return base.rstrip("/") + quote(path.encode("latin-1")) + (f"?{query}" if query else "")
