"""Transports for httpx2 and httpx 0.28: each request goes to the host of its client.

>>> from hashring import LoadBalancer
>>> lb = LoadBalancer(["10.0.0.1:8000", "10.0.0.2:8000"])
>>> transport = StickyTransport(lb, identity="X-Session")
>>> transport.client_id_of(transport.library.Request("GET", "/", headers={"X-Session": "s-42"}))
's-42'

``httpx2.Client(transport=StickyTransport(lb))`` and ``httpx2.AsyncClient(transport=
AsyncStickyTransport(lb))``, or the same of ``httpx``. Needs one of the two.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from hashring.balancer import LoadBalancer
from hashring.balancer.lease import Lease
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key
from hashring.net import split_address
from hashring.validators import STATUSES, WHOLE

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, 9.2.2
_UNSENT = ("ConnectError", "ConnectTimeout")
_BROKEN = ("ReadError", "WriteError", "RemoteProtocolError")
_LATE = ("ReadTimeout", "WriteTimeout")


class _Routing:
    """What both transports do beside waiting."""

    def __init__(
        self,
        lb: LoadBalancer,
        transport: Any = None,
        *,
        identity: str | Callable[[Any], Key | None] | None = None,
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
        self.library = _any_library() if transport is None else _library_of(transport)
        self._inner = transport
        self._identity = identity
        self._retries = WHOLE(retries, "retries")
        self._keep_host = keep_host
        self._statuses = frozenset(STATUSES(list(failure_statuses), "failure_statuses"))
        self._unsent = self._errors(_UNSENT)
        self._broken = self._errors(_BROKEN)
        self._failures = (*self._unsent, *self._broken, *self._errors(_LATE))

    def _errors(self, names: tuple[str, ...]) -> tuple[type[Exception], ...]:
        return tuple(getattr(self.library, name) for name in names)

    def client_id_of(self, request: Any) -> Key | None:
        """The client of a request: its extension ``client_id``, else what ``identity`` finds."""
        if "client_id" in request.extensions:
            found: Key | None = request.extensions["client_id"]
            return found
        if isinstance(self._identity, str):
            return request.headers.get(self._identity)  # type: ignore[no-any-return]
        return None if self._identity is None else self._identity(request)

    def _to_host(self, request: Any, host: Host) -> Any:
        """The same request to ``host``."""
        name, port = split_address(host.address)
        url = request.url.copy_with(host=name, port=port)
        headers = request.headers.copy()
        if not self._keep_host:
            headers["Host"] = url.netloc.decode("ascii")
        return self.library.Request(
            request.method,
            url,
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )

    def _goes_on(self, request: Any, lease: Lease, error: BaseException, tried: set[str]) -> bool:
        """End ``lease``, whose request failed; whether another host may be asked."""
        is_unsent = isinstance(error, self._unsent)
        if isinstance(error, self._failures):
            lease.failed(type(error).__name__, unreachable=is_unsent)
        lease.release()
        tried.add(lease.host.name)
        if len(tried) > self._retries or len(tried) >= len(self.balancer):
            return False
        if not isinstance(request.stream, self.library.ByteStream):
            return False  # a body that is read once
        return is_unsent or (request.method in _IDEMPOTENT and isinstance(error, self._broken))

    def _is_good(self, lease: Lease, response: Any) -> bool:
        """Whether the status does not count as a failure of the host; else it is noted."""
        if response.status_code not in self._statuses:
            return True
        lease.failed(str(response.status_code))
        return False


class StickyTransport(_Routing):
    """Sends each request of an httpx client to the host of its client ID.

    lb: the balancer; its hosts need addresses that can be connected to.
    transport: sends a request to one host; None for a new ``HTTPTransport`` of httpx2, or of httpx
        where that is installed alone.
    identity: the header with the client ID, or a function of the request that returns it; the
        request extension ``client_id`` comes first. A request without one is anonymous.
    retries: how many further hosts a request may try. Any method where there was no connection,
        idempotent ones where the connection broke before the response; never a body that can be
        read once only, and never after a timeout of the response.
    keep_host: whether the ``Host`` header stays that of the URL.
    failure_statuses: statuses that count as failures of the host, for outlier detection.

    A request counts on its host until the response is read or closed; its first part of a body
    ends the outstanding work. What the transport raises is raised unchanged, as are
    ``NoHostsError`` and ``InvalidKeyError``. Raises ``ConfigError`` for bad options. Cost: about
    5 us beside the transport.
    """

    def handle_request(self, request: Any) -> Any:
        """Send ``request`` to the host of its client."""
        client_id, tried = self.client_id_of(request), set[str]()
        while True:
            lease = self.balancer.lease(client_id, exclude=tried).acquire()
            try:
                response = self._transport.handle_request(self._to_host(request, lease.host))
            except BaseException as error:
                if self._goes_on(request, lease, error, tried):
                    continue
                raise
            stream, is_good = _sync_stream(self.library), self._is_good(lease, response)
            response.stream = stream(response.stream, lease, self._failures, is_good)
            return response

    @property
    def _transport(self) -> Any:
        if self._inner is None:
            self._inner = self.library.HTTPTransport()
        return self._inner

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> StickyTransport:
        self._transport.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._transport.__exit__(*raised)


class AsyncStickyTransport(_Routing):
    """As ``StickyTransport``, for ``AsyncClient``."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send ``request`` to the host of its client."""
        client_id, tried = self.client_id_of(request), set[str]()
        while True:
            lease = await self.balancer.lease(client_id, exclude=tried).aacquire()
            try:
                sent = self._to_host(request, lease.host)
                response = await self._transport.handle_async_request(sent)
            except BaseException as error:
                if self._goes_on(request, lease, error, tried):
                    continue
                raise
            stream, is_good = _async_stream(self.library), self._is_good(lease, response)
            response.stream = stream(response.stream, lease, self._failures, is_good)
            return response

    @property
    def _transport(self) -> Any:
        if self._inner is None:
            self._inner = self.library.AsyncHTTPTransport()
        return self._inner

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncStickyTransport:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._transport.__aexit__(*raised)


