"""A middleware for aiohttp's client: each request goes to the host of its client.

::

    lb = LoadBalancer(["10.0.0.1:8000", "10.0.0.2:8000"])
    middleware = StickyRequests(lb, identity="X-Session")
    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        async with session.get("http://app/", headers={"X-Session": "s-42"}) as response: ...

Needs aiohttp 3.12.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.payload import BytesPayload

from hashring.balancer import LoadBalancer
from hashring.balancer.lease import Lease
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key
from hashring.net import split_address
from hashring.validators import STATUSES, WHOLE

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, 9.2.2
_UNSENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_BROKEN = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)
_FAILURES = (*_UNSENT, *_BROKEN, aiohttp.ServerTimeoutError, aiohttp.ClientPayloadError)


class StickyRequests:
    """Sends each request of a ``ClientSession`` to the host of its client ID.

    lb: the balancer; its hosts need addresses that can be connected to.
    identity: the header with the client ID, or a function of the ``ClientRequest`` that returns it.
        A request without one is anonymous.
    retries: how many further hosts a request may try. Any method where there was no connection,
        idempotent ones where the connection broke before the response; only bodies of bytes, text
        or JSON, and never after a timeout of the response.
    keep_host: whether the ``Host`` header stays that of the URL.
    failure_statuses: statuses that count as failures of the host, for outlier detection.

    A request counts on its host, as outstanding work too, until its response is read, released or
    closed. What aiohttp raises is raised unchanged, as are ``NoHostsError`` and
    ``InvalidKeyError``. Raises ``ConfigError`` for bad options.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        *,
        identity: str | Callable[[aiohttp.ClientRequest], Key | None] | None = None,
        retries: int = 2,
        keep_host: bool = False,
        failure_statuses: tuple[int, ...] = (),
    ) -> None:
        if identity is not None and not isinstance(identity, str) and not callable(identity):
            raise ConfigError(
                f"identity must be a header's name or a function, got {identity!r}",
                option="identity",
            )
        self.balancer = lb
        self._identity = identity
        self._retries = WHOLE(retries, "retries")
        self._keep_host = keep_host
        self._statuses = frozenset(STATUSES(list(failure_statuses), "failure_statuses"))

    def client_id_of(self, request: aiohttp.ClientRequest) -> Key | None:
        """The client of a request, as ``identity`` finds it."""
        if isinstance(self._identity, str):
            return request.headers.get(self._identity)
        return None if self._identity is None else self._identity(request)

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send ``request`` to the host of its client; called by aiohttp."""
        client_id, tried = self.client_id_of(request), set[str]()
        while True:
            lease = await self.balancer.lease(client_id, exclude=tried).aacquire()
            try:
                self._address(request, lease.host)
                response = await handler(request)
            except BaseException as error:
                if self._goes_on(request, lease, error, tried):
                    continue
                raise
            if response.status in self._statuses:
                lease.failed(str(response.status))
            if response.connection is None:  # the response is complete
                _end(lease, response)
            else:
                response.connection.add_callback(partial(_end, lease, response))
            return response

    def _address(self, request: aiohttp.ClientRequest, host: Host) -> None:
        name, port = split_address(host.address)
        request.url = request.url.with_host(name).with_port(port)
        if not self._keep_host:
            request.headers["Host"] = request.url.authority

    def _goes_on(
        self, request: aiohttp.ClientRequest, lease: Lease, error: BaseException, tried: set[str]
    ) -> bool:
        """End ``lease``, whose request failed; whether another host may be asked."""
        is_unsent = isinstance(error, _UNSENT)
        if isinstance(error, _FAILURES):
            lease.failed(type(error).__name__, unreachable=is_unsent)
        lease.release()
        tried.add(lease.host.name)
        if len(tried) > self._retries or len(tried) >= len(self.balancer):
            return False
        if not isinstance(request.body, (bytes, BytesPayload)):
            return False  # a body that is read once
        return is_unsent or (request.method in _IDEMPOTENT and isinstance(error, _BROKEN))


def _end(lease: Lease, response: aiohttp.ClientResponse) -> None:
    """The connection of a response is free again."""
    if response.status and response.content.is_eof() and lease.why is None:
        lease.ok()
    elif isinstance(response.content.exception(), _FAILURES):
        lease.failed(type(response.content.exception()).__name__)
    lease.release()
