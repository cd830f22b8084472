"""Layouts of log lines: where the client and the time stand in each.

A line reads as exactly one layout or not at all. Every pattern stands at a line's start, stays
inside the line and is possessive throughout: a match costs no more than the length of the line. No
control byte may stand in a client: the zeros that a truncated log begins with are not part of an
address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_VHOST = rb"(?:[\w.-]++|\[[0-9A-Fa-f:.]++\])(?::\d{1,5})?"
_ADDRESS = rb"(?P<client>(?!-[ ,\t\n])[^\x00-\x20\x7f,\"]++)"  # one address, and not "-"
_PORT = rb"(?P<client>(?!-[ \n])(?:\[[0-9A-Fa-f:.]++\]|[^\x00-\x20\x7f:,\[]++))(?::\d++)?"
_LIST = rb"(?:, ?[^\x00-\x20\x7f,\"]++)*+"  # the rest of an X-Forwarded-For list
_QUOTED = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
_REST = rb"[^\n]*+\n?"
_CLF_TIME = rb"\[(?P<time>[^\]\n]++)\]"
# ident is "-" and the user may hold spaces; or ident is set, and the user is one word
_USER = rb"(?:- [^\[\n]*+|\S++ [^\s\[]++ )"
_REQUEST = rb" " + _QUOTED + rb" \d{3} (?:\d++|-)(?!\S)"
_RFC3339 = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"


def _layout(*parts: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"^" + b"".join(parts), re.MULTILINE)


@dataclass(frozen=True)
class Layout:
    """A kind of line: its pattern has the group ``client``, and ``time`` where it has one."""

    name: str
    pattern: re.Pattern[bytes]
    about: str

    @property
    def has_time(self) -> bool:
        """Whether its lines have a time."""
        return "time" in self.pattern.groupindex


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "combined",
            _layout(_ADDRESS, _LIST, rb" ", _USER, _CLF_TIME, _REQUEST, _REST),
            "nginx, Apache, gunicorn, Traefik: the client is the first field",
        ),
        Layout(
            "vhost_combined",
            _layout(_VHOST, rb" ", _ADDRESS, _LIST, rb" ", _USER, _CLF_TIME, _REQUEST, _REST),
            "Apache with the virtual host first",
        ),
        Layout(
            "haproxy",
            _layout(
                _PORT, rb" \[(?P<time>\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d)(?:\.\d++)?\] ",
                rb"\S++ [^\s/]++/\S++ [\d/+-]++ (?:\d{3}|-1) ", _REST,
            ),
            "HAProxy HTTP log",
        ),
        Layout(
            "envoy",
            _layout(
                rb"\[(?P<time>", _RFC3339, rb")\] ", _QUOTED, rb" \d++ \S++ (?:[^\s\"]++ )*+\"",
                _ADDRESS, _LIST, rb'" ', _QUOTED, rb" ", _REST,
            ),
            "Envoy default: the client is the first address of X-Forwarded-For",
        ),
        Layout(
            "alb",
            _layout(
                rb"(?:https?|h2|grpcs|wss?) (?P<time>", _RFC3339, rb") \S++ ", _PORT,
                rb" \S++ [\d.-]++ [\d.-]++ [\d.-]++ ", _REST,
            ),
            "AWS Application Load Balancer",
        ),
        Layout(
            "nlb",
            _layout(
                rb"tls \d\.\d (?P<time>", _RFC3339, rb") \S++ \S++ ", _PORT,
                rb" \S++ [\d-]++ [\d-]++ ", _REST,
            ),
            "AWS Network Load Balancer",
        ),
        Layout(
            "squid",
            _layout(
                rb"(?P<time>\d{9,11}\.\d{3}) ++\d++ ", _ADDRESS, rb" [A-Z_]++/\d{3} \d++ ", _REST
            ),
            "Squid native log",
        ),
        Layout(
            "uvicorn",
            _layout(rb"(?:INFO: ++)?", _PORT, rb" - ", _QUOTED, rb" \d{3}\b", _REST),
            "uvicorn access log, without times",
        ),
        Layout(
            "redis-monitor",
            _layout(
                rb"(?P<time>\d{9,11}\.\d{6}) \[\d++ [^\]\n]*+\] ", _QUOTED,
                rb' "(?P<client>(?:[^"\\\x00-\x1f\x7f]|\\.)++)"', _REST,
            ),
            "Redis MONITOR: the client is the key of the command",
        ),
        Layout(
            "gateway",
            _layout(
                rb"(?P<time>", _RFC3339, rb") \S++ client=(?P<client>(?!- )[^\x00-\x20\x7f]++) ",
                rb"\S++ \S++ \d{1,3} host=(?P<host>\S++) ", _REST,
            ),
            "the access log of hashring serve, as text",
        ),
    )
}  # fmt: skip
"""Layouts of text lines, the more usual ones first."""

GATEWAY_HOSTS = _layout(
    _RFC3339, rb" \S++ client=\S++ \S++ \S++ \d{1,3} host=((?!- )\S++) "
)  # fmt: skip
"""The host of a line of the layout ``gateway``, also where the request has no client."""

IDS = re.compile(rb"^(?P<client>[^\x00-\x20\x7f][^\x00-\x1f\x7f]*+)\r?$", re.MULTILINE)
"""A line is a client."""

PREFIXES: dict[str, re.Pattern[bytes]] = {
    "cri": _layout(_RFC3339, rb" (?:stdout|stderr) F ([^\n]*+)$"),
    "docker": _layout(_RFC3339, rb" ([^\n]*+)$"),
    "compose": _layout(rb"[\w.-]++ ++\| ([^\n]*+)$"),
    "kubectl": _layout(rb"\[pod/[^\]\n]++\] ([^\n]*+)$"),
    "syslog": _layout(
        rb"(?:<\d{1,3}>)?(?:1 )?(?:[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d|", _RFC3339,
        rb") \S++ [^\s:\[]++(?:\[\d++\])?: ([^\n]*+)$",
    ),
}  # fmt: skip
"""What container runtimes and loggers put before each line; the group is the line itself."""

JSON_PRESETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "caddy": (("request.client_ip", "request.remote_ip"), ("ts",)),
    "traefik": (("ClientHost",), ("StartUTC", "time")),
    "gcp": (("httpRequest.remoteIp",), ("timestamp",)),
    "gateway-json": (("client",), ("time",)),
    "nginx-json": (
        ("remote_addr", "client_ip", "remote_ip", "clientip", "remote_host"),
        ("time_iso8601", "@timestamp", "timestamp", "time", "time_local", "msec", "ts"),
    ),
}
"""Fields of the client and of the time in JSON lines, the first that is there."""

W3C_CLIENTS = ("c-ip", "cs-ip", "c_ip")

PRESETS = (
    "combined",
    "common",
    *(name for name in LAYOUTS if name != "combined"),
    *JSON_PRESETS,
    "docker-json",
    *PREFIXES,
    "w3c",
    "iis",
    "cloudfront",
    "csv",
    "tsv",
    "parquet",
)

SAME = {"common": "combined", "iis": "w3c", "cloudfront": "w3c"}
"""Names of one layout."""


def w3c_layout(sample: bytes) -> re.Pattern[bytes] | None:
    """The pattern of a W3C extended log by its ``#Fields:`` line; None without one.

    >>> w3c_layout(b"#Fields: date time c-ip\\n").match(b"2026-03-01 10:00:00 10.0.0.1")["client"]
    b'10.0.0.1'
    """
    found = re.search(rb"^#Fields:([^\n]*+)", sample, re.MULTILINE)
    fields = [] if found is None else found[1].decode("utf-8", "replace").split()
    client = next((field for field in W3C_CLIENTS if field in fields), None)
    if client is None:
        return None
    parts, seen_time = [], False
    for number, field in enumerate(fields):
        gap = b"" if number == 0 else rb"[ \t]"
        if field == client:
            parts.append(gap + _ADDRESS)
        elif field == "date" and fields[number + 1 : number + 2] == ["time"]:
            parts.append(gap + rb"(?P<time>\d{4}-\d\d-\d\d[ \t]\d\d:\d\d:\d\d)")
            seen_time = True
        elif not (field == "time" and seen_time and fields[number - 1] == "date"):
            parts.append(gap + rb"[^ \t\n]++")
    return _layout(rb"(?!#)", *parts, rb"\r?$")


def strip_prefix(prefix: str, block: bytes) -> bytes:
    """The lines of ``block`` without a prefix; those that lack it are left out.

    >>> strip_prefix("kubectl", b"[pod/web-7d4/nginx] 10.0.0.1 - x\\nother\\n")
    b'10.0.0.1 - x\\n'
    """
    lines = PREFIXES[prefix].findall(block)
    return b"\n".join([*lines, b""]) if lines else b""


# -- times ----------------------------------------------------------------------------------------

_MONTHS = {  # strptime would take the words of the locale
    month: number
    for number, month in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_CLF = re.compile(
    rb"(\d\d)/([A-Z][a-z][a-z])/(\d{4}):(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ?([+-]\d{4}))?"
)
_ISO = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[Tt \t](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?"
    rb"(Z|z|UTC|[+-]\d\d:?\d\d)?"
)
_NUMBER = re.compile(rb"\d{1,19}(?:\.\d{1,9})?")
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # above this an epoch is in ns, us, ms


def seconds_of(text: bytes) -> float | None:
    """Seconds since the epoch: RFC 3339, the common log format, or epoch s, ms, us or ns.

    A time without an offset is in UTC. None for what is not a time.

    >>> seconds_of(b"06/Jan/2025:00:00:01 +0000"), seconds_of(b"2025-01-06T00:00:01.5Z")
    (1736121601.0, 1736121601.5)
    >>> seconds_of(b"1736121601000"), seconds_of(b"yesterday")
    (1736121601.0, None)
    """
    number = _NUMBER.fullmatch(text)
    if number is not None:
        value = float(text)
        return next((value / unit for limit, unit in _UNITS if value >= limit), value)
    found = _CLF.fullmatch(text)
    if found is not None:
        day, month, year, hour, minute, second, part, zone = found.groups()
        named = _MONTHS.get(month)
        if named is None:
            return None
        begin = _minute(int(year), named, int(day), int(hour), int(minute), zone or b"")
    else:
        found = _ISO.fullmatch(text)
        if found is None:
            return None
        year, month, day, hour, minute, second, part, zone = found.groups()
        begin = _minute(int(year), int(month), int(day), int(hour), int(minute), zone or b"")
    if begin is None or int(second) > 60:
        return None
    return begin + int(second) + (int(part) / 10.0 ** len(part) if part else 0.0)


@lru_cache(maxsize=4096)
def _minute(year: int, month: int, day: int, hour: int, minute: int, zone: bytes) -> float | None:
    """Seconds since the epoch at which a minute began; None for one that never was."""
    digits = zone.lstrip(b"+-").replace(b":", b"")
    ahead = timedelta()
    if digits.isdigit():
        ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    try:
        offset = timezone(-ahead if zone.startswith(b"-") else ahead)
        return datetime(year, month, day, hour, minute, tzinfo=offset).timestamp()
    except (ValueError, OverflowError):
        return None
