"""How do settings become a gateway, and a gateway with other settings the next one?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hashring import config
from hashring.balancer import LoadBalancer
from hashring.config import Settings
from hashring.gateway.access import AccessLog
from hashring.gateway.app import Gateway
from hashring.gateway.options import Limits, Timeouts
from hashring.hosts import Host
from hashring.pool import MACHINE_HOLDERS

__all__ = ["assembled", "carry_over", "only_hosts_differ", "same_hosts"]


def assembled(settings: Settings) -> Gateway:
    """A gateway of these settings, which need ``tokens.secrets`` where tokens are on.

    Cost: that of the pool's table. Raises ``ConfigError``.
    """
    lb = config.balancer(settings)
    log: Any = settings.gateway.access_log
    return Gateway(
        lb,
        identity=config.identity(settings),
        tokens=config.affinity(settings, lb),
        health=config.monitor(settings, lb),
        trusted=config.proxies(settings),
        timeouts=_timeouts(settings),
        limits=_limits(settings),
        keep_host=settings.gateway.host_header == "keep",
        access_log=None if log == "off" else AccessLog(log, key=_log_key(settings)),
    )


def _timeouts(settings: Settings) -> Timeouts:
    given = settings.timeouts
    return Timeouts(
        connect=given.connect,
        first_byte=given.first_byte or None,
        idle=given.idle or None,
        total=given.total or None,
        keep_alive=given.keep_alive,
        head=given.head,
        client_idle=given.client_idle,
    )


def _limits(settings: Settings) -> Limits:
    given = settings.limits
    return Limits(
        head=given.head,
        headers=given.headers,
        body=given.body or None,
        message=given.message,
        retries=given.retries,
        retry_share=given.retry_share,
        retry_rate=given.retry_rate,
    )


def _log_key(settings: Settings) -> bytes | None:
    """Routers that share the tokens' secret write one hash for one client."""
    return settings.tokens.secrets[0] if settings.tokens.secrets else None


def only_hosts_differ(old: Settings, new: Settings) -> bool:
    """Whether a change of the hosts is all that leads from ``old`` to ``new``.

    >>> from hashring.config import Pool
    >>> from hashring.hosts import Host
    >>> only_hosts_differ(Settings(), Settings(pool=Pool(hosts=(Host("a:1"),))))
    True
    """
    return replace(new, pool=replace(new.pool, hosts=old.pool.hosts)) == old


def same_hosts(old: Settings, new: Settings) -> bool:
    """Whether the hosts are the same in every field: two are equal when only their names are.

    >>> from hashring.config import Pool
    >>> from hashring.hosts import Host
    >>> one, two = (Settings(pool=Pool(hosts=(Host("a:1", weight),))) for weight in (1, 2))
    >>> one == two, same_hosts(one, two)
    (True, False)
    """
    before, after = old.pool.hosts, new.pool.hosts
    return len(before) == len(after) and all(map(Host.same, before, after))


def carry_over(old: LoadBalancer, new: LoadBalancer, now: float, *, watched: bool) -> None:
    """Tell ``new`` who is held down or drained in ``old``; ``now`` is a reading of their clock.

    The probes' marks go along where ``new`` is ``watched``, by a monitor that will end them.
    Counts of requests in flight begin anew, and so does outlier detection.
    """
    left_behind = MACHINE_HOLDERS - ({"probe"} if watched else set())
    for name, member in old.snapshot.members.items():
        if name not in new:
            continue
        for holder, why in member.down.items():
            if holder not in left_behind:
                new.mark_down(name, why, by=holder)
        for holder, end in member.drains.items():
            left = None if end is None else max(0.0, end - now)
            new.drain(name, deadline=left, by=holder)
