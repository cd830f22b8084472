"""One request in flight: a lease counts on one host from its beginning to its end."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from hashring.balancer.reports import Reason
from hashring.errors import HashringError
from hashring.hosts import Host
from hashring.keys import Key
from hashring.load import LoadTracker, TrackedRequest, UnreachableReason

_NO_WAY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
"""Error numbers of a connection that was never made."""


class LeaseFlow(Protocol):
    """What a lease needs of the balancer: see ``PinFlow``."""

    tracker: LoadTracker
    failures: tuple[type[BaseException], ...]
    awaited: Any

    def enter(self, lease: Lease, /) -> None:
        """Choose a host for the lease and count it there."""

    async def enter_async(self, lease: Lease, /) -> None:
        """As ``enter``, with a store that must be awaited."""


class Lease:
    """One request on one host, made by ``LoadBalancer.lease``; not for use by two threads.

    Entered with ``with`` or ``async with``, or by ``acquire`` (``await aacquire()``) for a stream
    that ends elsewhere (a ``with`` around an acquired lease ends it). A store of pins that must be
    awaited is asked by the asynchronous ones.
    Leaving without an exception is a success, with one of the balancer's ``failures`` a failure
    of the host, with any other exception neither; ``ok`` and ``failed`` decide by hand. A plain
    ``release`` gives no outcome. A lease that is collected without a release counts no more, with a
    ``ResourceWarning``.

    >>> from hashring import LoadBalancer
    >>> lb = LoadBalancer(["a"])
    >>> with lb.lease("session-42") as lease:
    ...     lease.host.name, lease.reason, lb.load("a").in_flight
    ('a', 'owner', 1)
    >>> lb.load("a").in_flight, lb.load("a").ok
    (0, 1)
    """

    __slots__ = (
        "__weakref__",
        "_client_id",
        "_cost",
        "_exclude",
        "_failed",
        "_flow",
        "_group",
        "_has_begun",
        "_host",
        "_prefer",
        "_reason",
        "_remembers",
        "_request",
        "why",
    )

    _reason: Reason

    def __init__(
        self,
        flow: LeaseFlow,
        client_id: Key | None,
        prefer: str | Host | None,
        exclude: Iterable[str | Host],
        cost: float | None = None,
        group: str | bytes | None = None,
        remembers: bool = True,
    ) -> None:
        self._remembers = remembers
        self._flow = flow
        self._client_id = client_id
        self._prefer = prefer
        self._exclude = exclude
        self._cost = cost
        self._group = group
        self._has_begun = False
        self._host: Host | None = None
        self._failed: bool | None = None  # None: not decided
        self.why: str | None = None  # the argument of failed()
        self._request: TrackedRequest | None = None  # while the lease is open

    @property
    def host(self) -> Host:
        """Where the request goes. Raises ``HashringError`` before the lease has begun."""
        if self._host is None:
            raise HashringError("this lease has not begun: enter it with 'with', or acquire() it")
        return self._host

    @property
    def reason(self) -> Reason:
        """Why this host: see ``Reason``."""
        if self._host is None:
            self.host  # noqa: B018  # for its error
        return self._reason

    @property
    def is_async(self) -> bool:
        """Whether the store of pins must be awaited, so that only ``aacquire`` asks it."""
        return self._flow.awaited is not None and self._remembers

    def acquire(self) -> Lease:
        """Choose a host and count the request on it; ``release`` must follow.

        Raises ``NoHostsError``, and ``HashringError`` when the lease has begun before.
        """
        if self._has_begun:
            raise HashringError("this lease has begun before: take a new one for each request")
        try:
            self._has_begun = True
            self._flow.enter(self)
            return self
        except BaseException:
            self.withdraw()
            raise

    async def aacquire(self) -> Lease:
        """As ``acquire``, awaiting the store of pins where it must be awaited."""
        if self._flow.awaited is None:
            return self.acquire()
        if self._has_begun:
            raise HashringError("this lease has begun before: take a new one for each request")
        try:
            self._has_begun = True
            await self._flow.enter_async(self)
            return self
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """The request was not sent: the lease counts no more, and may begin again."""
        if self._request is not None:
            self._flow.tracker.leave(self._request, None)
        self._has_begun, self._host, self._request = False, None, None

    def started(self) -> None:
        """The response has begun: the request no longer counts as outstanding work of its host.

        For a response with a body this is its first non-empty part, because servers send the head
        of a stream before they compute. Any number of calls; ``release`` implies it; it gives no
        outcome.

        >>> from hashring import LoadBalancer
        >>> lb = LoadBalancer(["a"])
        >>> with lb.lease() as lease:
        ...     before = lb.load("a")
        ...     lease.started()
        ...     before.outstanding, lb.load("a").outstanding, lb.load("a").in_flight
        (1.0, 0.0, 1)
        """
        if self._request is not None:
            self._flow.tracker.start(self._request)

    def ok(self) -> None:
        """Decide: the host did well, however this block ends."""
        self._failed = False

    def failed(self, why: str | None = None, *, unreachable: bool = False) -> None:
        """Decide: the host failed, however this block ends.

        ``unreachable``: there was no connection, so the host cannot serve known clients either.
        """
        self._failed = True
        self.why = UnreachableReason(why or "unreachable") if unreachable else why

    def release(self) -> None:
        """End the request; a second call does nothing."""
        request = self._request
        if request is not None:
            tracker = self._flow.tracker
            tracker.leave(request, self._failed, self.why)
            self._request = None
            if request.load is None:  # not where a signal handler calls, and the end is deferred
                tracker.free.append(request)

    def __enter__(self) -> Lease:
        return self if self._request is not None else self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._failed is None:
            if kind is None:
                self._failed = False
            elif issubclass(kind, self._flow.failures):
                self.failed(kind.__name__, unreachable=_is_unreachable(error))
        self.release()

    async def __aenter__(self) -> Lease:
        return self if self._request is not None else await self.aacquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        if self._host is None:
            return "<Lease not begun>"
        state = "open" if self._request is not None else "released"
        return f"<Lease on {self._host} ({self._reason}), {state}>"


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether an exception reports that there was no connection.

    >>> _is_unreachable(ConnectionRefusedError(111, "refused")), _is_unreachable(TimeoutError())
    (True, False)
    """
    if isinstance(error, ConnectionRefusedError):
        return True
    return isinstance(error, OSError) and error.errno in _NO_WAY
