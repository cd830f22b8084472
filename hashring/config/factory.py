"""Objects made of settings: the balancer, its tokens, identity, health and discovery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from hashring import discovery as sources
from hashring import placement as placements
from hashring import strategies
from hashring.affinity import (
    CookieOptions,
    IdentitySource,
    PinTable,
    RedisPins,
    TokenAffinity,
    Tokens,
    TrustedProxies,
)
from hashring.affinity.envelope import Envelope
from hashring.affinity.first_visits import FirstVisits
from hashring.balancer import LoadBalancer
from hashring.config import named
from hashring.config.settings import PoolSettings, Settings
from hashring.errors import ConfigError, HashringError, PoolFullError
from hashring.health import HealthMonitor, HttpProbe, OutlierRules, ProbeRules, SlowStart, TcpProbe
from hashring.hosts import Host
from hashring.net import is_loopback, split_address, split_endpoint
from hashring.tls import HostTls, ListenerTls
from hashring.validators import inherit_options

HOLDER = "settings"
"""The holder of drains that the settings contain."""


def session_store(settings: Settings) -> PinTable | RedisPins | None:
    """The table of ``[sessions]``; None where there is none. Raises ``ConfigError``."""
    given = settings.sessions
    store = given.store
    if store is None:
        rules = named.learn_rules(given.learn)
        if all(rule.mode != "table" for rule, _ in rules):
            return None
        store = "memory"
    if store == "memory":
        return PinTable(given.size, idle=given.idle, lifetime=given.lifetime)
    return RedisPins(store, idle=given.idle)


def balancer(settings: Settings, pins: PinTable | RedisPins | None = None) -> LoadBalancer:
    """A balancer of the settings' hosts, with ``pins`` where it needs a table of sessions.

    Cost: that of its table. Raises as ``LoadBalancer``.
    """
    new_clients = settings.placement.new_clients
    fallback: Any = strategies.create(settings.fallback.strategy)
    slow = None
    if new_clients == "least-outstanding":  # which needs no slow start: a new host has no queue
        new_clients, fallback = "fallback", strategies.LeastOutstanding()
        if not settings.tokens.enabled and pins is None:
            pins = PinTable()  # or nothing would remember the host of a client
    elif settings.fallback.slow_start:
        slow = fallback = SlowStart(fallback, window=settings.fallback.slow_start)
    lb = LoadBalancer(
        settings.pool.hosts,
        placement=_recipe(settings),
        fallback=fallback,
        capacity=settings.pool.capacity,
        load_factor=settings.pool.load_factor,
        load_floor=settings.pool.load_floor,
        max_in_flight=settings.pool.max_in_flight,
        on_unavailable=settings.pool.on_unavailable,
        return_home=settings.pool.return_home,
        new_clients=new_clients,
        patience=settings.placement.patience,
        pins=pins,
    )
    if slow is not None:
        slow.follow(lb)
    if settings.tokens.enabled:
        lb.keeps_sessions(True)  # so that a drain keeps known clients
    for name in settings.pool.draining:
        lb.drain(name, by=HOLDER)
    return lb


def update_hosts(lb: LoadBalancer, pool: PoolSettings) -> None:
    """Make the hosts and drains of ``pool`` those of ``lb``; drains by others stay."""
    lb.set_hosts(pool.hosts)
    for host in pool.hosts:
        if host.name in pool.draining:
            lb.drain(host, by=HOLDER)
        else:
            lb.resume(host, by=HOLDER)


def discovery(settings: Settings, lb: LoadBalancer) -> sources.Discovery | None:
    """Keeps the pool of ``lb`` equal to the list of a source; None without a source."""
    given = settings.discovery
    if not given.url:
        return None
    return sources.Discovery(
        sources.source(given.url), lb, debounce=given.debounce, hold=given.hold, wait=given.wait
    )


def affinity(settings: Settings, lb: LoadBalancer) -> TokenAffinity | None:
    """Keeps clients by tokens; None where tokens are off. It needs ``tokens.secrets``."""
    tokens = settings.tokens
    if not tokens.enabled:
        return None
    made = Tokens(tokens.secrets, max_age=tokens.max_age)
    secure: Any = tokens.cookie_secure
    options = inherit_options(CookieOptions, tokens)
    return TokenAffinity(
        lb, made, cookie=tokens.cookie, cookie_secure=secure, cookie_options=options
    )


def first_visits(settings: Settings) -> FirstVisits | None:
    """Where browsers without a cookie were just placed; None where that is off."""
    tokens = settings.tokens
    if not tokens.enabled or tokens.cookie_hint is None:
        return None
    return FirstVisits(tokens.cookie_hint, proxies(settings))


def proxies(settings: Settings) -> TrustedProxies:
    """The proxies whose headers are accepted. Raises ``ConfigError`` for an invalid network."""
    header: Any = settings.gateway.trusted_header
    return TrustedProxies(settings.gateway.trusted_proxies, headers=header)


def identity(settings: Settings) -> IdentitySource | None:
    """Reads the client ID of a request; None without sources."""
    return named.identity(
        settings.identity.sources, proxies(settings), settings.limits.identity_body
    )


def monitor(settings: Settings, lb: LoadBalancer) -> HealthMonitor | None:
    """Marks hosts down by probes and failing requests; None where both are off."""
    health = settings.health
    if health.probe == "none" and not health.outliers.enabled:
        return None
    when: Any = health.when_all_down
    return HealthMonitor(
        lb,
        _probe(settings),
        _rules(settings),
        outliers=_outliers(settings),
        when_all_down=when,
        panic=health.panic or None,
    )


def find_conflicts(settings: Settings, skipped: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """``(key, what)`` for each object that cannot be made of values that are valid one by one.

    ``skipped`` tables had problems, so that they have defaults in the place of values.
    """
    parts: tuple[tuple[str, Callable[[Settings], object]], ...] = (
        ("health", _rules),
        ("health", _probe),
        ("health.outliers", _outliers),
        ("gateway.trusted_proxies", proxies),
        ("pool.hosts", _refuse_own_listener),
        ("tls", _try_listener_tls),
        ("host_tls", _try_tls),
        ("tokens", _try_tokens),
        ("sessions", _try_sessions),
        ("placement", _try_balancer),
    )
    for key, make in parts:
        if key.partition(".")[0] in skipped:
            continue
        try:
            make(settings)
        except HashringError as error:
            yield _key_of(key, error)


_ANY_HOST = Host("127.0.0.1:80")  # an address that every placement accepts

# options of the balancer that are not in the table of the placement
_POOL_KEYS = {
    "capacity": "pool.capacity",
    "load_factor": "pool.load_factor",
    "load_floor": "pool.load_floor",
    "max_in_flight": "pool.max_in_flight",
    "on_unavailable": "pool.on_unavailable",
    "weight": "pool.hosts",
}


def _key_of(part: str, error: HashringError) -> tuple[str, str]:
    """The key that an error is about, and its message without that key."""
    if isinstance(error, PoolFullError):
        return "pool.capacity", str(error)
    option = getattr(error, "option", None)
    if option is None or part == "gateway.trusted_proxies":
        return part, str(error)
    key = _POOL_KEYS.get(option, f"{part}.{option}")
    return key, str(error).removeprefix(f"{option} ")


def _recipe(settings: Settings) -> placements.Recipe | None:
    place = settings.placement
    if place.name == named.NO_PLACEMENT:
        return None
    secret = {} if place.key_secret is None else {"key_secret": place.key_secret}
    return placements.recipe(place.name, **place.options, **secret)


def _refuse_own_listener(settings: Settings) -> None:
    """Raise ``ConfigError`` for a host at which this gateway itself listens."""
    listener = settings.gateway.listen
    for host in settings.pool.hosts:
        if _is_same_place(host.address, listener):
            raise ConfigError(
                f"{host.address} is the gateway's own listener ({listener}), to which it would "
                "send its requests again: name the host behind it, or another gateway.listen"
            )


def _is_same_place(address: str, listener: str) -> bool:
    """Whether a connection to ``address`` reaches ``listener``, as far as the texts show it.

    >>> [_is_same_place(each, "0.0.0.0:80") for each in ("127.0.0.1:80", "web1:80", "[::1]:8")]
    [True, False, False]
    """
    if address == listener:  # a Unix socket
        return True
    try:
        _, host, port, _ = split_endpoint(address)
        own, own_port = split_address(listener)
    except ValueError:
        return False
    if port != own_port or not port:
        return False
    return host == own or (is_loopback(host) and own in ("0.0.0.0", "::"))


def _rules(settings: Settings) -> ProbeRules:
    return inherit_options(ProbeRules, settings.health)


def _outliers(settings: Settings) -> OutlierRules | None:
    rules = settings.health.outliers
    if not rules.enabled:
        return None
    return inherit_options(OutlierRules, rules)


async def _no_probe(host: Host) -> None:
    """The probe of a pool in which only requests decide on health."""


def _probe(settings: Settings) -> Any:
    health = settings.health
    if health.probe == "http":
        tls = settings.host_tls
        context = None if tls == HostTls() else tls.context()
        return HttpProbe(
            health.path, port=health.port, context=context, server_name=tls.server_name
        )
    return TcpProbe(port=health.port) if health.probe == "tcp" else _no_probe


def _try_balancer(settings: Settings) -> None:
    if not settings.pool.hosts:  # a source will name them
        settings = replace(settings, pool=replace(settings.pool, hosts=(_ANY_HOST,)))
    balancer(settings)


def _try_tls(settings: Settings) -> None:
    if settings.host_tls != HostTls():
        settings.host_tls.context()


def _try_listener_tls(settings: Settings) -> None:
    if settings.tls != ListenerTls():
        settings.tls.context()


def _try_tokens(settings: Settings) -> None:
    if settings.tokens.enabled:
        secrets = settings.tokens.secrets or (b"any secret of sixteen bytes",)
        affinity(
            replace(settings, tokens=replace(settings.tokens, secrets=secrets)), LoadBalancer()
        )


def envelope(settings: Settings, lb: LoadBalancer) -> Envelope | None:
    """Signs learned IDs; None where no rule needs it. Raises ``ConfigError`` without a secret."""
    if all(rule.mode != "envelope" for rule, _ in named.learn_rules(settings.sessions.learn)):
        return None
    return Envelope(lb, settings.tokens.secrets)


def _try_sessions(settings: Settings) -> None:
    given = settings.sessions
    if settings.tokens.enabled and not settings.tokens.secrets:  # one is made for the run
        settings = replace(settings, tokens=replace(settings.tokens, secrets=(b"x" * 16,)))
    envelope(settings, LoadBalancer())
    store = session_store(settings)
    if given.file is not None and not isinstance(store, PinTable):
        raise ConfigError('file is for sessions in memory: write store = "memory"', option="file")
    if isinstance(store, PinTable) and settings.gateway.workers != 1:
        raise ConfigError(
            "store must be redis://... with several gateway.workers: each of them would have a "
            "table of its own, and they would disagree",
            option="store",
        )
    if isinstance(store, RedisPins) and given.lifetime is not None:
        raise ConfigError("lifetime is for sessions in memory, Redis has idle", option="lifetime")
