"""A request as it is forwarded: target, headers, client ID and preferred host."""

from __future__ import annotations

from hashring.affinity import Visit
from hashring.balancer import Lease
from hashring.gateway.access import AccessEntry
from hashring.gateway.asgi import Scope
from hashring.gateway.forwarded import extend_forwarded, new_forwarded
from hashring.gateway.generation import Generation
from hashring.gateway.headers import RequestHead
from hashring.gateway.target import forwarded_target
from hashring.hosts import Host
from hashring.keys import Key

_WEB = {"ws": "http", "wss": "https"}  # the scheme in X-Forwarded-Proto


class ForwardedRequest:
    """One request on its way to a host: ``target`` and ``headers`` are for the host.

    ``client_id`` and ``prefer`` are for the balancer, once ``identify`` was called. Raises
    ``RequestRefused`` for what cannot be forwarded.
    """

    __slots__ = (
        "_gateway",
        "_scope",
        "_trusted",
        "_visit",
        "client_id",
        "cost",
        "entry",
        "group",
        "head",
        "headers",
        "prefer",
        "target",
    )

    def __init__(self, gateway: Generation, scope: Scope, entry: AccessEntry) -> None:
        self._gateway, self._scope, self.entry = gateway, scope, entry
        client = scope.get("client")
        peer = client[0] if client else ""
        trusted = gateway.trusts(peer)
        self.target = entry.target = forwarded_target(scope)
        self.head = head = RequestHead(
            scope["headers"], trusted=trusted, token_name=gateway.token_name
        )
        if head.request_id is not None:
            entry.request_id = head.request_id
        scheme: str = scope.get("scheme", "http")
        scheme, host = _WEB.get(scheme, scheme), head.host or ""
        forwarded = (
            extend_forwarded(head.given, peer, host, scheme)
            if trusted
            else new_forwarded(peer, host, scheme)
        )
        headers = head.headers if scope["type"] == "http" else head.for_websocket()
        if host and gateway.keep_host:
            headers.insert(0, ("host", host))  # first, as RFC 9110 (7.2) wants it
        if head.length is not None:
            headers.append(("content-length", str(head.length)))
        headers.append(("x-request-id", entry.request_id))
        headers += forwarded
        self.headers = headers
        self.client_id: Key | None = None
        self.prefer: str | None = None
        self.cost: float | None = None
        self.group: str | bytes | None = None
        self._trusted = trusted
        self._visit: Visit | None = None

    def identify(self, body: bytes = b"") -> None:
        """Read the client ID and the token."""
        gateway = self._gateway
        client_id: Key | None = None
        if gateway.identity is not None:
            client_id = gateway.identity(self._scope, body)
        if gateway.tokens is not None:
            visit = self._visit = gateway.tokens.visit(self.head.cookie, client_id=client_id)
            client_id, self.prefer = visit.client_id, visit.prefer
        self.client_id = self.entry.client = client_id
        if gateway.cost is not None:
            self.cost = gateway.cost.cost(self._scope, self.head, body, self._trusted)
            self.group = gateway.cost.group(self._scope, body)

    def decision(self, lease: Lease) -> bytes:
        """The value of the decision header: the host, why, and what identified the client."""
        source = "none"
        if self._visit is not None and self._visit.token is not None:
            source = "token"
        elif self.client_id is not None and self._gateway.identity is not None:
            source = "id"
        name = lease.host.name.encode("ascii", "backslashreplace").decode()
        name = "".join(char if char.isprintable() and char not in '"\\' else "?" for char in name)
        return f'host="{name}", reason={lease.reason}, from={source}'.encode()

    def set_cookie(self, host: Host, *, retry: bool) -> str | None:
        """The Set-Cookie value for the client after ``host`` was chosen; None when none is due."""
        gateway = self._gateway
        if self._visit is None or gateway.tokens is None:
            return None
        tls = gateway.tls(self._scope)
        if not retry and self._visit.token is not None and self.prefer != host.name:
            self.entry.moved = self._cause()
        return gateway.tokens.set_cookie(self._visit, host, tls=tls, retry=retry)

    def _cause(self) -> str:
        """Why the client's own host does not serve it any more."""
        member = self._gateway.lb.snapshot.members.get(self.prefer or "")
        if member is None:
            return "host_gone"
        if member.down:
            return "ejected" if set(member.down) == {"outlier"} else "host_down"
        return "drain_deadline" if member.drains else "spill"