def _any_library() -> ModuleType:
    for name in ("httpx2", "httpx"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise ConfigError("hashring.integrations.httpx needs httpx2 or httpx: pip install httpx2")


def _library_of(transport: Any) -> ModuleType:
    """The package whose transport this is."""
    for each in type(transport).__mro__:
        if each.__name__ in ("BaseTransport", "AsyncBaseTransport"):
            return sys.modules[each.__module__.partition(".")[0]]
    raise ConfigError(
        f"transport must be one of httpx2 or httpx, got {type(transport).__name__}",
        option="transport",
    )


@lru_cache(2)
def _sync_stream(library: Any) -> Any:
    """The body of a response with its lease, as a class of ``library``, which asks for its own."""

    class LeasedStream(library.SyncByteStream):  # type: ignore[misc]  # a class of either library
        def __init__(self, stream: Any, lease: Lease, failures: Any, is_good: bool) -> None:
            self._stream, self._lease, self._failures = stream, lease, failures
            self._is_good = is_good

        def __iter__(self) -> Iterator[bytes]:
            try:
                for part in self._stream:
                    _begin(self._lease, part)
                    yield part
            except self._failures as error:
                self._lease.failed(type(error).__name__)
                raise
            if self._is_good:
                self._lease.ok()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._lease.release()

    return LeasedStream


@lru_cache(2)
def _async_stream(library: Any) -> Any:
    """As ``_sync_stream``, to be awaited."""

    class AsyncLeasedStream(library.AsyncByteStream):  # type: ignore[misc]  # as above
        def __init__(self, stream: Any, lease: Lease, failures: Any, is_good: bool) -> None:
            self._stream, self._lease, self._failures = stream, lease, failures
            self._is_good = is_good

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for part in self._stream:
                    _begin(self._lease, part)
                    yield part
            except self._failures as error:
                self._lease.failed(type(error).__name__)
                raise
            if self._is_good:
                self._lease.ok()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._lease.release()

    return AsyncLeasedStream


def _begin(lease: Lease, part: bytes) -> None:
    if part:
        lease.started()
