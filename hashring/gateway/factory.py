"""Generations made of settings, and the state that the next one takes over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hashring import config
from hashring import placement as placements
from hashring.affinity import LoadExchange, PinTable
from hashring.affinity.session_file import SessionFile
from hashring.balancer import LoadBalancer
from hashring.config import Settings
from hashring.config.factory import HOLDER as SETTINGS
from hashring.config.named import NO_PLACEMENT, learn_rules
from hashring.discovery import HOLDER as SOURCE
from hashring.discovery import Notice
from hashring.gateway.access import AccessLog
from hashring.gateway.generation import Generation
from hashring.gateway.line_writer import writer_of
from hashring.gateway.request_cost import RequestCost
from hashring.gateway.sessions import GatewaySessions
from hashring.hosts import Host
from hashring.net import split_endpoint
from hashring.pool import MACHINE_HOLDERS
from hashring.text import plural

_log = logging.getLogger("hashring")


def build_generation(settings: Settings, old: Generation | None = None) -> Generation:
    """The objects of these settings, which need ``tokens.secrets`` where tokens are on.

    ``old`` is the generation before, whose sessions in memory stay. Cost: that of the pool's table.
    Raises ``ConfigError``.
    """
    place = settings.placement
    by_load = place.new_clients == "least-outstanding"
    store: Any = config.session_store(settings)
    if store is None and by_load and not settings.tokens.enabled:
        store = PinTable()
    file = None if settings.sessions.file is None else SessionFile(settings.sessions.file)
    if isinstance(store, PinTable):
        if old is not None and old.pins is not None:
            if old.pins.limits == store.limits:
                store = old.pins
            else:
                store.restore(old.pins.dump())
        elif file is not None:
            file.load(store)
    pins = store if isinstance(store, PinTable) else None
    lb = config.balancer(settings, store)
    discovery = config.discovery(settings, lb)
    if discovery is not None:
        discovery.subscribe(lambda notice: _log_change(notice, lb))
    exchange = None
    if by_load and place.sync is not None:
        exchange = LoadExchange(lb, place.sync, interval=place.sync_interval)
    return Generation(
        lb,
        identity=config.identity(settings),
        tokens=config.affinity(settings, lb),
        first_visits=config.first_visits(settings),
        health=config.monitor(settings, lb),
        discovery=discovery,
        trusted=config.proxies(settings),
        timeouts=settings.timeouts,
        tls=settings.host_tls,
        limits=settings.limits,
        keep_host=settings.gateway.host_header == "keep",
        access_log=_access_log(settings),
        placement=_placement(settings),
        cost=RequestCost(place.cost.from_, place.group) if by_load else None,
        pins=pins,
        exchange=exchange,
        decision_header=settings.gateway.decision_header,
        failure_statuses=settings.health.outliers.statuses,
        sessions=_sessions(settings, lb, store, file),
    )


def _access_log(settings: Settings) -> AccessLog | None:
    form: Any = settings.gateway.access_log
    if form == "off":
        return None
    return AccessLog(
        form,
        writer_of(settings.gateway.access_log_to),
        key=_log_key(settings),
        plain=settings.gateway.access_log_client == "plain",
    )


def _sessions(
    settings: Settings, lb: LoadBalancer, store: Any, file: SessionFile | None
) -> GatewaySessions | None:
    """Learned sessions and the table; None where only tokens keep clients."""
    given = settings.sessions
    if store is None and not given.learn:
        return None
    return GatewaySessions(
        lb,
        list(learn_rules(given.learn, settings.limits.identity_body)),
        store=store,
        envelope=config.envelope(settings, lb),
        forget_header=given.forget_header,
        file=file,
    )


def _log_change(notice: Notice, lb: LoadBalancer) -> None:
    if notice.kind != "changed":
        return
    _log.info("the pool: %s, %s", plural(len(lb), "host"), lb.fingerprint)
    portless = [host.address for host in lb.hosts if not _has_port(host.address)]
    if portless:
        _log.warning(
            "%s of %d cannot be reached without a port in the address: %s",
            plural(len(portless), "host"),
            len(lb),
            ", ".join(portless[:3]) + (", ..." if len(portless) > 3 else ""),
        )


def _has_port(address: str) -> bool:
    """Whether an address has a port; a URL needs none.

    >>> [_has_port(address) for address in ("web1:80", "https://web1", "web1", "fd00::1")]
    [True, True, False, False]
    """
    try:
        found = split_endpoint(address)
        return bool(found.path) or found.port is not None
    except ValueError:
        return False


def _placement(settings: Settings) -> tuple[str, Mapping[str, Any]] | None:
    """Its name and its options, defaults too."""
    place = settings.placement
    if place.name == NO_PLACEMENT:
        return None
    return place.name, {**placements.options(place.name), **place.options}


def _log_key(settings: Settings) -> bytes | None:
    """Routers with the same token secret write the same hash for a client."""
    return settings.tokens.secrets[0] if settings.tokens.secrets else None


def only_hosts_differ(old: Settings, new: Settings) -> bool:
    """Whether a change of the hosts is all that leads from ``old`` to ``new``.

    >>> from hashring.config import PoolSettings
    >>> from hashring.hosts import Host
    >>> only_hosts_differ(Settings(), Settings(pool=PoolSettings(hosts=(Host("a:1"),))))
    True
    """
    pool = replace(new.pool, hosts=old.pool.hosts, draining=old.pool.draining)
    return replace(new, pool=pool) == old


def same_hosts(old: Settings, new: Settings) -> bool:
    """Whether the hosts are the same in every field: two are equal when only their names are.

    >>> from hashring.config import PoolSettings
    >>> from hashring.hosts import Host
    >>> one, two = (Settings(pool=PoolSettings(hosts=(Host("a:1", weight),))) for weight in (1, 2))
    >>> one == two, same_hosts(one, two)
    (True, False)
    """
    before, after = old.pool.hosts, new.pool.hosts
    same = len(before) == len(after) and all(map(Host.same, before, after))
    return same and old.pool.draining == new.pool.draining


def keeps_hosts(old: Settings, new: Settings, known: bool) -> bool:
    """Whether a gateway of ``new`` begins with the hosts that one of ``old`` has now.

    ``known``: its source has listed them. The last good pool stays if the source is the same one,
    or if the file names no host.
    """
    if not new.discovery.url:
        return False
    return not new.pool.hosts or (known and new.discovery.url == old.discovery.url)


def carry_over(
    old: LoadBalancer,
    new: LoadBalancer,
    now: float,
    *,
    watched: bool,
    followed: bool = False,
    hosts: bool = False,
) -> None:
    """Copy marks and drains of ``old`` to ``new``; ``now`` is a reading of their clock.

    The probes' marks go along where ``new`` is ``watched``, by a monitor that will end them, and
    the source's drains where it is ``followed``. With ``hosts`` those of ``old`` come first.
    Counts of requests in flight and outlier detection start again.
    """
    left_behind = MACHINE_HOLDERS - ({"probe"} if watched else set())
    if hosts:
        new.set_hosts(old.hosts)
    for name, member in old.snapshot.members.items():
        if name not in new:
            continue
        for holder, why in member.down.items():
            if holder not in left_behind:
                new.mark_down(name, why, by=holder)
        for holder, end in member.drains.items():
            if holder == SETTINGS or holder in left_behind or (holder == SOURCE and not followed):
                continue  # the new gateway has its own; without a source it would never end
            left = None if end is None else max(0.0, end - now)
            new.drain(name, deadline=left, by=holder)
