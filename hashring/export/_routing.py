"""The routing of a proxy: hosts, placement, identity, and the rules of health."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, Literal

from hashring import placement as placements
from hashring.errors import ConfigError
from hashring.health import OutlierRules, ProbeRules
from hashring.hosts import Host, HostsLike, as_hosts
from hashring.net import parse_address
from hashring.placement import Table
from hashring.validators import inherit_option

_MOST = 256  # HAProxy's highest weight, the lowest of the proxies'
_HOST = re.compile(r"[A-Za-z0-9_.:\-]+")


def endpoint(text: str, what: str) -> tuple[str, int]:
    """Host and port of ``127.0.0.1:9001`` or ``[::1]:9001``; ``ConfigError`` names ``what``.

    >>> endpoint("[::1]:9001", "listen")
    ('::1', 9001)
    """
    host, port = parse_address(text, what=f"{what}: an address", option="address")
    if not _HOST.fullmatch(host):  # it is written into the proxy's file
        raise ConfigError(
            f"{what}: an address must be ADDRESS:PORT with a host name or an IP address, got "
            f"{text!r}",
            option="address",
        )
    return host, port


def network(text: str, proxy: str) -> IPv4Network | IPv6Network:
    """A network of trusted proxies; ``ConfigError`` for an invalid one.

    >>> network("10.0.0.0/8", "Envoy")
    IPv4Network('10.0.0.0/8')
    """
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigError(
            f"{proxy} trusts networks of addresses, such as '10.0.0.0/8', got {text!r}",
            option="trusted",
        ) from None


@dataclass(frozen=True, slots=True)
class Checks:
    """How a host is probed, as by ``hashring.health``."""

    probe: Literal["http", "tcp"] = "tcp"
    path: str = "/"
    port: int | None = None
    interval: float = inherit_option(ProbeRules, "interval")
    timeout: float = inherit_option(ProbeRules, "timeout")
    fall: int = inherit_option(ProbeRules, "fall")
    rise: int = inherit_option(ProbeRules, "rise")
    fast: float = inherit_option(ProbeRules, "fast")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A sticky cookie that the Python router and the proxy both read and write.

    ``cookie`` is its name; ``key`` is HAProxy's ``dynamic-cookie-key``, which nginx lacks.
    """

    cookie: str = "hashring-host"
    key: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_\-]+", self.cookie):
            raise ConfigError(
                f"a bridge's cookie is of letters, digits, - and _, got {self.cookie!r}",
                option="cookie",
            )
        if not re.fullmatch(r"[A-Za-z0-9_\-]*", self.key):
            raise ConfigError("a bridge's key is of letters, digits, - and _", option="key")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Routing:
    """The routing of a proxy; the defaults are those of the gateway.

    ``hosts`` are in the order of the placement. ``identity`` lists where a client ID is read, the
    first one found counts: ``header:NAME``, ``cookie:NAME``, ``query:NAME``,
    ``path:NUMBER`` or ``address``; a source of ``hashring.affinity`` has its own as
    ``source.places``. ``trusted`` are networks of proxies whose ``X-Forwarded-For`` is accepted.
    With a ``bridge``, a cookie places clients, and placement and identity are not used.
    Raises ``ConfigError``.

    >>> Routing(["10.0.0.1:80"], "nginx-consistent", identity=["cookie:sid"]).hosts
    (Host('10.0.0.1:80'),)
    """

    hosts: HostsLike
    placement: str
    options: Mapping[str, Any] = field(default_factory=_nothing)
    identity: Iterable[str] = ()
    listen: str = "127.0.0.1:8080"
    checks: Checks | None = Checks()  # frozen
    ejection: OutlierRules | None = field(default_factory=OutlierRules)
    panic: float = 0.0
    load_factor: float | None = None
    retries: int = 2
    connect: float = 2.0
    idle: float = 60.0
    trusted: Iterable[str] = ()
    bridge: Bridge | None = None
    table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("identity", "trusted"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} takes several texts, got one", option=name)
        put = object.__setattr__  # the documented way to set fields of a frozen dataclass
        put(self, "hosts", as_hosts(self.hosts))
        put(self, "identity", tuple(self.identity))
        put(self, "trusted", tuple(self.trusted))
        put(self, "table", placements.create(self.placement, self.hosts, **self.options))
        if not self.pool:
            raise ConfigError("there is no host to export", option="hosts")
        endpoint(self.listen, "listen")
        for host in self.pool:
            if not host.name.isprintable():  # a line break in a name would be a line of its own
                raise ConfigError(f"host {host.name!r}: a proxy's file holds printable names only")
            endpoint(host.address, f"host {host.name!r}")

    @property
    def pool(self) -> tuple[Host, ...]:
        """The hosts."""
        hosts: Any = self.hosts
        settled: tuple[Host, ...] = hosts
        return settled

    @property
    def weights(self) -> tuple[int, ...]:
        """The weights as whole numbers, in the order of the hosts.

        The placements of proxies take only these; with a bridge, where weights do not move known
        clients, other weights are scaled to 100 and less.

        >>> Routing({"a:1": 1, "b:1": 2.5}, "ring", bridge=Bridge()).weights
        (40, 100)
        """
        weights = [host.weight for host in self.pool]
        if self.bridge is None:
            return tuple(map(int, weights))
        highest = max(weights)
        if highest <= _MOST and all(weight.is_integer() for weight in weights):
            return tuple(map(int, weights))
        return tuple(max(1, round(100 * weight / highest)) for weight in weights)

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """``(kind, name)`` of each place of the identity.

        >>> Routing(["a:1"], "ring", identity=["header:x", "address"]).terms
        (('header', 'x'), ('address', ''))
        """
        parts = (place.partition(":") for place in self.identity)
        return tuple((kind, name) for kind, _, name in parts)

    def option(self, name: str) -> Any:
        """An option of the placement, given or its default; None where it has no such option."""
        return {**placements.options(self.placement), **self.options}.get(name)
