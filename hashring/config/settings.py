"""All settings: one frozen class for each table of the file, one field for each key.

A key is declared once, by ``option``: its default, validator and help. Options of other rooms
(probe rules, outlier rules, the balancer's) are declared beside their user and appear here by
``inherit_option``. ``hashring init``, ``check``, ``--show-config`` and the guide read this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from hashring.affinity import CookieOptions
from hashring.affinity.identity import IDENTITY_BODY
from hashring.affinity.load_exchange import INTERVAL
from hashring.balancer.options import BalancerOptions
from hashring.balancer.pin_table import IDLE, SIZE
from hashring.config import named
from hashring.discovery import DEBOUNCE, HOLD, WAIT
from hashring.health import OutlierRules, ProbeRules
from hashring.hosts import Host
from hashring.tls import HostTls, ListenerTls
from hashring.validators import (
    BYTES,
    COUNT,
    FLAG,
    FRACTION,
    HEADER,
    LISTEN_ADDRESS,
    NUMBER,
    PATH,
    PORT,
    SECONDS,
    SECONDS_OR_ZERO,
    TEXT,
    TEXTS,
    WHOLE,
    Validator,
    check_options,
    choice,
    inherit_option,
    option,
    optional,
    options_of,
)

_MONTH = 30 * 24 * 3600.0
_NO_LIMIT = optional(SECONDS, 0, "no limit")
_FILE = optional(PATH, "")
_LEVELS = ("debug", "info", "warning", "error")
_VARIABLE = optional(TEXT, "")


def _component_levels(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, str) for each in given):
        raise ValueError
    for each in given:
        component, _, level = each.partition("=")
        if not component or level not in _LEVELS:
            raise ValueError(f"{each!r} is not COMPONENT=LEVEL with one of {', '.join(_LEVELS)}")
    return tuple(given)


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The hosts, and how much load each of them takes."""

    hosts: tuple[Host, ...] = ()  # read by rules of its own: names, or tables of a host's fields
    draining: frozenset[str] = frozenset()  # names of hosts with drain = true or weight = 0
    capacity: int | None = inherit_option(BalancerOptions, "capacity")
    load_factor: float | None = inherit_option(BalancerOptions, "load_factor")
    load_floor: int = inherit_option(BalancerOptions, "load_floor")
    max_in_flight: float | None = inherit_option(BalancerOptions, "max_in_flight")
    on_unavailable: str = inherit_option(BalancerOptions, "on_unavailable")
    return_home: bool = inherit_option(BalancerOptions, "return_home")


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """The source of the list of hosts; pool.hosts serve until it answers."""

    # it may hold a password, so no repr shows it
    url: str | None = option(
        None,
        check=optional(named.SOURCE_URL, ""),
        help="URL of the source, such as etcd://10.0.0.1:2379/services/web or file:hosts.toml. "
        "Empty means no source.",
        repr=False,
    )
    hold: float = option(
        HOLD,
        check=SECONDS_OR_ZERO,
        help="Seconds for which a list with less than half of the hosts is held back. 0 means "
        "that it is applied immediately.",
    )
    debounce: float = option(
        DEBOUNCE,
        check=SECONDS_OR_ZERO,
        help="Seconds without a further change after which a change is applied. 0 means "
        "immediately.",
    )
    wait: float = option(
        WAIT,
        check=SECONDS_OR_ZERO,
        help="Seconds for which the start waits for the first list. 0 means that it does not wait.",
    )


