"""An adapter for requests: each request goes to the host of its client.

>>> import requests
>>> from hashring import LoadBalancer
>>> session = requests.Session()
>>> adapter = StickyAdapter(LoadBalancer(["10.0.0.1:8000", "10.0.0.2:8000"]), identity="X-Session")
>>> session.mount("http://app/", adapter)
>>> request = session.prepare_request(requests.Request("GET", "http://app/", {"X-Session": "s-42"}))
>>> adapter.client_id_of(request)
's-42'

Every ``session.get("http://app/...")`` then goes to the host of the client. Needs requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from hashring.balancer import LoadBalancer
from hashring.balancer.lease import Lease
from hashring.errors import ConfigError
from hashring.hosts import Host
from hashring.keys import Key
from hashring.validators import STATUSES, WHOLE

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})  # RFC 9110, 9.2.2
_FAILURES = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


class StickyAdapter(HTTPAdapter):
    """Sends each request of a session to the host of its client ID.

    lb: the balancer; its hosts need addresses that can be connected to.
    identity: the header with the client ID, or a function of the prepared request that returns it.
        A request without one is anonymous.
    retries: how many further hosts a request may try. Any method where there was no connection,
        idempotent ones where the connection broke before the response; never a body that can be
        read once only, and never after a timeout of the response.
    keep_host: whether the ``Host`` header stays that of the URL.
    failure_statuses: statuses that count as failures of the host, for outlier detection.
    adapter: options of ``HTTPAdapter``, such as ``pool_maxsize``.

    A request counts on its host until its response is read or closed; the first part of a streamed
    body ends the outstanding work. What requests raises is raised unchanged, as are
    ``NoHostsError`` and ``InvalidKeyError``. Raises ``ConfigError`` for bad options.
    """

    def __init__(
        self,
        lb: LoadBalancer,
        *,
        identity: str | Callable[[requests.PreparedRequest], Key | None] | None = None,
        retries: int = 2,
        keep_host: bool = False,
        failure_statuses: tuple[int, ...] = (),
        **adapter: Any,
    ) -> None:
        if identity is not None and not isinstance(identity, str) and not callable(identity):
            raise ConfigError(
                f"identity must be a header's name or a function, got {identity!r}",
                option="identity",
            )
        super().__init__(**adapter)
        self.balancer = lb
        self._identity = identity
        self._retries = WHOLE(retries, "retries")
        self._keep_host = keep_host
        self._statuses = frozenset(STATUSES(list(failure_statuses), "failure_statuses"))

    def client_id_of(self, request: requests.PreparedRequest) -> Key | None:
        """The client of a request, as ``identity`` finds it."""
        if isinstance(self._identity, str):
            found: str | bytes | None = request.headers.get(self._identity)
            return found
        return None if self._identity is None else self._identity(request)

    def send(self, request: requests.PreparedRequest, *args: Any, **given: Any) -> Any:
        """Send ``request`` to the host of its client; other arguments as of ``HTTPAdapter``."""
        client_id, tried = self.client_id_of(request), set[str]()
        while True:
            lease = self.balancer.lease(client_id, exclude=tried).acquire()
            try:
                sent = self._to_host(request, lease.host)
                response = super().send(sent, *args, **given)
            except BaseException as error:
                if self._goes_on(request, lease, error, tried):
                    continue
                raise
            is_good = response.status_code not in self._statuses
            if not is_good:
                lease.failed(str(response.status_code))
            response.raw = _LeasedBody(response.raw, lease, is_good)
            response.request, response.url = request, request.url or ""
            return response

    def _to_host(self, request: requests.PreparedRequest, host: Host) -> requests.PreparedRequest:
        """The same request to ``host``."""
        sent = request.copy()
        url = urlsplit(request.url or "")
        sent.url = url._replace(netloc=host.address).geturl()
        if self._keep_host:
            sent.headers.setdefault("Host", url.netloc)
        return sent

    def _goes_on(
        self,
        request: requests.PreparedRequest,
        lease: Lease,
        error: BaseException,
        tried: set[str],
    ) -> bool:
        """End ``lease``, whose request failed; whether another host may be asked."""
        is_unsent = isinstance(error, requests.ConnectTimeout) or _is_unsent(error)
        if isinstance(error, _FAILURES):
            lease.failed(type(error).__name__, unreachable=is_unsent)
        lease.release()
        tried.add(lease.host.name)
        if len(tried) > self._retries or len(tried) >= len(self.balancer):
            return False
        if not isinstance(request.body, (str, bytes, type(None))):
            return False  # a body that is read once
        broken = isinstance(error, requests.ConnectionError) and not isinstance(
            error, requests.Timeout
        )
        return is_unsent or (request.method in _IDEMPOTENT and broken)


def _is_unsent(error: BaseException) -> bool:
    """Whether no connection was made: urllib3's reason stands inside the error of requests."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


class _LeasedBody:
    """The body of a response, as requests reads it, and the lease that ends with it."""

    def __init__(self, raw: Any, lease: Lease, is_good: bool) -> None:
        self._raw, self._lease, self._is_good = raw, lease, is_good

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *args: Any, **given: Any) -> Iterator[bytes]:
        """The parts of the body."""
        try:
            for part in self._raw.stream(*args, **given):
                if part:
                    self._lease.started()
                yield part
        except Exception as error:
            self._lease.failed(type(error).__name__)
            raise
        else:
            self._end()
        finally:
            self._lease.release()

    def read(self, *args: Any, **given: Any) -> bytes:
        """Some or all of the body."""
        part: bytes = self._raw.read(*args, **given)
        self._lease.started()
        if self._raw.closed or not part:
            self._end()
        return part

    def close(self) -> None:
        """Close the connection."""
        try:
            self._raw.close()
        finally:
            self._lease.release()

    def release_conn(self) -> None:
        """Give the connection back."""
        try:
            self._raw.release_conn()
        finally:
            self._lease.release()

    def _end(self) -> None:
        """The whole response is there."""
        if self._is_good:
            self._lease.ok()
        self._lease.release()
