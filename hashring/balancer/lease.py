"""One request in flight: a lease counts on one host from its beginning to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeAlias

from hashring.balancer.reports import Reason
from hashring.errors import HashringError
from hashring.hosts import Host
from hashring.load import Ledger, LoadCell

__all__ = ["Lease"]

Entered: TypeAlias = tuple[Host, Reason, LoadCell]
Enter: TypeAlias = Callable[[Any, Any, Any], Entered]
EnterAsync: TypeAlias = Callable[[Any, Any, Any], Awaitable[Entered]]


class Lease:
    """One request on one host, made by ``LoadBalancer.lease``; not for use by two threads at once.

    Entered with ``with`` or ``async with``, or by ``acquire`` (``await aacquire()``) for a stream
    that ends elsewhere (a ``with`` around what was acquired ends it). A store of pins that must be
    awaited is asked by the asynchronous ones.
    Leaving without an exception is a success, with one of the balancer's ``failures`` a failure
    of the host, with any other exception neither; ``ok`` and ``failed`` decide by hand. A plain
    ``release`` says nothing about the host.

    >>> from hashring import LoadBalancer
    >>> lb = LoadBalancer(["a"])
    >>> with lb.lease("session-42") as lease:
    ...     lease.host.name, lease.reason, lb.load("a").in_flight
    ('a', 'owner', 1)
    >>> lb.load("a").in_flight, lb.load("a").ok
    (0, 1)
    """

    __slots__ = (
        "_asked",
        "_began",
        "_cell",
        "_enter",
        "_enter_async",
        "_failed",
        "_failures",
        "_host",
        "_ledger",
        "_reason",
        "why",
    )

    def __init__(
        self,
        enter: Enter,
        asked: tuple[Any, Any, Any],
        ledger: Ledger,
        failures: tuple[type[BaseException], ...],
        enter_async: EnterAsync | None = None,
    ) -> None:
        self._enter: Enter | None = enter  # None once the lease has begun
        self._enter_async = enter_async  # None where there is nothing to await
        self._asked = asked  # client ID, prefer, exclude
        self._ledger = ledger
        self._failures = failures
        self._cell: LoadCell | None = None
        self._host: Host | None = None
        self._failed: bool | None = None  # None: nobody has said
        self.why: str | None = None  # what failed() was told

    @property
    def host(self) -> Host:
        """Where the request goes. Raises ``HashringError`` before the lease has begun."""
        if self._host is None:
            raise HashringError("this lease has not begun: enter it with 'with', or acquire() it")
        return self._host

    @property
    def reason(self) -> Reason:
        """Why this host: pinned, owner, next, overflow or fallback."""
        self.host  # noqa: B018  # for its error
        return self._reason

    def acquire(self) -> Lease:
        """Choose a host and count the request on it; ``release`` must follow.

        Raises ``NoHostsError``, and ``HashringError`` when the lease has begun before.
        """
        if self._enter is None:
            raise HashringError("this lease has begun before: take a new one for each request")
        self._host, self._reason, self._cell = self._enter(*self._asked)
        self._enter = None
        self._began = self._ledger.clock()
        return self

    async def aacquire(self) -> Lease:
        """As ``acquire``, awaiting the store of pins where it must be awaited."""
        if self._enter_async is None or self._enter is None:
            return self.acquire()
        self._host, self._reason, self._cell = await self._enter_async(*self._asked)
        self._enter = None
        self._began = self._ledger.clock()
        return self

    def ok(self) -> None:
        """Decide: the host did well, whatever happens in this block from now on."""
        self._failed = False

    def failed(self, why: str | None = None) -> None:
        """Decide: the host failed, whatever happens in this block from now on."""
        self._failed, self.why = True, why

    def release(self) -> None:
        """End the request; a second call does nothing."""
        cell, self._cell = self._cell, None
        if cell is not None:
            self._ledger.leave(cell, self._failed, self._began, self.why)

    def __enter__(self) -> Lease:
        return self if self._cell is not None else self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._failed is None:
            if kind is None:
                self._failed = False
            elif issubclass(kind, self._failures):
                self._failed, self.why = True, kind.__name__
        self.release()

    async def __aenter__(self) -> Lease:
        return self if self._cell is not None else await self.aacquire()

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
        return f"<Lease on {self._host} ({self._reason}), {'open' if self._cell else 'released'}>"
