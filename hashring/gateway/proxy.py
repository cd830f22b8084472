"""One HTTP request: its client ID, its host, the tries, the response. Bytes in, bytes out.

A request is driven by calls of its two sides, without a task of its own: ``begin``, ``feed`` and
``end_body`` come from the client, ``receive_...`` from the host. Only what must be awaited makes a
task: a new connection, a store of pins, a place in a host's queue.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Literal

from hashring.affinity import Visit
from hashring.balancer import Lease
from hashring.errors import NoCapacityError, NoHostsError, SessionUnavailableError
from hashring.gateway.access import AccessEntry
from hashring.gateway.client_side import ClientSide
from hashring.gateway.decisions import cause_of_move, decision_value
from hashring.gateway.error_responses import (
    ERROR_RESPONSES,
    ErrorResponse,
    error_body,
    error_fields,
)
from hashring.gateway.forwarded import encode_forwarded
from hashring.gateway.generation import Generation
from hashring.gateway.handshake import find_wrong_switch
from hashring.gateway.headers import RequestHead, ResponseHead
from hashring.gateway.http.host_connection import HostConnection
from hashring.gateway.http.host_pool import ConnectionPool
from hashring.gateway.request_identity import plain_id, scope_of
from hashring.gateway.sent_request import (
    IDEMPOTENT,
    SHOULD_HAVE_LENGTH,
    extended_fields,
    frame,
    framing,
    may_repeat,
    use_hop,
)
from hashring.gateway.sessions import SessionVisit
from hashring.gateway.tunnel_watch import TunnelWatch
from hashring.gateway.upstream import (
    ConnectError,
    InvalidResponse,
    StaleConnection,
    UpstreamError,
    UpstreamTimeout,
    problem_of,
)
from hashring.keys import Key

_LIMITED = frozenset({b"OPTIONS", b"TRACE"})  # the methods of Max-Forwards (RFC 9110, 7.6.2)

_BODILESS = frozenset({204, 304})
_GONE = 499  # nginx's status for a client that did not wait
_KEPT = 64 * 1024
"""Bytes of a body that are kept for another try: what an API call is at most. More is sent once."""

_CRLF = b"\r\n"

_log = logging.getLogger("hashring")

Waits = Literal["client", "host", "reader"]


class ProxyRequest:
    """One HTTP request from its head to the end of its response.

    ``client`` is the side that it answers. Cost: about 40 us in Python, with every feature.
    """

    # what most requests leave as it is stands in the class, because to set it costs as much
    began = due = 0.0
    client_id: Key | None = None
    cost: float | None = None
    group: str | bytes | None = None
    tried: Sequence[str] = ()
    _body_complete = _started = _over = _peeks = _replaced = _has_begun = False
    _paused_host = _upload_paused = _trusted = False
    _tunnel: TunnelWatch | None = None
    _size = 0
    _connection: HostConnection | None = None
    _pool: ConnectionPool | None = None
    _lease: Lease | None = None
    _response: ResponseHead | None = None
    _failure: UpstreamError | None = None
    _visit: Visit | None = None
    _browser: bytes | None = None  # of a new client, where its first requests stay together
    _session: SessionVisit | None = None
    _remembers = True
    _prefer: str | None = None
    _scope: Mapping[str, Any] | None = None
    _mark: tuple[object, ...] = ()
    _since = 0.0
    _tasks: set[asyncio.Task[None]] | None = None
    _loop: asyncio.AbstractEventLoop
    _id = b""

    def __init__(self, gateway: Generation, client: ClientSide, head: RequestHead) -> None:
        self.gateway, self.client, self.head = gateway, client, head
        self.entry = AccessEntry(head.method.decode("latin-1"), "", client.peer)
        self._kept: list[bytes] | None = []  # None once it is too long to be sent again

    # -- the request ------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is complete, and it is this request's turn."""
        gateway, client, head, entry = self.gateway, self.client, self.head, self.entry
        self._loop = loop = client.loop
        self._started = True
        self.began = loop.time()
        gateway.stats["requests" if head.upgrade is None else "websockets"] += 1
        gateway.in_flight += 1
        gateway.rounds.join(self, loop)
        self._trusted = trusted = gateway.has_trusted and gateway.trusts(client.peer)
        head.select(trusted=trusted, token_name=gateway.token_name)
        entry.target = head.target.decode("ascii")
        entry.request_id = head.request_id or f"{random.getrandbits(128):032x}"
        self._id = entry.request_id.encode()
        if head.via is not None and gateway.is_loop(head.via):
            return self._refuse(ERROR_RESPONSES["loop"])
        if head.max_forwards is not None and head.method in _LIMITED and not use_hop(head):
            return self._refuse(ERROR_RESPONSES["not_allowed"])
        limit = gateway.limits.body
        if limit is not None and max(head.length or 0, self._size) > limit:
            return self._refuse(ERROR_RESPONSES["body_too_large"])
        if head.expects_continue and (head.chunked or head.length):
            client.write_continue()
        if not self._body_complete and self._size <= gateway.body_limit > 0:
            self._peeks = True
            return None
        return self._identify()

    def _identify(self) -> None:
        """Find the client and its host; a failure of what was plugged in is a 500."""
        try:
            self._read_identity()
            self._try_host()
        except Exception:
            self._fail()

    def _fail(self) -> None:
        _log.exception("request %s failed in the gateway", self.entry.request_id)
        if not self._over:
            self._refuse(ERROR_RESPONSES["gateway_failed"])

    def feed(self, chunk: bytes) -> None:
        """Some of the body has come."""
        if self._over:
            return
        self._size = size = self._size + len(chunk)
        limit = self.gateway.limits.body
        if limit is not None and size > limit and self._started:
            self._refuse(ERROR_RESPONSES["body_too_large"])
            return
        connection, kept = self._connection, self._kept
        if connection is None:
            assert kept is not None  # nothing was sent, so all is here
            kept.append(chunk)
            if self._peeks:
                if size > self.gateway.body_limit:
                    self._peeks = False
                    self._identify()
            elif size > _KEPT:
                self.client.pause_body()
            return
        if kept is not None:
            if size <= _KEPT:
                kept.append(chunk)
            else:
                self._kept = None
        connection.write(frame(self.head, chunk))

    def end_body(self) -> None:
        """The body is complete."""
        self._body_complete = True
        if self._over or not self._started:
            return
        if self._peeks:
            self._peeks = False
            self._identify()
        elif self._connection is not None:
            if self.head.length is None:
                self._connection.write(b"0\r\n\r\n")
            self._connection.complete_request()

    def lose_client(self) -> None:
        """The client has hung up."""
        if self._over or not self._started:
            self._over = True
            return
        self.entry.status = self.entry.status or _GONE
        self.entry.why = "gone"
        self._end()

    def pause_response(self) -> None:
        """The client reads more slowly than the host sends."""
        if not self._paused_host:
            self._paused_host = True
            if self._connection is not None:
                self._connection.pause_reading()

    def resume_response(self) -> None:
        """The client has read what was sent."""
        if self._paused_host:
            self._paused_host = False
            if self._connection is not None:
                self._connection.resume_reading()

    # -- the client and its host ------------------------------------------------------------------

    @property
    def scope(self) -> Mapping[str, Any]:
        """The request as sources of identity read it, with the keys of an ASGI scope."""
        if self._scope is None:
            self._scope = scope_of(self.head, self.client)
        return self._scope

    def _read_identity(self) -> None:
        """Read the client ID and the token."""
        gateway = self.gateway
        client_id: Key | None = None
        body = b"".join(self._kept or ()) if gateway.body_limit else b""
        if gateway.identity is not None:
            header = gateway.plain_header
            if header is not None:
                client_id = plain_id(self.head, header)
            if client_id is None:
                client_id = gateway.identity(self.scope, body)
        if gateway.sessions is not None:
            session = self._session = gateway.sessions.visit(self.scope, body, self.head)
            self._remembers = client_id is not None
            if session.client_id is not None:
                client_id, self._remembers = session.client_id, session.remembers
        if gateway.tokens is not None:
            cookie = self.head.cookie
            visit = self._visit = gateway.tokens.visit(
                None if cookie is None else cookie.decode("latin-1"), client_id=client_id
            )
            client_id, self._prefer = visit.client_id, visit.prefer
            if gateway.first_visits is not None and visit.token is None and not visit.given:
                self._browser = gateway.first_visits.key(self.scope)
                self._prefer = gateway.first_visits.find(self._browser)
        if self._session is not None and self._session.prefer is not None:
            self._prefer = self._session.prefer
        self.client_id = self.entry.client = client_id
        if gateway.cost is not None:
            self.cost = gateway.cost.cost(self.scope, self.head, body, self._trusted)
            self.group = gateway.cost.group(self.scope, body)
        gateway.budget.deposit()

    def _try_host(self) -> None:
        gateway = self.gateway
        lease = gateway.lb.lease(
            self.client_id,
            prefer=self._prefer,
            exclude=self.tried,
            cost=self.cost,
            group=self.group,
            remember=self._remembers,
        )
        if lease.is_async or (gateway.timeouts.queue and not self.tried):
            self._spawn(self._await_lease(lease))
            return
        try:
            lease.acquire()
        except NoHostsError as error:
            self._refuse_without_host(error)
        else:
            self._use(lease)

    async def _await_lease(self, lease: Lease) -> None:
        wait = self.gateway.timeouts.queue
        try:
            if wait and not self.tried:
                lease = await self.gateway.lb.aacquire(
                    self.client_id,
                    wait=wait,
                    prefer=self._prefer,
                    exclude=self.tried,
                    cost=self.cost,
                    group=self.group,
                    remember=self._remembers,
                )
            else:
                await lease.aacquire()
        except NoHostsError as error:
            if not self._over:
                self._refuse_without_host(error)
        else:
            if self._over:
                lease.release()
            else:
                self._use(lease)

    def _use(self, lease: Lease) -> None:
        """Send the request to the host of ``lease``."""
        visits = self.gateway.first_visits
        if visits is not None and self._browser is not None:
            visits.remember(self._browser, lease.host.name)
        gateway, entry, host = self.gateway, self.entry, lease.host
        if self._failure is not None:
            gateway.stats["retries"] += 1
        self._lease = lease
        entry.tries += 1
        entry.host, entry.reason = host.name, lease.reason
        self._replaced = False
        try:
            pool = self._pool = gateway.hosts.pool(host.address, self._loop)
        except InvalidResponse as error:
            self.receive_error(error)
            return
        connection = pool.take(certain=self.head.method not in IDEMPOTENT)
        if connection is None:
            self._spawn(self._connect(pool))
        else:
            self._send(connection)

    async def _connect(self, pool: ConnectionPool) -> None:
        try:
            connection = await pool.connect()
        except UpstreamError as error:
            if not self._over:
                self.receive_error(error)
            return
        if self._over:
            connection.close()
        else:
            self._send(connection)

    def _send(self, connection: HostConnection) -> None:
        """Write the head, and what is here of the body."""
        head, kept, complete = self.head, self._kept, self._body_complete
        gateway, client = self.gateway, self.client
        self._connection = connection
        host_named = head.host if gateway.keep_host else None
        if host_named is None:
            host_named = connection.pool.authority
        method = head.method
        pieces = [method, b" ", head.target, b" HTTP/1.1\r\nhost: ", host_named, _CRLF]
        pieces += head.fields
        if head.length is not None or head.chunked or kept or method in SHOULD_HAVE_LENGTH:
            pieces.append(framing(head, self._size if kept else 0, complete=complete))
        pieces += (b"x-request-id: ", self._id, _CRLF)
        if head.given or head.via is not None or head.upgrade is not None:
            pieces += extended_fields(head, client, gateway.via)
        else:
            forwarded = encode_forwarded(client.peer, head.host, client.scheme)
            pieces += (forwarded, gateway.via_line)
        pieces.append(_CRLF)
        if kept:
            pieces += kept if head.length is not None else [frame(head, chunk) for chunk in kept]
            if self._size > _KEPT:
                self._kept = None
        connection.send(self, b"".join(pieces), complete=complete, head_only=method == b"HEAD")
        if self._paused_host:
            connection.pause_reading()
        if not complete:
            client.resume_body()

    # -- the response -----------------------------------------------------------------------------

    def receive_interim(self, head: ResponseHead) -> None:
        """An interim response: all but 100 goes on."""
        if head.status != 100:
            self.client.write_interim(head)

    def receive_head(self, head: ResponseHead) -> None:
        """The head of the response: it goes on with the gateway's own headers."""
        gateway, entry, lease = self.gateway, self.entry, self._lease
        assert lease is not None  # it is given back when the host is
        status = head.status
        self._add_own_fields(head, lease)
        self._response = head
        entry.status = status
        has_body = status not in _BODILESS and self.head.method != b"HEAD"
        last = gateway.stopping or not self._body_complete
        self.client.write_head(status, head.fields, head.length, has_body=has_body, last=last)

    def _add_own_fields(self, head: ResponseHead, lease: Lease) -> None:
        gateway = self.gateway
        if head.sets_cookie and gateway.token_name is not None:
            head.drop_cookie(gateway.token_name)
        if self._session is not None:
            self._session.read_head(head, lease.host.name, self.client_id)
        fields, visit = head.fields, self._visit
        if visit is not None and not (
            visit.is_settled and self._prefer == visit.prefer == lease.host.name
        ):
            self._add_token(head, visit)
        shown = gateway.decision_header
        if shown is not None:
            head.drop(shown)
            fields = head.fields
            fields += (shown + b": ", decision_value(lease, self._source()), _CRLF)
        fields += (b"x-request-id: ", self._id, _CRLF)

    def _add_token(self, head: ResponseHead, visit: Visit) -> None:
        """Give the client a new token, where one is due."""
        tokens, entry = self.gateway.tokens, self.entry
        assert tokens is not None  # it made the visit
        retry, host = entry.tries > 1, entry.host
        if not retry and visit.token is not None and self._prefer != host:
            entry.moved = cause_of_move(self.gateway.lb, self._prefer)
        tls = (
            self.gateway.came_by_tls(self.scope) if self._trusted else self.client.scheme == "https"
        )
        cookie = tokens.set_cookie(visit, host, tls=tls, retry=retry)
        if cookie is not None:
            head.fields += (b"set-cookie: ", cookie.encode("latin-1"), _CRLF)
            if head.is_shared:
                # else a shared cache would give one client's token to all
                head.fields += (b"cache-control: ", b'no-cache="set-cookie"', _CRLF)

    def receive_body(self, chunk: bytes) -> None:
        """Some of the body of the response."""
        self.entry.given += len(chunk)
        if self._session is not None:
            self._session.feed(chunk)
        self.client.write_body(chunk)

    def receive_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """The response is complete."""
        lease, response = self._lease, self._response
        assert lease is not None  # as in receive_head
        assert response is not None  # it came before its end
        self._connection = None
        if self._session is not None:
            self._session.end()
        if response.status in self.gateway.failure_statuses:
            lease.failed(f"status {response.status}")
        elif not response.is_stream:
            lease.ok()
        self._end()
        self.client.write_end(trailers)

    def flush(self) -> None:
        """Send what the host's connection has read."""
        if not self._over:
            if not self._has_begun and self.entry.given:
                self._has_begun = True  # a response that is here as a whole is released instead
                assert self._lease is not None  # as in receive_head
                self._lease.started()
            self.client.flush()

    def receive_error(self, error: UpstreamError) -> None:
        """This host gave no response, or not all of it."""
        self._connection = None
        self._upload_paused = False
        if (
            isinstance(error, StaleConnection)
            and not self._replaced
            and (self.head.method in IDEMPOTENT or error.unread)
            and self._kept is not None
            and self._pool is not None
        ):
            self._replaced = True  # once more, to the same host: it has not failed
            self._spawn(self._connect(self._pool))
            return
        lease, self._lease = self._lease, None
        assert lease is not None  # as in receive_head
        self._failure = error
        self.entry.why = error.why
        if error.counts and self._is_fault_of_host(error):
            lease.failed(error.why, unreachable=isinstance(error, ConnectError))
        lease.release()
        self.tried = [*self.tried, self.entry.host]
        gateway = self.gateway
        begun = self._response is not None or self._kept is None
        repeats = not begun and may_repeat(self.head, error)
        if len(self.tried) > gateway.limits.retries or not repeats:
            self._refuse(problem_of(error))
        elif not gateway.budget.withdraw():
            gateway.stats["retries_refused"] += 1
            self._refuse(problem_of(error))
        else:
            self._try_host()

    def _is_fault_of_host(self, error: UpstreamError) -> bool:
        """Whether an error that counts was not caused by the client.

        A client can ask for a page that breaks off, and send a body that a host does not read.
        """
        if isinstance(error, ConnectError):
            return True
        return self._response is None and self._body_complete

    def _source(self) -> str:
        """What identified the client."""
        if self._visit is not None and self._visit.token is not None:
            return "token"
        has_id = self.client_id is not None and self.gateway.identity is not None
        return "id" if has_id else "none"

    # -- another protocol -------------------------------------------------------------------------

    def receive_switch(self, head: ResponseHead, rest: bytes) -> None:
        """The host has switched protocols: bytes flow both ways from now on."""
        connection, lease = self._connection, self._lease
        assert connection is not None  # it is the caller
        assert lease is not None  # as in receive_head
        wrong = find_wrong_switch(self.head, head)
        if wrong:
            connection.fail(InvalidResponse(wrong))
            return
        self._add_own_fields(head, lease)
        self._response, self.entry.status = head, head.status
        lease.started()
        fields = [b"connection: ", b"Upgrade", _CRLF, b"upgrade: ", head.upgrade, _CRLF]
        receiver = self.client.open_tunnel(head, fields + head.fields, connection, self)
        self._tunnel = TunnelWatch(self.gateway, lease.host.name, receiver)
        connection.tunnel(receiver)
        if rest:
            receiver.data_from_host(rest)

    def count_bytes(self, taken: int, given: int) -> None:
        """Bytes have passed through the tunnel."""
        self._size += taken
        self.entry.given += given

    def tunnel_ended(self, why: str) -> None:
        """The tunnel is over."""
        is_leaving = self._tunnel is not None and self._tunnel.is_leaving
        self.entry.why = "drain_deadline" if is_leaving else why
        self._connection = None
        self._end()

    # -- its time ---------------------------------------------------------------------------------

    def pause_upload(self) -> None:
        """The host reads more slowly than the client sends."""
        self._upload_paused = True
        self.client.pause_body()

    def resume_upload(self) -> None:
        """The host has read what was written."""
        self._upload_paused = False
        if not self._over:
            self.client.resume_body()

    def check(self, now: float) -> None:
        """End the request if it makes no progress; called by the timer of all requests."""
        timeouts = self.gateway.timeouts
        if self._tunnel is not None:
            why = self._tunnel.check(now, (self._size, self.entry.given))
            if why:
                self.entry.why = why
                client = self.client
                self._end()
                client.cut(now=False)
            return
        if timeouts.total is not None and now - self.began >= timeouts.total:
            self._time_out("total", "host_timeout")
            return
        waits = self._waits_for()
        mark = (waits, self._size, self.client.unsent())
        if waits is None or mark != self._mark:
            self._mark, self._since = mark, now
        elif timeouts.idle is not None and now - self._since >= timeouts.idle:
            if waits == "client":
                self._time_out("body", "request_timeout")
            elif waits == "host":
                self._time_out("upload", "host_timeout")
            else:
                self.entry.why = "reader"
                client = self.client
                self._end()
                client.cut(now=True)

    def _waits_for(self) -> Waits | None:
        if self._paused_host:
            return "reader"
        if self._body_complete or self._response is not None:
            return None
        if self._upload_paused:
            return "host"
        return "client" if self._connection is not None or self._peeks else None

    def _time_out(self, why: str, code: str) -> None:
        # a client that is slow to send or to read is not the host's fault
        slow_host = why == "upload" or (self._body_complete and self._response is None)
        if self._lease is not None and why != "body" and slow_host:
            self._lease.failed("took too long")
            self._failure = UpstreamTimeout("took too long")
        self._refuse(ERROR_RESPONSES[code], why)

    # -- its end ----------------------------------------------------------------------------------

    def _refuse_without_host(self, error: NoHostsError) -> None:
        if isinstance(error, SessionUnavailableError):
            self._refuse(ERROR_RESPONSES["session_unavailable"], str(error))
        elif self._failure is not None:
            self._refuse(problem_of(self._failure))
        elif isinstance(error, NoCapacityError):
            self._refuse(ERROR_RESPONSES["busy"])
        else:
            self._refuse(ERROR_RESPONSES["no_host"], str(error))

    def _refuse(self, problem: ErrorResponse, why: str = "") -> None:
        """Answer with ``problem``, or cut a response that has begun."""
        entry, client = self.entry, self.client
        entry.why = why or entry.why or problem.code
        if self._response is not None:  # the client has the beginning of another response
            client.flush()
            self._end()
            client.cut(now=False)
            return
        entry.status = problem.status
        fault = "" if self._failure is None else self._failure.fault
        accept = self.head.header(b"accept").decode("latin-1")
        kind, body = error_body(problem, entry.request_id, accept, entry.host, fault)
        fields = error_fields(problem, kind, self._id)
        # the rest of a body that is not read would be taken for the next request
        last = self.gateway.stopping or problem.status in (400, 408, 413) or not self._body_complete
        has_body = self.head.method != b"HEAD"
        client.write_head(problem.status, fields, b"%d" % len(body), has_body=has_body, last=last)
        if has_body:
            entry.given = len(body)
            client.write_body(body)
        self._end()
        client.write_end([])
        client.flush()

    def _end(self) -> None:
        """Give everything back, count it and log it. Nothing happens after it."""
        if self._over:
            return
        self._over = True
        gateway, entry = self.gateway, self.entry
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._tasks:
            for task in self._tasks:
                task.cancel()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        gateway.rounds.leave(self)
        gateway.in_flight -= 1
        entry.taken, entry.seconds = self._size, self._loop.time() - self.began
        self._kept = None
        gateway.counts.add(entry)
        if gateway.access_log is not None:
            gateway.access_log(entry)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            self._fail()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(self._guard(work))
        tasks = self._tasks = self._tasks or set()
        tasks.add(task)
        task.add_done_callback(tasks.discard)
