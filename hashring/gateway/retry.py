"""The tries of one request, within the budget of all requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hashring.balancer import Lease
from hashring.errors import NoCapacityError, NoHostsError
from hashring.gateway.error_responses import ERROR_RESPONSES, ErrorResponse, RequestRefused
from hashring.gateway.forwarded_request import ForwardedRequest
from hashring.gateway.generation import Generation
from hashring.gateway.upstream import ConnectError, InvalidResponse, UpstreamError, UpstreamTimeout


async def try_hosts(
    gateway: Generation,
    caller: ForwardedRequest,
    ask: Callable[[Lease], Awaitable[None]],
    may_repeat: Callable[[UpstreamError], bool],
) -> None:
    """Let ``ask`` talk to one host after the other, until it does not raise ``UpstreamError``.

    A host is asked once; another one only if ``may_repeat`` accepts the error and the limits
    allow it. Raises ``RequestRefused`` when no further host is allowed or left, ``NoHostsError``
    without any host.
    """
    entry, tried = caller.entry, list[str]()
    gateway.budget.deposit()
    failure: UpstreamError | None = None
    while True:
        try:
            lease = await _acquired(gateway, caller, tried)
        except NoHostsError as error:
            if failure is not None:
                raise RequestRefused(_problem(failure)) from None
            if isinstance(error, NoCapacityError):
                raise RequestRefused(ERROR_RESPONSES["busy"]) from None
            raise
        if failure is not None:
            gateway.stats["retries"] += 1
        entry.tries += 1
        entry.host, entry.reason = lease.host.name, lease.reason
        try:
            await ask(lease)
            return
        except UpstreamError as error:
            failure = error
            entry.why = error.why
            # not counted: what this process lacks, and a response that is not valid HTTP, because a
            # client can cause that (a long Location, a reflected header)
            if not error.own and not isinstance(error, InvalidResponse):
                lease.failed(error.why)
        finally:
            lease.release()
        tried.append(entry.host)
        if len(tried) > gateway.limits.retries or not may_repeat(failure):
            raise RequestRefused(_problem(failure))
        if not gateway.budget.withdraw():
            gateway.stats["retries_refused"] += 1
            raise RequestRefused(_problem(failure))


async def _acquired(gateway: Generation, caller: ForwardedRequest, tried: list[str]) -> Lease:
    """A lease of the next host; at the limit of its requests after a wait for room."""
    given: dict[str, Any] = {
        "prefer": caller.prefer,
        "exclude": tried,
        "cost": caller.cost,
        "group": caller.group,
    }
    wait = gateway.timeouts.queue
    if wait and not tried:
        return await gateway.lb.aacquire(caller.client_id, wait=wait, **given)
    return await gateway.lb.lease(caller.client_id, **given).aacquire()


def _problem(error: UpstreamError) -> ErrorResponse:
    """The response to the client after ``error``."""
    if isinstance(error, ConnectError):
        return ERROR_RESPONSES["host_unreachable"]
    if isinstance(error, UpstreamTimeout):
        return ERROR_RESPONSES["host_timeout"]
    return ERROR_RESPONSES["host_garbled" if isinstance(error, InvalidResponse) else "host_failed"]
