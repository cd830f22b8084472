"""Headers of requests and of responses: which pass, which are read, which belong to one connection.

Names and values stay bytes. What passes is kept as a flat list of pieces (``b"name: "``, value,
``b"\\r\\n"``), because joining such a list is the cheapest way to write it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from hashring.gateway.error_responses import ERROR_RESPONSES, RequestRefused

PLAIN: Final = 0
"""A header that passes as it is; every other kind is looked at."""

HOST, LENGTH, CODING, UPGRADE, EXPECT = range(1, 6)  # of the framing
COOKIE, CONNECTION, DROP, FORWARDED, REQUEST_ID, VIA, MAX_FORWARDS = range(6, 13)
_KIND_OF_REQUEST = {
    b"host": HOST,
    b"cookie": COOKIE,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,  # the gateway answers it itself
    b"forwarded": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"x-request-id": REQUEST_ID,
    b"via": VIA,
    b"max-forwards": MAX_FORWARDS,
    # of one connection, not of the request (RFC 9110, section 7.6.1)
    b"http2-settings": DROP,
    b"keep-alive": DROP,
    b"proxy-authenticate": DROP,
    b"proxy-authorization": DROP,
    b"proxy": DROP,  # a CGI or WSGI host would read it as the variable HTTP_PROXY (httpoxy)
    b"proxy-connection": DROP,
    b"te": DROP,
    b"trailer": DROP,
}
_FORWARDING = b"x-forwarded-"
# what a client must not be able to take away from its own request by "Connection: cookie"
_KEPT = frozenset(
    {b"", b"close", b"keep-alive", b"upgrade", b"authorization", b"content-length"}
    | {b"content-type", b"cookie", b"host", b"origin"}
)

TYPE, SET_COOKIE, CACHE_CONTROL = range(13, 16)
_KIND_OF_RESPONSE = {
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"content-type": TYPE,
    b"set-cookie": SET_COOKIE,
    b"cache-control": CACHE_CONTROL,
    b"via": VIA,
    b"x-request-id": DROP,  # the gateway's own is sent
    **dict.fromkeys([name for name, kind in _KIND_OF_REQUEST.items() if kind == DROP], DROP),
}
# what a host cannot take away from its own response
_NEEDED = frozenset({b"set-cookie", b"content-type", b"content-length"})
# what a trailer may not be (RFC 9110, section 6.5.1): framing, routing, and what is read before
_NO_TRAILER = frozenset({*_KIND_OF_REQUEST, *_KIND_OF_RESPONSE, b"authorization", b"location"})

_REMEMBERED = 4096  # names; a client that invents names can fill no more
_LONGEST_NAME = 64  # bytes of a name that is remembered, so that the memory stays under 1 MB
_LONGEST_HOST = 300  # bytes: a name has at most 253, and the parts made of it are remembered

_TARGET = re.compile(rb"/[!\"$-~]*")  # printable ASCII without the fragment's sign
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)([!\"$-~]*)")
_HOST = re.compile(rb"(?:[0-9A-Za-z._~\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_REQUEST_ID = re.compile(rb"[!-~]{1,200}")
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes in base64
_CRLF: Final = b"\r\n"

Kind = tuple[int, bytes, bytes]
"""The kind of a header, its name in lower case, and the piece that begins its line."""


def _is_spoof(name: bytes) -> bool:
    """Whether an underscore makes this a second spelling of a header that we set or read.

    >>> _is_spoof(b"x_forwarded_for"), _is_spoof(b"my_header")
    (True, False)
    """
    plain = name.replace(b"_", b"-")
    known = plain in _KIND_OF_REQUEST or plain.startswith(_FORWARDING)
    return known or plain == b"authorization"


def _request_kind(name: bytes) -> Kind:
    lower = name.lower()
    kind = _KIND_OF_REQUEST.get(lower, PLAIN)
    if kind == PLAIN and lower.startswith(_FORWARDING):
        kind = FORWARDED
    elif kind == PLAIN and b"_" in lower and _is_spoof(lower):
        kind = DROP
    return kind, lower, lower + b": "


def _response_kind(name: bytes) -> Kind:
    lower = name.lower()
    return _KIND_OF_RESPONSE.get(lower, PLAIN), lower, lower + b": "


REQUEST_KINDS: dict[bytes, Kind] = {}
RESPONSE_KINDS: dict[bytes, Kind] = {}
"""The kinds of names that have come, as they are spelt; a dict is faster than ``lru_cache``."""


def learn_request_kind(name: bytes) -> Kind:
    """The kind of a request's header, which is remembered."""
    return _remember(REQUEST_KINDS, name, _request_kind(name))


