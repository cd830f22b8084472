"""What are the settings' objects?  The balancer, its tokens, identity and health."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from hashring import discovery as sources
from hashring import placement as placements
from hashring import strategies
from hashring.affinity import Source, TokenAffinity, Tokens, TrustedProxies
from hashring.balancer import LoadBalancer
from hashring.config import names
from hashring.config.settings import Settings
from hashring.errors import HashringError, PoolFullError
from hashring.health import HealthMonitor, HttpProbe, OutlierRules, Rules, SlowStart, TcpProbe
from hashring.hosts import Host

__all__ = ["affinity", "balancer", "discovery", "identity", "monitor", "proxies", "trial"]


def balancer(settings: Settings) -> LoadBalancer:
    """A balancer of the settings' hosts. Cost: that of its table. Raises as ``LoadBalancer``."""
    fallback: Any = strategies.create(settings.fallback.strategy)
    slow = None
    if settings.fallback.slow_start:
        slow = fallback = SlowStart(fallback, window=settings.fallback.slow_start)
    lb = LoadBalancer(
        settings.pool.hosts,
        placement=_recipe(settings),
        fallback=fallback,
        capacity=settings.pool.capacity or None,
        load_factor=settings.pool.load_factor or None,
        load_floor=settings.pool.load_floor,
        new_clients=settings.fallback.new_clients,
    )
    if slow is not None:
        slow.follow(lb)
    return lb


def discovery(settings: Settings, lb: LoadBalancer) -> sources.Discovery | None:
    """What keeps the pool of ``lb`` as a source says; None where the hosts are the file's."""
    given = settings.discovery
    if not given.url:
        return None
    return sources.Discovery(
        sources.source(given.url), lb, quiet=given.quiet, grace=given.grace, wait=given.wait
    )


def affinity(settings: Settings, lb: LoadBalancer) -> TokenAffinity | None:
    """What keeps clients by tokens; None where tokens are off. It needs ``tokens.secrets``."""
    tokens = settings.tokens
    if not tokens.enabled:
        return None
    made = Tokens(tokens.secrets, max_age=tokens.max_age)
    secure: Any = tokens.cookie_secure
    return TokenAffinity(lb, made, cookie=tokens.cookie, cookie_secure=secure)


def proxies(settings: Settings) -> TrustedProxies:
    """The proxies whose word is taken. Raises ``ConfigError`` for what is no network."""
    believed: Any = settings.gateway.trusted_header
    return TrustedProxies(settings.gateway.trusted_proxies, headers=believed)


def identity(settings: Settings) -> Source | None:
    """What reads the client ID of a request; None: nothing does."""
    return names.identity(settings.identity.sources, proxies(settings))


def monitor(settings: Settings, lb: LoadBalancer) -> HealthMonitor | None:
    """What holds hosts down by probes and failing requests; None where both are off."""
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


def trial(settings: Settings, doubtful: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """``(key, what)`` for each part that cannot be made of values that are good by themselves.

    ``doubtful`` tables hold defaults where mistakes were: what is made of them says nothing.
    """
    parts: tuple[tuple[str, Callable[[Settings], object]], ...] = (
        ("health", _rules),
        ("health", _probe),
        ("health.outliers", _outliers),
        ("gateway.trusted_proxies", proxies),
        ("tokens", _tokens_trial),
        ("placement", _balancer_trial),
    )
    for key, make in parts:
        if key.partition(".")[0] in doubtful:
            continue
        try:
            make(settings)
        except HashringError as error:
            yield _blamed(key, error)


_SOMEBODY = Host("127.0.0.1:80")  # an address as every placement takes it

# what a balancer is given that the placement's table does not hold
_OF_THE_POOL = {
    "capacity": "pool.capacity",
    "load_factor": "pool.load_factor",
    "load_floor": "pool.load_floor",
    "weight": "pool.hosts",
}


def _blamed(part: str, error: HashringError) -> tuple[str, str]:
    """The key that an error is about, and what it says of it."""
    if isinstance(error, PoolFullError):
        return "pool.capacity", str(error)
    option = getattr(error, "option", None)
    if option is None or part == "gateway.trusted_proxies":
        return part, str(error)
    key = _OF_THE_POOL.get(option, f"{part}.{option}")
    return key, str(error).removeprefix(f"{option} ")


def _recipe(settings: Settings) -> placements.Recipe | None:
    place = settings.placement
    if place.name == names.NO_PLACEMENT:
        return None
    secret = {} if place.key_secret is None else {"key_secret": place.key_secret}
    return placements.recipe(place.name, **place.options, **secret)


def _rules(settings: Settings) -> Rules:
    health = settings.health
    return Rules(health.interval, health.timeout, health.fall, health.rise, health.fast)


def _outliers(settings: Settings) -> OutlierRules | None:
    rules = settings.health.outliers
    if not rules.enabled:
        return None
    return OutlierRules(rules.failures, rules.base, rules.cap, rules.share)


async def _nobody_asks(host: Host) -> None:
    """The probe of a pool whose requests alone say who is well."""


def _probe(settings: Settings) -> Any:
    health = settings.health
    if health.probe == "http":
        return HttpProbe(health.path, port=health.port or None)
    return TcpProbe(port=health.port or None) if health.probe == "tcp" else _nobody_asks


def _balancer_trial(settings: Settings) -> None:
    if not settings.pool.hosts:  # a source will name some, and no host tries no option
        settings = replace(settings, pool=replace(settings.pool, hosts=(_SOMEBODY,)))
    balancer(settings)


def _tokens_trial(settings: Settings) -> None:
    if settings.tokens.enabled:
        made = Tokens(settings.tokens.secrets or b"any secret, for the trial")
        TokenAffinity(LoadBalancer(), made, cookie=settings.tokens.cookie)