@dataclass(frozen=True, slots=True)
class CostSettings:
    """The cost of a request, for new_clients = "least-outstanding"."""

    from_: str = option(
        "requests",
        check=named.COST,
        help="Source of the cost: requests (all the same), bytes (length of the body), "
        "header:NAME (from trusted proxies only) or json:FIELD. A missing cost is average.",
    )


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """Which host owns a client."""

    name: str = option(
        "ring",
        check=named.PLACEMENT,
        help="Name of the placement. With none, the strategy places every request.",
    )
    options: Mapping[str, Any] = field(default_factory=_nothing)
    key_secret_file: str | None = option(
        None, check=_FILE, help="File with the secret of a keyed ring. Empty means no secret."
    )
    key_secret_env: str | None = option(
        None, check=_VARIABLE, help="Environment variable with that secret, instead of a file."
    )
    new_clients: str = option(
        "walk",
        check=choice("walk", "fallback", "least-outstanding"),
        help="Who places a client that has no host yet: walk is the placement, the same in all "
        "routers; fallback is the strategy; least-outstanding is the host with the least "
        "outstanding work, also for requests without a client ID.",
    )
    patience: float | None = option(
        None,
        check=optional(NUMBER, 0, "no moves"),
        help="With least-outstanding: how many times its own cost a known client waits before it "
        "moves to a shorter queue (5 is a good value). 0 means that it never moves.",
    )
    group: str | None = option(
        None,
        check=optional(named.GROUP, ""),
        help="With least-outstanding: what sessions share, so that new ones prefer a host that "
        "served the same: header:NAME, json:FIELD or prefix:BYTES of the body. Empty means none.",
    )
    sync: str | None = option(
        None,
        check=optional(named.REDIS_URL, "", "no exchange"),
        help="With least-outstanding: URL of a Redis through which several gateways exchange their "
        "loads. Clients must then carry tokens. Empty means no exchange: each gateway sees its "
        "own load.",
    )
    sync_interval: float = option(
        INTERVAL, check=SECONDS, help="Seconds between two exchanges, the same in all gateways."
    )
    cost: CostSettings = field(default_factory=CostSettings)
    key_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """Which host serves a request without a client ID."""

    strategy: str = option("round-robin", check=named.STRATEGY, help="Name of the strategy.")
    slow_start: float = option(
        0.0,
        check=SECONDS_OR_ZERO,
        help="Seconds over which a new host's share of these requests grows to its full share. "
        "0 means a full share immediately.",
    )


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """The client ID of a request without a token."""

    sources: tuple[str, ...] = option(
        (),
        check=named.SOURCES,
        help="Where a client ID is read, the first one found counts: cookie:NAME, header:NAME, "
        "query:NAME, path:NUMBER, json:FIELD, llm, prompt, address. Empty means tokens only.",
    )


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The table of sessions: the hosts of clients without our cookie."""

    # it may hold a password, so no repr shows it
    store: str | None = option(
        None,
        check=optional(named.STORE, ""),
        help="Where the hosts of clients are kept that an identity source or a learned ID "
        "identifies: memory, or redis://ADDRESS:PORT for several gateways. Empty means memory "
        "where learn needs a table, else none.",
        repr=False,
    )
    size: int = option(
        SIZE, check=COUNT, help="Sessions in memory; the least recently used one makes room."
    )
    idle: float = option(
        IDLE, check=SECONDS, help="Seconds without a request after which a session is forgotten."
    )
    lifetime: float | None = option(
        None,
        check=_NO_LIMIT,
        help="Seconds after which a session in memory is forgotten in any case. 0 means no limit.",
    )
    file: str | None = option(
        None,
        check=_FILE,
        help="File in which the sessions in memory survive a restart. Empty means none.",
    )
    forget_header: str | None = option(
        "X-Hashring-Forget",
        check=optional(HEADER, ""),
        help="Response header by which a host ends the session of a request; the client does not "
        "get it. Empty means none.",
    )
    learn: tuple[Any, ...] = option(
        (),
        check=named.LEARN,
        help="Sessions that hosts name: mcp, socketio, jsessionid, phpsessid, openai-responses, or "
        "tables with preset or from and find, mode (table or envelope) and forget_on; also as "
        "[[learn]]. Empty means none.",
    )


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The cookie that keeps a client on its host."""

    enabled: bool = option(True, check=FLAG, help="Whether clients get a token.")
    secret_file: str | None = option(
        None,
        check=_FILE,
        help="File with the secret that signs tokens. Empty means a secret for this run only.",
    )
    secret_env: str | None = option(
        None, check=_VARIABLE, help="Environment variable with that secret, instead of a file."
    )
    old_secret_file: str | None = option(
        None,
        check=_FILE,
        help="File with the previous secret, while it is being replaced. Empty means none.",
    )
    old_secret_env: str | None = option(
        None,
        check=_VARIABLE,
        help="Environment variable with the previous secret, instead of a file.",
    )
    cookie: str = option("hashring", check=TEXT, help="Name of the cookie.")
    cookie_secure: bool | str = option(
        "auto",
        check=choice(True, False, "auto"),
        help="The Secure attribute: always (with the name prefix __Host-, or __Secure- beside a "
        "path or domain), never, or for requests that came over TLS.",
    )
    cookie_samesite: str = inherit_option(CookieOptions, "cookie_samesite")
    cookie_path: str = inherit_option(CookieOptions, "cookie_path")
    cookie_domain: str | None = inherit_option(CookieOptions, "cookie_domain")
    cookie_max_age: float | None = inherit_option(CookieOptions, "cookie_max_age")
    cookie_partitioned: bool = inherit_option(CookieOptions, "cookie_partitioned")
    cookie_hint: float | None = option(
        None,
        check=optional(SECONDS, 0, "off"),
        help="Seconds in which new clients of one address and user agent go to one host, because a "
        "browser may send its first requests at the same time. 0 means off.",
    )
    max_age: float = option(_MONTH, check=SECONDS, help="Seconds for which a token is valid.")
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class OutlierSettings:
    """Hosts that fail requests are ejected for a while: only known clients go there."""

    enabled: bool = option(True, check=FLAG, help="Whether failing hosts are ejected.")
    failures: int = inherit_option(OutlierRules, "failures")
    base: float = inherit_option(OutlierRules, "base")
    cap: float = inherit_option(OutlierRules, "cap")
    share: float = inherit_option(OutlierRules, "share")
    statuses: tuple[int, ...] = inherit_option(OutlierRules, "statuses")


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Probes of the hosts."""

    probe: str = option(
        "tcp",
        check=choice("http", "tcp", "none"),
        help="How a host is probed: by a GET request, by a connection, or not at all.",
    )
    path: str = option("/", check=TEXT, help="Path of an http probe.")
    port: int | None = option(
        None,
        check=optional(PORT, 0),
        help="Port of the probes. 0 means the port of the host's address.",
    )
    interval: float = inherit_option(ProbeRules, "interval")
    timeout: float = inherit_option(ProbeRules, "timeout")
    fall: int = inherit_option(ProbeRules, "fall")
    rise: int = inherit_option(ProbeRules, "rise")
    fast: float = inherit_option(ProbeRules, "fast")
    jitter: float = inherit_option(ProbeRules, "jitter")
    when_all_down: str = option(
        "route",
        check=choice("route", "refuse"),
        help="With no host up: route to all of them, or refuse requests with status 503.",
    )
    panic: float = option(
        0.0,
        check=FRACTION,
        help="Fraction of the hosts; when_all_down applies while fewer are up. 0 means only with "
        "no host up.",
    )
    outliers: OutlierSettings = field(default_factory=OutlierSettings)


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """Access to the admin listener (gateway.admin)."""

    token_file: str | None = option(
        None,
        check=_FILE,
        help="File with the token that requests need (Authorization: Bearer TOKEN). Empty means "
        "no token, and a listener on loopback.",
    )
    token_env: str | None = option(
        None, check=_VARIABLE, help="Environment variable with that token, instead of a file."
    )
    public: tuple[str, ...] = option(
        (),
        check=named.PAGES,
        help="Pages that need no token: healthz, readyz, metrics. Empty means none.",
    )
    state_file: str | None = option(
        None,
        check=_FILE,
        help="File that keeps marks, drains and weights set by hand over a restart. Empty means "
        "none.",
    )
    token: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The gateway's own messages, on standard error."""

    format: str = option("text", check=choice("text", "json"), help="Format of own messages.")
    level: str = option("info", check=choice(*_LEVELS), help="Least level that is written.")
    levels: tuple[str, ...] = option(
        (),
        check=Validator("a list of COMPONENT=LEVEL", _component_levels),
        help='Other levels of single components, such as ["health=debug", "discovery=warning"]. '
        "Empty means none.",
    )
    repeats: int = option(
        10,
        check=WHOLE,
        help="Messages of one kind that are written in a minute; further ones are counted. 0 means "
        "no limit.",
    )


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The listener, the log and the end of the gateway."""

    listen: str = option(
        "127.0.0.1:8080", check=LISTEN_ADDRESS, help="Address on which clients connect."
    )
    admin: str | None = option(
        None,
        check=optional(LISTEN_ADDRESS, ""),
        help="Admin listener (/healthz, /readyz, /metrics, /state, /v1), on loopback or a Unix "
        "socket unless admin.token_file is set. Empty means none.",
    )
    access_log: str = option(
        "off",
        check=choice("off", "text", "json"),
        help="Format of the access log: one line per request.",
    )
    access_log_to: str = option(
        "stdout",
        check=TEXT,
        help="Where it goes: stdout, syslog, syslog:SOCKET, or the path of a file, which SIGUSR1 "
        "opens again.",
    )
    access_log_client: str = option(
        "hashed",
        check=choice("hashed", "plain"),
        help="Client IDs in it: a keyed hash, or the IDs themselves, which may be secrets.",
    )
    host_header: str = option(
        "keep",
        check=choice("keep", "set"),
        help="Host header of requests to hosts: the client's, or the address of the host.",
    )
    decision_header: str | None = option(
        None,
        check=optional(HEADER, ""),
        help="Header of responses with the host's name, the reason and the source of the client "
        "ID, such as X-Hashring. Empty means none.",
    )
    trusted_proxies: tuple[str, ...] = option(
        (),
        check=TEXTS,
        help="Networks (or unix, for a socket) of proxies whose Forwarded and X-Forwarded-* "
        "headers are accepted. Empty means none.",
    )
    trusted_header: str = option(
        "both",
        check=choice("both", "forwarded", "x-forwarded-for"),
        help="Which of these headers the proxies set. With both, headers that contradict each "
        "other give no address.",
    )
    shutdown_grace: float = option(
        30.0,
        check=SECONDS,
        help="Seconds that requests in flight may take after SIGTERM, once linger is over.",
    )
    linger: float = option(
        1.0,
        check=SECONDS_OR_ZERO,
        help="Seconds after SIGTERM in which requests are served while /readyz reports 503. 0 "
        "means that no further request is served.",
    )
    workers: int = option(
        1,
        check=WHOLE,
        help="Processes that serve. 0 means one for each core. With several, limits.connections, "
        "limits.retry_rate and pool.max_in_flight are divided among them.",
    )
    watch: bool = option(True, check=FLAG, help="Whether a change of this file is applied.")


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds, of requests and of connections; None is no limit.

    >>> Timeouts(connect=0)
    Traceback (most recent call last):
    hashring.errors.ConfigError: connect must be seconds above 0, got 0
    """

    # in one network a connection takes a millisecond: a host that takes 2 s is unreachable
    connect: float = option(2.0, check=SECONDS, help="Seconds for connecting to a host.")
    # nginx has 60 s for first_byte and idle
    first_byte: float | None = option(
        60.0,
        check=_NO_LIMIT,
        help="Seconds from the end of a request to the first byte of the response. 0 means no "
        "limit.",
    )
    idle: float | None = option(
        60.0,
        check=_NO_LIMIT,
        help="Seconds without a byte in either direction. 0 means no limit.",
    )
    # a stream may last for days
    total: float | None = option(
        None, check=_NO_LIMIT, help="Seconds for a whole request. 0 means no limit."
    )
    # as HAProxy's example for timeout tunnel: an idle application that is still wanted sends pings
    tunnel: float | None = option(
        3600.0,
        check=_NO_LIMIT,
        help="Seconds without a byte in either direction of a WebSocket or another upgraded "
        "connection. 0 means no limit.",
    )
    queue: float = option(
        0.0,
        check=SECONDS_OR_ZERO,
        help="Seconds for which a request waits for room on a host at its max_in_flight. 0 means "
        "that it gets status 503.",
    )
    # below the 5 s after which uvicorn and Node close one, or a request meets a closing connection
    keep_alive: float = option(
        4.0, check=SECONDS, help="Seconds for which an unused connection to a host is kept."
    )
    # a client that sends its head byte by byte holds a descriptor
    head: float = option(
        10.0, check=SECONDS, help="Seconds in which a client must send the head of a request."
    )
    client_idle: float = option(
        30.0, check=SECONDS, help="Seconds for which a client's unused connection is kept."
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Limits:
    """Limits of size and of retries; None is no limit.

    >>> Limits(retries=-1)
    Traceback (most recent call last):
    hashring.errors.ConfigError: retries must be an int of 0 or more, got -1
    """

    # eight times what browsers send
    head: int = option(64 * 1024, check=BYTES, help="Bytes of the head of a request.")
    headers: int = option(100, check=COUNT, help="Headers of a request.")  # as Apache
    # half of the descriptors that systemd gives a service that asks for more
    connections: int = option(
        10_000,
        check=COUNT,
        help="Connections of clients to one process; further ones get status 503.",
    )
    body: int | None = option(
        None,
        check=optional(BYTES, 0, "no limit"),
        help="Bytes of the body of a request, which is streamed. 0 means no limit.",
    )
    identity_body: int = option(
        IDENTITY_BODY,
        check=BYTES,
        help="Bytes of a body that are kept and looked through for a client ID (json:FIELD, llm). "
        "A longer body has none there.",
    )
    message: int = option(
        4 << 20,
        check=BYTES,
        help="Bytes of a WebSocket message where another server than ours runs the gateway: it is "
        "held in memory.",
    )
    # after two hosts that failed a request, a third rarely serves it
    retries: int = option(
        2, check=WHOLE, help="Further hosts that a failed request may try, where that is safe."
    )
    # the budget's numbers are Finagle's: a pool that fails as a whole is not asked twice as much
    retry_share: float = option(
        0.2, check=FRACTION, help="Retries of all requests together, as a fraction of the requests."
    )
    retry_rate: float = option(
        10.0, check=NUMBER, help="Retries a second that are allowed in addition to that fraction."
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a gateway.

    ``origins`` has the source of each key that is not at its default (``gateway.listen`` ->
    ``hashring.toml:3``).

    >>> Settings().timeouts.connect
    2.0
    """

    pool: PoolSettings = field(default_factory=PoolSettings)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    fallback: FallbackSettings = field(default_factory=FallbackSettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    sessions: SessionSettings = field(default_factory=SessionSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tls: ListenerTls = field(default_factory=ListenerTls)
    host_tls: HostTls = field(default_factory=HostTls)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    origins: Mapping[str, str] = field(default_factory=_nothing, compare=False)


TABLES: Mapping[str, type] = MappingProxyType(
    {
        "pool": PoolSettings,
        "discovery": DiscoverySettings,
        "placement": PlacementSettings,
        "placement.cost": CostSettings,
        "fallback": FallbackSettings,
        "identity": IdentitySettings,
        "sessions": SessionSettings,
        "tokens": TokenSettings,
        "health": HealthSettings,
        "health.outliers": OutlierSettings,
        "gateway": GatewaySettings,
        "admin": AdminSettings,
        "log": LogSettings,
        "tls": ListenerTls,
        "host_tls": HostTls,
        "timeouts": Timeouts,
        "limits": Limits,
    }
)
"""The tables of the file, in the order of the example."""


class Setting(NamedTuple):
    """One key: its table, name, accepted values, default in the spelling of a file, and help."""

    section: str
    name: str
    type: str
    default: Any
    help: str


def all_settings() -> Iterator[Setting]:
    """Every key of every table, in the order of the example; ``pool.hosts`` has rules of its own.

    >>> [each for each in all_settings() if each.name == "listen"][0][:4]
    ('gateway', 'listen', 'ADDRESS:PORT or unix:PATH', '127.0.0.1:8080')
    """
    for section, table in TABLES.items():
        for each in options_of(table):
            default = each.check.off if each.default is None else each.default
            yield Setting(section, each.name, each.check.shape, default, each.help)
