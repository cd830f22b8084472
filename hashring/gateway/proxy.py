"""One HTTP request: the host, the tries, the response."""

from __future__ import annotations

import asyncio
import random
from functools import partial

from hashring.balancer import Lease
from hashring.errors import NoHostsError
from hashring.gateway.access import AccessEntry
from hashring.gateway.asgi import Scope
from hashring.gateway.body import Body, ClientGone
from hashring.gateway.error_responses import (
    ERROR_RESPONSES,
    ErrorResponse,
    RequestRefused,
    send_error,
)
from hashring.gateway.forwarded_request import ForwardedRequest
from hashring.gateway.generation import Generation
from hashring.gateway.headers import RequestHead, response_headers
from hashring.gateway.request_timeouts import RequestTimeouts
from hashring.gateway.retry import try_hosts
from hashring.gateway.upstream import ConnectError, InvalidResponse, UpstreamError, UpstreamResponse

CUT = "hashring.cut"
"""The scope's key of a call by which our own server ends a connection before its answer ends."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2

_FAILED = frozenset({502, 503, 504})
"""Statuses that count against a host: it reports that it cannot serve. A 500 is often the fault of
one request, and would eject a host because of its clients."""

_WATCHED = {
    "body": ERROR_RESPONSES["request_timeout"],
    "upload": ERROR_RESPONSES["host_timeout"],
    "total": ERROR_RESPONSES["host_timeout"],
}
_BODILESS = frozenset({204, 304})
_GONE = 499  # nginx's status for a client that did not wait


class ProxyRequest:
    """One HTTP request from its head to the end of its answer."""

    __slots__ = ("_body", "_caller", "_entry", "_gateway", "_scope", "_watch")

    def __init__(
        self, gateway: Generation, scope: Scope, watch: RequestTimeouts, entry: AccessEntry
    ) -> None:
        self._gateway, self._scope, self._watch, self._entry = gateway, scope, watch, entry
        self._caller: ForwardedRequest | None = None
        self._body: Body

    @property
    def taken(self) -> int:
        """Bytes of the body that came; 0 for a request that was refused by its head."""
        return self._body.size if hasattr(self, "_body") else 0

    async def run(self) -> None:
        """Answer the request. Raises nothing but a cancellation that is not the watch's own."""
        entry = self._entry
        entry.request_id = f"{random.getrandbits(128):032x}"
        try:
            caller = self._caller = ForwardedRequest(self._gateway, self._scope, entry)
            body = self._body = self._begun(caller.head)
            most = self._gateway.body_limit
            caller.identify(await body.peek(most) if most and not body.done else b"")
            await try_hosts(self._gateway, caller, partial(self._talk, caller), self._may_repeat)
        except ClientGone:
            entry.status, entry.why = entry.status or _GONE, "gone"
        except RequestRefused as refused:
            await self._refuse(refused.problem)
        except NoHostsError as error:
            await self._refuse(ERROR_RESPONSES["no_host"], str(error))
        except asyncio.CancelledError:
            if not self._watch.caught():
                raise
            await self._give_up()

    def _begun(self, head: RequestHead) -> Body:
        # without a length and without chunks an HTTP/1 request has no body; others may have one
        empty = not head.chunked and not head.length and (
            head.length == 0 or self._scope.get("http_version", "1.1") in ("1.1", "1.0")
        )  # fmt: skip
        body = Body(self._watch.receive, head.length, self._gateway.limits.body, empty=empty)
        self._watch.follow(body)
        return body

    # -- hosts ------------------------------------------------------------------------------------

    async def _talk(self, caller: ForwardedRequest, lease: Lease) -> None:
        await self._pass_on(await self._ask(caller, lease), caller, lease)

    async def _ask(self, caller: ForwardedRequest, lease: Lease) -> UpstreamResponse:
        """One try. A body that breaks off is the client's fault, whatever the upstream raises."""
        body = self._body
        try:
            # most requests have none, and a call that is awaited costs as much as it does
            payload = None if body.absent else await body.payload()
            return await self._gateway.upstream.request(
                lease.host.address, self._entry.method, caller.target, caller.headers, payload
            )
        except UpstreamError:
            if body.error is not None:
                raise body.error from None
            raise
        except asyncio.CancelledError:
            if self._watch.why in ("upload", "total"):
                lease.failed("took too long")
            raise

    def _may_repeat(self, error: UpstreamError) -> bool:
        safe = isinstance(error, ConnectError) or (
            self._entry.method in _IDEMPOTENT and not isinstance(error, InvalidResponse)
        )
        return safe and not self._watch.sent and self._body.replayable

    # -- the answer -------------------------------------------------------------------------------

    async def _pass_on(
        self, answer: UpstreamResponse, caller: ForwardedRequest, lease: Lease
    ) -> None:
        entry, send = self._entry, self._watch.send
        try:
            status = answer.status
            if not 200 <= status < 600:
                raise InvalidResponse(f"status {status}")
            headers = self._response_headers(answer, caller, lease)
            entry.status = status
            await send({"type": "http.response.start", "status": status, "headers": headers})
            ended = answer.ended
            if ended:
                await send({"type": "http.response.body", "body": b""})
            while not ended:
                chunk = await answer.read()
                ended = answer.ended
                if chunk and not entry.given:
                    lease.started()
                entry.given += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": not ended})
        finally:
            answer.close()
        if status in _FAILED:
            lease.failed(f"status {status}")
        elif not _is_stream(headers):
            lease.ok()

    def _response_headers(
        self, answer: UpstreamResponse, caller: ForwardedRequest, lease: Lease
    ) -> list[tuple[bytes, bytes]]:
        """The headers for the client: those of the host, and the gateway's own."""
        headers = response_headers(
            answer.headers, bodiless=answer.status in _BODILESS, token_name=self._gateway.token_name
        )
        cookie = caller.set_cookie(lease.host, retry=self._entry.tries > 1)
        if cookie is not None:
            headers.append((b"set-cookie", cookie.encode("latin-1")))
            if _is_shared(headers):
                # else a shared cache would give one client's token to all
                headers.append((b"cache-control", b'no-cache="set-cookie"'))
        headers.append((b"x-request-id", self._entry.request_id.encode()))
        shown = self._gateway.decision_header
        if shown is not None:
            headers = [pair for pair in headers if pair[0] != shown]
            headers.append((shown, caller.decision(lease)))
        if self._gateway.stopping and self._scope.get("http_version") in ("1.0", "1.1"):
            headers.append((b"connection", b"close"))  # else the next request would be lost
        return headers

    async def _refuse(self, problem: ErrorResponse, why: str = "") -> None:
        entry, watch = self._entry, self._watch
        entry.why = why or entry.why or problem.code
        watch.over()
        if watch.sent:  # the client has the beginning of another answer
            self._cut(at_once=False)
            return
        entry.status = problem.status
        head = self._caller.head if self._caller is not None else None
        entry.given = await send_error(
            watch.send,
            problem,
            entry.request_id,
            head.accept if head is not None else "",
            head=entry.method == "HEAD",
        )

    async def _give_up(self) -> None:
        """End a request that the timeouts have cancelled."""
        why = self._watch.why or "gone"
        self._entry.why = why
        if why in _WATCHED:
            await self._refuse(_WATCHED[why], why)
            return
        self._entry.status = self._entry.status or _GONE
        self._cut(at_once=True)

    def _cut(self, *, at_once: bool) -> None:
        """End the connection, so that the client notices that the response is incomplete.

        A server without our call does so by itself when the application returns too early.
        """
        cut = self._scope.get(CUT)
        if cut is not None:
            cut(at_once)


def _is_shared(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a shared cache may store the response without asking (RFC 9111, section 5.2.2)."""
    for name, value in headers:
        if name == b"cache-control" and (b"public" in value or b"s-maxage" in value):
            return True
    return False


def _is_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a response lasts as long as its client likes, so that its time does not count."""
    for name, value in headers:  # any() costs four times as much
        if name == b"content-type" and value.startswith(b"text/event-stream"):
            return True
    return False
