"""Which settings are there?  One frozen class for each table of the file; a field is a key.

A field carries what the rest of the room reads: its default, what may stand there, and the words
that explain it. To add a key, add a field: ``init``, ``check`` and ``--show-config`` know it then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from hashring.config import kinds, names
from hashring.config.kinds import Kind, choice, optional
from hashring.discovery import GRACE, QUIET, WAIT
from hashring.hosts import Host

__all__ = [
    "TABLES",
    "Discovery",
    "Fallback",
    "Gateway",
    "Health",
    "Identity",
    "Limits",
    "Outliers",
    "Placement",
    "Pool",
    "Settings",
    "Timeouts",
    "Tokens",
    "keys",
]

_MONTH = 30 * 24 * 3600.0


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


def _key(default: Any, kind: Kind, words: str) -> Any:
    return field(default=default, metadata={"kind": kind, "help": words})


@dataclass(frozen=True, slots=True)
class Pool:
    """Who serves."""

    hosts: tuple[Host, ...] = ()  # read by its own rules: names, or tables of a host's fields
    capacity: int = _key(0, kinds.WHOLE, "The most hosts there may be; 0: any number.")
    load_factor: float = _key(
        0.0,
        optional(kinds.ABOVE_1, 0),
        "A host gets at most this multiple of its fair share of the requests in flight.",
    )
    load_floor: int = _key(1, kinds.COUNT, "What a host serves at once without harm.")


@dataclass(frozen=True, slots=True)
class Discovery:
    """Who says who serves: with a source, the pool's hosts serve until it answers."""

    # it may hold a password, so no repr shows it
    url: str = field(
        default="",
        repr=False,
        metadata={
            "kind": optional(names.SOURCE_URL, ""),
            "help": "The source, such as etcd://10.0.0.1:2379/services/web or file:hosts.toml.",
        },
    )
    grace: float = _key(
        GRACE,
        kinds.SECONDS_OR_NONE,
        "Seconds for which an answer with less than half of the hosts is held.",
    )
    quiet: float = _key(
        QUIET, kinds.SECONDS_OR_NONE, "Seconds of silence after which a change is believed."
    )
    wait: float = _key(
        WAIT, kinds.SECONDS_OR_NONE, "Seconds that the gateway's start waits for the first answer."
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """Who owns a client."""

    name: str = _key(
        "ring", names.PLACEMENT, "Its name; with none every request goes by the strategy."
    )
    options: Mapping[str, Any] = field(default_factory=_nothing)
    key_secret_file: str = _key("", optional(kinds.PATH, ""), "The secret's file (ring only).")
    key_secret_env: str = _key("", optional(kinds.TEXT, ""), "Or the variable that holds it.")
    key_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who serves an anonymous request."""

    strategy: str = _key("round-robin", names.STRATEGY, "Its name.")
    new_clients: str = _key(
        "walk",
        choice("walk", "fallback"),
        "Who places a client that has no host yet: the placement (walk), or the strategy, by load.",
    )
    slow_start: float = _key(
        0.0, kinds.SECONDS_OR_NEVER, "Seconds in which a host that has just come warms; 0: none."
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which client a request is from, when it carries no token."""

    sources: tuple[str, ...] = _key(
        (),
        names.SOURCES,
        "Where an ID may stand, the first found counts: cookie:NAME, header:NAME, query:NAME, "
        "path:NUMBER, json:FIELD, prompt, address.",
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """The cookie that keeps a client on its host."""

    enabled: bool = _key(True, kinds.FLAG, "Whether clients get one.")
    secret_file: str = _key("", optional(kinds.PATH, ""), "The file of the secret that signs.")
    secret_env: str = _key("", optional(kinds.TEXT, ""), "Or the variable that holds it.")
    old_secret_file: str = _key(
        "", optional(kinds.PATH, ""), "While a secret is replaced: the file of the one before it."
    )
    old_secret_env: str = _key("", optional(kinds.TEXT, ""), "Or the variable that holds it.")
    cookie: str = _key("hashring", kinds.TEXT, "The cookie's name.")
    cookie_secure: bool | str = _key(
        "auto",
        choice(True, False, "auto"),
        "Secure cookies: always (and named __Host-...), never, or where the request came by TLS.",
    )
    max_age: float = _key(_MONTH, kinds.SECONDS, "Seconds for which one is good: 30 days.")
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Outliers:
    """When failing requests take a host out, and for how long."""

    enabled: bool = _key(True, kinds.FLAG, "Whether they do.")
    failures: int = _key(5, kinds.COUNT, "So many in a row do.")
    base: float = _key(30.0, kinds.SECONDS, "Seconds out, times the number of such times.")
    cap: float = _key(300.0, kinds.SECONDS, "But no more seconds than this.")
    share: float = _key(0.1, kinds.FRACTION, "The part of the hosts that may be out, at least one.")


@dataclass(frozen=True, slots=True)
class Health:
    """Which hosts are up."""

    probe: str = _key(
        "tcp", choice("http", "tcp", "none"), "What asks a host: a request, a connection, nobody."
    )
    path: str = _key("/", kinds.TEXT, "What an http probe asks for.")
    port: int = _key(0, kinds.WHOLE, "The port to ask; 0: that of the host's address.")
    interval: float = _key(5.0, kinds.SECONDS, "Seconds from one probe of a host to the next.")
    timeout: float = _key(2.0, kinds.SECONDS, "Seconds that a probe may take.")
    fall: int = _key(3, kinds.COUNT, "Failures in a row after which a host is down.")
    rise: int = _key(2, kinds.COUNT, "Successes in a row after which it is up again.")
    fast: float = _key(1.0, kinds.SECONDS, "The interval while a verdict is in the making.")
    when_all_down: str = _key(
        "route", choice("route", "refuse"), "With every host down: try them all the same, or 503."
    )
    panic: float = _key(
        0.0, kinds.FRACTION, "Do so while less than this fraction of the hosts would be left."
    )
    outliers: Outliers = field(default_factory=Outliers)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The listening side."""

    listen: str = _key("127.0.0.1:8080", kinds.ENDPOINT, "Where clients connect.")
    admin: str = _key(
        "", optional(kinds.LOOPBACK, ""), "Where /healthz, /readyz and /state are told."
    )
    access_log: str = _key(
        "off", choice("off", "text", "json"), "A line for each request; client IDs are hashed."
    )
    host_header: str = _key(
        "keep", choice("keep", "set"), "The Host that a backend sees: the client's, or its own."
    )
    trusted_proxies: tuple[str, ...] = _key(
        (), kinds.LIST, "Networks, or 'unix', whose Forwarded and X-Forwarded-* are believed."
    )
    trusted_header: str = _key(
        "both",
        choice("both", "forwarded", "x-forwarded-for"),
        "Which of these headers your proxies set; with both, two that differ name nobody.",
    )
    shutdown_grace: float = _key(
        30.0, kinds.SECONDS, "Seconds that requests in flight may take after SIGTERM."
    )
    linger: float = _key(
        1.0, kinds.SECONDS_OR_NEVER, "Seconds before that in which it answers and is not ready."
    )
    watch: bool = _key(True, kinds.FLAG, "Read this file again when it changes.")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long, in seconds."""

    connect: float = _key(2.0, kinds.SECONDS, "To connect to a host.")
    first_byte: float = _key(60.0, kinds.SECONDS_OR_NEVER, "From a request's end to its answer.")
    idle: float = _key(60.0, kinds.SECONDS_OR_NEVER, "Without a byte either way.")
    total: float = _key(0.0, kinds.SECONDS_OR_NEVER, "For all of a request.")
    # below the 5 s after which many servers hang up, or a request may meet a closing connection
    keep_alive: float = _key(4.0, kinds.SECONDS, "That an unused connection to a host is kept.")
    head: float = _key(10.0, kinds.SECONDS, "For a client to send the head of a request.")
    client_idle: float = _key(30.0, kinds.SECONDS, "That a client's unused connection is kept.")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, and how often."""

    head: int = _key(64 * 1024, kinds.COUNT, "Bytes of a request's head.")
    headers: int = _key(100, kinds.COUNT, "Headers of a request.")
    body: int = _key(0, kinds.BYTES, "Bytes of a request's body, which is never held whole.")
    message: int = _key(4 << 20, kinds.COUNT, "Bytes of a WebSocket message, which is.")
    retries: int = _key(2, kinds.WHOLE, "Further hosts that a request may try, where that is safe.")
    retry_share: float = _key(
        0.2, kinds.FRACTION, "The retries that all requests together may make: this part of them,"
    )
    retry_rate: float = _key(10.0, kinds.NUMBER, "and so many a second.")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a gateway is made of.

    ``origins`` says of each key (``gateway.listen``) where its value came from.

    >>> Settings().timeouts.connect
    2.0
    """

    pool: Pool = field(default_factory=Pool)
    discovery: Discovery = field(default_factory=Discovery)
    placement: Placement = field(default_factory=Placement)
    fallback: Fallback = field(default_factory=Fallback)
    identity: Identity = field(default_factory=Identity)
    tokens: Tokens = field(default_factory=Tokens)
    health: Health = field(default_factory=Health)
    gateway: Gateway = field(default_factory=Gateway)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    origins: Mapping[str, str] = field(default_factory=_nothing, compare=False)


TABLES: Mapping[str, type] = MappingProxyType(
    {
        "pool": Pool,
        "discovery": Discovery,
        "placement": Placement,
        "fallback": Fallback,
        "identity": Identity,
        "tokens": Tokens,
        "health": Health,
        "health.outliers": Outliers,
        "gateway": Gateway,
        "timeouts": Timeouts,
        "limits": Limits,
    }
)
"""The tables of the file, in the order of the example."""


def keys(table: type) -> dict[str, tuple[Kind, Any, str]]:
    """What each plain key of a table takes, its default and its words.

    >>> kind, default, words = keys(Gateway)["listen"]
    >>> kind.shape, default, words
    ('ADDRESS:PORT', '127.0.0.1:8080', 'Where clients connect.')
    """
    return {
        each.name: (each.metadata["kind"], each.default, each.metadata["help"])
        for each in fields(table)
        if "kind" in each.metadata
    }