def learn_response_kind(name: bytes) -> Kind:
    """The kind of a response's header, which is remembered."""
    return _remember(RESPONSE_KINDS, name, _response_kind(name))


def _remember(kinds: dict[bytes, Kind], name: bytes, kind: Kind) -> Kind:
    if len(name) <= _LONGEST_NAME:
        if len(kinds) >= _REMEMBERED:
            kinds.clear()
        kinds[name] = kind
    return kind


class BadRequest(Exception):  # noqa: N818  # a decision about the request
    """The head of a request is refused before a host is chosen, with ``status`` and a reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


_AMBIGUOUS = "the framing of the request is ambiguous"


def without_cookie(value: bytes, name: bytes) -> bytes:
    """A Cookie header's value without the cookies called ``name``; the rest byte for byte.

    >>> without_cookie(b"a=1; sid=x; b=2", b"sid"), without_cookie(b"sid=x", b"sid")
    (b'a=1; b=2', b'')
    """
    if name not in value:
        return value
    # each cookie begins with a sign then, which the search jumps to
    kept, cut = _cookie_called(name).subn(b"", b";" + value)
    return kept.lstrip(b"; \t") if cut else value


_SHORT_COOKIES = 1024  # bytes of cookies that are remembered, so that the memory stays under 4 MB
_without_short = lru_cache(2048)(without_cookie)


@lru_cache(16)  # a process has few names for its tokens
def _cookie_called(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb";[ \t]*" + re.escape(name) + rb"[ \t]*(?:=[^;]*)?(?=;|$)")


class RequestHead:
    """A request's line and headers. ``add`` takes each header, ``complete`` or ``check`` follow.

    ``headers`` are all of them with names in lower case, for sources of identity. ``fields`` are
    the pieces of those that pass. ``length`` is the announced length of the body, ``upgrade`` the
    protocol that the client offers to switch to. Cost: 0.3 us a header.
    """

    # what most requests leave as it is stands in the class, because to set it costs as much
    host: bytes | None = None
    cookie: bytes | None = None
    length: int | None = None
    chunked = expects_continue = False
    keep_alive = True
    upgrade: bytes | None = None
    given: dict[str, str] | None = None  # forwarding headers, for a trusted sender
    request_id: str | None = None
    via: list[bytes] | None = None
    max_forwards: bytes | None = None
    method = target = b""
    version = "1.1"

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.fields: list[bytes] = []
        self._framing: list[tuple[int, bytes]] = []
        self._special: list[tuple[int, bytes, bytes]] = []

    def add(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        kind, lower, prefix = REQUEST_KINDS.get(name) or learn_request_kind(name)
        self.headers.append((lower, value))
        if kind == PLAIN:
            self.fields += (prefix, value, _CRLF)
        else:
            self.add_special(kind, lower, value)

    def add_special(self, kind: int, name: bytes, value: bytes) -> None:
        """Take a header that is looked at."""
        if kind <= EXPECT:
            self._framing.append((kind, value))
        else:
            self._special.append((kind, name, value))

    @property
    def size(self) -> int:
        """Bytes of the head, about."""
        return len(self.target) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def header(self, name: bytes) -> bytes:
        """The value of the first header of this lower-case name; empty without one."""
        for found, value in self.headers:
            if found == name:
                return value
        return b""

    # -- checks -----------------------------------------------------------------------------------

    def check(self, *, offers_upgrade: bool) -> None:
        """Read the special headers. Raises ``BadRequest`` for what could be read in two ways.

        ``offers_upgrade`` is the parser's word for Connection: upgrade beside Upgrade.
        """
        framing = self._framing
        if (
            len(framing) == 1
            and framing[0][0] == HOST
            and not offers_upgrade
            and len(framing[0][1]) <= _LONGEST_HOST
            and _HOST.fullmatch(framing[0][1])
        ):
            self.host = framing[0][1]  # as most requests are
        else:
            self._check_framing(offers_upgrade)
        if not _TARGET.fullmatch(self.target):
            self._check_target()

    def _check_framing(self, offers_upgrade: bool) -> None:
        found: dict[int, list[bytes]] = {}
        for kind, value in self._framing:
            found.setdefault(kind, []).append(value.strip(b" \t"))
        has_body = self._check_body(found.get(LENGTH, []), found.get(CODING, []))
        hosts, upgrades = found.get(HOST, []), found.get(UPGRADE, [])
        if len(hosts) > 1 or not all(
            _HOST.fullmatch(host) and len(host) <= _LONGEST_HOST for host in hosts
        ):
            raise BadRequest(400, "the Host must be one name or address")
        if not hosts and self.version == "1.1":
            raise BadRequest(400, "HTTP/1.1 needs a Host")
        self.host = hosts[0] if hosts else None
        self.expects_continue = b"100-continue" in [one.lower() for one in found.get(EXPECT, [])]
        if offers_upgrade or b"" in upgrades:
            self._check_upgrade(upgrades, has_body=has_body)

    def _check_body(self, lengths: list[bytes], codings: list[bytes]) -> bool:
        """Set how the body ends; whether there is one."""
        if any(coding.lower() != b"chunked" for coding in codings):
            raise BadRequest(501, "the only transfer coding is chunked")
        if not all(length.isdigit() and len(length) <= 18 for length in lengths):
            raise BadRequest(400, _AMBIGUOUS)
        if len(lengths) + len(codings) > 1 or (codings and self.version == "1.0"):
            raise BadRequest(400, _AMBIGUOUS)
        self.length = int(lengths[0]) if lengths else None
        self.chunked = bool(codings)
        return bool(lengths or codings)

    def _check_upgrade(self, upgrades: list[bytes], *, has_body: bool) -> None:
        offered = upgrades[0].lower() if len(upgrades) == 1 else b""
        if b"h2c" in [each.strip(b" \t") for each in offered.split(b",")]:
            return  # HTTP/2 inside would pass every check by: the offer is ignored, as it may be
        if has_body:  # it would be read as the next request by a host that takes the offer
            raise BadRequest(400, _AMBIGUOUS)
        if not offered or b"," in offered or offered.startswith((b"tls", b"http", b"h2")):
            raise BadRequest(501, "this upgrade is not possible here")
        if self.method != b"GET" or self.version != "1.1":
            raise BadRequest(501, "an upgrade is a GET of HTTP/1.1")
        if offered == b"websocket":
            keys = [value for name, value in self.headers if name == b"sec-websocket-key"]
            if len(keys) != 1 or not _KEY.fullmatch(keys[0].strip(b" \t")):
                raise BadRequest(400, "a WebSocket needs one Sec-WebSocket-Key of 16 bytes")
            if self.header(b"sec-websocket-version").strip(b" \t") != b"13":
                raise BadRequest(426, "the version of WebSockets is 13")
        self.upgrade = upgrades[0]

    def _check_target(self) -> None:
        """Accept an absolute form, whose authority replaces the Host (RFC 9112, 3.2.2), and *."""
        if self.target == b"*" and self.method == b"OPTIONS":
            return
        found = _ABSOLUTE.fullmatch(self.target)
        if found is None or not _HOST.fullmatch(found[1]) or len(found[1]) > _LONGEST_HOST:
            raise BadRequest(400, "the target must be a path of printable ASCII")
        self.host, rest = found[1], found[2]
        if not rest and self.method == b"OPTIONS":
            rest = b"*"
        self.target = rest if rest.startswith((b"/", b"*")) else b"/" + rest

    def read_checked(self) -> None:
        """Read the special headers that a server has checked. Raises ``RequestRefused``."""
        lengths = 0
        for kind, value in self._framing:
            if kind == HOST:
                self.host = value
            elif kind == LENGTH:
                lengths += 1
                if not value.isdigit() or len(value) > 18:
                    raise RequestRefused(ERROR_RESPONSES["bad_request"])
                self.length = int(value)
            elif kind == CODING:
                self.chunked = True
        if lengths > 1 or (lengths and self.chunked) or not _TARGET.fullmatch(self.target):
            raise RequestRefused(ERROR_RESPONSES["bad_request"])
        if self.host is not None and not (self.host.isascii() and len(self.host) <= _LONGEST_HOST):
            raise RequestRefused(ERROR_RESPONSES["bad_request"])

    # -- what passes ------------------------------------------------------------------------------

    def select(self, *, trusted: bool, token_name: bytes | None) -> None:
        """Complete ``fields``: cookies without the token, and nothing that belongs to the hop.

        ``given``, ``request_id``, ``via``, ``cookie`` and ``max_forwards`` are set too.
        """
        cookies: list[bytes] | None = None
        named: set[bytes] | None = None
        for kind, name, value in self._special:
            if kind == COOKIE:
                if cookies is None:
                    cookies = [value]
                else:
                    cookies.append(value)
            elif kind == CONNECTION:
                if value == b"keep-alive":  # as most are
                    continue
                tokens = {token.strip(b" \t").lower() for token in value.split(b",")} - _KEPT
                named = tokens if named is None else named | tokens
            else:
                self._read(kind, name, value, trusted)
        if named:
            self.fields = _without(self.fields, named)
        if cookies is not None:
            self._select_cookies(cookies, token_name)

    def _read(self, kind: int, name: bytes, value: bytes, trusted: bool) -> None:
        if kind == VIA:
            self.via = [*(self.via or ()), value]
        elif kind == MAX_FORWARDS:
            self.max_forwards = value.strip(b" \t")
        elif trusted and kind == REQUEST_ID:
            if _REQUEST_ID.fullmatch(value):
                self.request_id = value.decode("ascii")
        elif trusted and kind == FORWARDED:
            given = self.given = self.given or {}
            key, text = name.decode("latin-1"), value.decode("latin-1")
            given[key] = f"{given[key]}, {text}" if key in given else text

    def _select_cookies(self, cookies: list[bytes], token_name: bytes | None) -> None:
        sent = cookies[0] if len(cookies) == 1 else b"; ".join(cookies)
        if sent:
            self.cookie = sent
            kept = sent
            if token_name is not None and token_name in sent:
                cut = _without_short if len(sent) <= _SHORT_COOKIES else without_cookie
                kept = cut(sent, token_name)
            if kept:
                self.fields += (b"cookie: ", kept, _CRLF)


def _without(fields: list[bytes], names: set[bytes]) -> list[bytes]:
    """``fields`` without the headers of these names."""
    return [
        piece
        for at in range(0, len(fields), 3)
        if fields[at][:-2] not in names
        for piece in fields[at : at + 3]
    ]


class ResponseHead:
    """A response's status and headers. ``fields`` are the pieces of the headers that pass.

    ``length`` is the length of the body, ``coded`` whether it comes in chunks. ``is_stream`` is
    whether it lasts as long as the client likes, ``is_shared`` whether a shared cache may store it
    without asking (RFC 9111, section 5.2.2).
    """

    # as in RequestHead
    status = 0
    length: bytes | None = None
    coded = is_stream = is_shared = closes = sets_cookie = False
    upgrade = b""
    problem: str | None = None

    def __init__(self) -> None:
        self.fields: list[bytes] = []
        self.special: list[tuple[int, bytes, bytes]] = []

    def add(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        kind, _, prefix = RESPONSE_KINDS.get(name) or learn_response_kind(name)
        if kind == PLAIN:
            self.fields += (prefix, value, _CRLF)
        else:
            self.special.append((kind, prefix, value))

    @property
    def count(self) -> int:
        """The number of headers."""
        return len(self.fields) // 3 + len(self.special)

    @property
    def size(self) -> int:
        """Bytes of the headers, about."""
        return sum(map(len, self.fields)) + sum([len(value) + 20 for _, _, value in self.special])

    def read_framing(self) -> None:
        """Set ``length`` and ``coded``; ``problem`` is why the body's end is not known."""
        named: set[bytes] | None = None
        kept = self.fields
        for kind, prefix, value in self.special:
            if kind == LENGTH:
                length = value.strip(b" \t")
                if not length.isdigit() or len(length) > 18 or self.length not in (None, length):
                    self.problem = "lengths that differ or are not numbers"
                self.length = length
            elif kind == TYPE:
                self.is_stream = value.startswith(b"text/event-stream")
                kept += (prefix, value, _CRLF)
            elif kind == CACHE_CONTROL:
                self.is_shared = self.is_shared or b"public" in value or b"s-maxage" in value
                kept += (prefix, value, _CRLF)
            elif kind in (SET_COOKIE, VIA):
                self.sets_cookie = self.sets_cookie or kind == SET_COOKIE
                kept += (prefix, value, _CRLF)
            elif kind == CONNECTION:
                if value != b"keep-alive":  # as most are
                    named = self._read_connection(value, named or set())
            else:
                self._read_coding(kind, value)
        if named:
            self.fields = _without(kept, named - _NEEDED)

    def _read_connection(self, value: bytes, named: set[bytes]) -> set[bytes]:
        tokens = {token.strip(b" \t").lower() for token in value.split(b",")}
        self.closes = self.closes or b"close" in tokens
        return named | tokens

    def _read_coding(self, kind: int, value: bytes) -> None:
        if kind == CODING:
            if self.coded or value.strip(b" \t").lower() != b"chunked":
                self.problem = f"the transfer coding {value[:100]!r}"
            self.coded = True
        elif kind == UPGRADE:
            self.upgrade = value

    def drop_cookie(self, name: bytes) -> None:
        """Drop what would set the cookie ``name``, which a host never sees.

        The client would lose the one that keeps it, and its host. A gateway behind this one sets
        it in each response.
        """
        fields = self.fields
        self.fields = [
            piece
            for at in range(0, len(fields), 3)
            if fields[at] != b"set-cookie: " or _set_by(fields[at + 1]) != name
            for piece in fields[at : at + 3]
        ]

    def drop(self, name: bytes) -> None:
        """Drop the header of this lower-case name."""
        self.fields = _without(self.fields, {name})


def is_trailer(name: bytes) -> bool:
    """Whether a field may stand in a trailer.

    >>> is_trailer(b"Server-Timing"), is_trailer(b"Content-Length")
    (True, False)
    """
    return name.lower() not in _NO_TRAILER


def _set_by(value: bytes) -> bytes:
    """The name under which a cookie would come back.

    >>> _set_by(b" sid =x; Path=/"), _set_by(b"=sid=x")     # browsers send a nameless one as it is
    (b'sid', b'sid')
    """
    return value.partition(b";")[0].lstrip(b" \t=").partition(b"=")[0].strip(b" \t")
