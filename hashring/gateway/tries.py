"""Which host is asked next?  The tries of one request, within the budget of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hashring.balancer import Lease
from hashring.errors import NoHostsError
from hashring.gateway.caller import Caller
from hashring.gateway.parts import Parts
from hashring.gateway.problems import PROBLEMS, Problem, Refused
from hashring.gateway.upstream import Garbled, Overdue, Unreachable, UpstreamError

__all__ = ["try_hosts"]


async def try_hosts(
    gateway: Parts,
    caller: Caller,
    ask: Callable[[Lease], Awaitable[None]],
    may_repeat: Callable[[UpstreamError], bool],
) -> None:
    """Let ``ask`` talk to one host after the other, until it does not raise ``UpstreamError``.

    A host is asked once; another one only when ``may_repeat`` says that the error lets it, and
    the limits do. Raises ``Refused`` when no more is allowed or left, ``NoHostsError`` when there
    was no host at all.
    """
    entry, tried = caller.entry, list[str]()
    gateway.budget.deposit()
    failure: UpstreamError | None = None
    while True:
        lease = gateway.lb.lease(caller.client_id, prefer=caller.prefer, exclude=tried)
        try:
            await lease.aacquire()
        except NoHostsError:
            if failure is None:
                raise
            raise Refused(_problem(failure)) from None
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
            if not error.own:  # else it is this process that lacks something
                lease.failed(error.why)
        finally:
            lease.release()
        tried.append(entry.host)
        if len(tried) > gateway.limits.retries or not may_repeat(failure):
            raise Refused(_problem(failure))
        if not gateway.budget.withdraw():
            gateway.stats["retries_refused"] += 1
            raise Refused(_problem(failure))


def _problem(error: UpstreamError) -> Problem:
    """What the client is told of ``error``."""
    if isinstance(error, Unreachable):
        return PROBLEMS["host_unreachable"]
    if isinstance(error, Overdue):
        return PROBLEMS["host_timeout"]
    return PROBLEMS["host_garbled" if isinstance(error, Garbled) else "host_failed"]
