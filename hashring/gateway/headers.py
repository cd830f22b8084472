"""Headers of requests to hosts and of responses to clients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from hashring.gateway.error_responses import ERROR_RESPONSES, RequestRefused
from hashring.gateway.upstream import InvalidResponse

# of one connection, not of the request (RFC 9110, section 7.6.1); the server answers Expect itself
_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy",  # a CGI or WSGI host would read it as the variable HTTP_PROXY (httpoxy)
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_HANDLED = frozenset(
    {b"content-length", b"cookie", b"forwarded", b"host", b"x-real-ip", b"x-request-id"}
)
_OURS = b"x-forwarded-"
_SPECIAL = _HOP | _HANDLED
# what a client must not be able to take away from its own request by "Connection: cookie"
_KEPT = frozenset({"authorization", "content-length", "content-type", "cookie", "host", "origin"})
# what most requests consist of, and what needs no second look
_PLAIN = {
    name.encode(): name
    for name in (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "content-type",
        "if-modified-since",
        "if-none-match",
        "origin",
        "pragma",
        "priority",
        "range",
        "referer",
        "user-agent",
    )
}
_WEBSOCKET = "sec-websocket-"
# of an answer: what is left out or looked at; the request ID is the gateway's own
_APART = _HOP | {b"content-length", b"set-cookie", b"x-request-id"}
# what a host cannot take away from its own answer
_NEEDED = frozenset({b"set-cookie", b"content-type", b"content-length"})
_REQUEST_ID = re.compile(rb"[!-~]{1,200}")
_BAD_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _is_spoof(name: bytes) -> bool:
    """Whether an underscore makes this a second spelling of a header that we set or read.

    >>> _is_spoof(b"x_forwarded_for"), _is_spoof(b"my_header")
    (True, False)
    """
    plain = name.replace(b"_", b"-")
    return plain in _SPECIAL or plain.startswith(_OURS) or plain == b"authorization"


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


@lru_cache(16)  # a process has few names for its tokens
def _cookie_called(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb";[ \t]*" + re.escape(name) + rb"[ \t]*(?:=[^;]*)?(?=;|$)")


class RequestHead:
    """A request's headers, read once: ``headers`` are those that go on, in the order sent.

    ``given`` are the forwarding headers, which count only if the sender is ``trusted``. Raises
    ``RequestRefused`` for two lengths, a length beside chunks, and invalid UTF-8: the client that
    speaks to the hosts would write other bytes than those that came. Cost: 0.3 us a header.
    """

    __slots__ = (
        "_connection",
        "_cookies",
        "_lengths",
        "chunked",
        "cookie",
        "given",
        "headers",
        "host",
        "length",
        "request_id",
    )

    def __init__(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        trusted: bool = False,
        token_name: bytes | None = None,
    ) -> None:
        self.headers: list[tuple[str, str]] = []
        self.given: dict[str, str] = {}
        self.host: str | None = None
        self.request_id: str | None = None
        self.cookie: str | None = None
        self.chunked = False
        self._connection: list[bytes] = []
        self._cookies: list[bytes] = []
        self._lengths: list[bytes] = []
        try:
            self._read(headers, trusted)
            if self._connection:
                self._drop_named()
            if self._cookies:
                self._settle_cookies(token_name)
        except UnicodeDecodeError:
            raise RequestRefused(ERROR_RESPONSES["bad_request"]) from None
        self.length = self._settled_length() if self._lengths else None

    def _read(self, headers: Iterable[tuple[bytes, bytes]], trusted: bool) -> None:
        add = self.headers.append
        plain = _PLAIN.get
        for name, value in headers:
            known = plain(name)
            if known is not None:
                add((known, value.decode()))
            elif name == b"host":
                self.host = value.decode("ascii")
            elif name == b"cookie":
                self._cookies.append(value)
            elif name in _SPECIAL:
                self._special(name, value, trusted)
            elif name.startswith(_OURS):
                if trusted:
                    self._tell(name, value)
            elif b"_" not in name or not _is_spoof(name):
                add((name.decode("ascii"), value.decode()))

    def _special(self, name: bytes, value: bytes, trusted: bool) -> None:
        if name == b"content-length":
            self._lengths.append(value)
        elif name == b"connection":
            self._connection.append(value)
        elif name == b"transfer-encoding":
            self.chunked = True
        elif trusted and name == b"x-request-id":
            self.request_id = value.decode("ascii") if _REQUEST_ID.fullmatch(value) else None
        elif trusted and name in (b"forwarded", b"x-real-ip"):
            self._tell(name, value)

    def _tell(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("ascii"), value.decode()
        self.given[key] = f"{self.given[key]}, {text}" if key in self.given else text

    def _drop_named(self) -> None:
        """Leave out what ``Connection`` names, but for what a client must not take away."""
        named = {
            token.strip(b" \t").lower().decode("ascii")
            for value in self._connection
            for token in value.split(b",")
        }
        named -= _KEPT
        if named - {"", "close", "keep-alive", "upgrade"}:
            self.headers = [pair for pair in self.headers if pair[0] not in named]

    def _settle_cookies(self, token_name: bytes | None) -> None:
        """All cookies for who reads the token; without it for the host."""
        cookies = self._cookies
        sent = cookies[0] if len(cookies) == 1 else b"; ".join(cookies)
        if sent:
            self.cookie = sent.decode("latin-1")
            kept = sent if token_name is None else without_cookie(sent, token_name)
            if kept:
                self.headers.append(("cookie", kept.decode()))

    def _settled_length(self) -> int:
        lengths = self._lengths
        if len(lengths) > 1 or self.chunked or not lengths[0].isdigit() or len(lengths[0]) > 18:
            raise RequestRefused(ERROR_RESPONSES["bad_request"])
        return int(lengths[0])

    @property
    def accept(self) -> str:
        """What the client would rather read; ``""`` if it does not say."""
        return next((value for name, value in self.headers if name == "accept"), "")

    def for_websocket(self) -> list[tuple[str, str]]:
        """The headers of an upgrade, without those that belong to one handshake."""
        return [pair for pair in self.headers if not pair[0].startswith(_WEBSOCKET)]


@lru_cache(1024)  # hosts use few names
def _lowered(name: bytes) -> bytes:
    """``name`` as it goes on. Raises ``InvalidResponse`` for an invalid name."""
    if not name or _BAD_NAME.search(name):
        raise InvalidResponse(f"a header called {name[:100]!r}")
    return name.lower()


def response_headers(
    headers: Sequence[tuple[bytes, bytes]],
    *,
    bodiless: bool = False,
    token_name: bytes | None = None,
) -> list[tuple[bytes, bytes]]:
    """The headers of a host's response for the client. ``bodiless``: of one without a body.

    A host may not set the cookie ``token_name``, which it never sees: the client would lose the
    one that keeps it, and its host. A gateway behind this one sets it in each answer.

    Raises ``InvalidResponse`` for lengths that differ and for bytes that are not allowed in a
    header: the client may read them in another way.

    >>> response_headers([(b"Server", b"x"), (b"Connection", b"close")])
    [(b'server', b'x')]
    """
    if _BAD_VALUE.search(b"".join([value for _, value in headers])):
        raise InvalidResponse("a header with control characters")
    kept: list[tuple[bytes, bytes]] = []
    length: bytes | None = None
    named: list[bytes] = []
    chunked = False
    for name, value in headers:
        name = _lowered(name)
        if name not in _APART:
            kept.append((name, value))
        elif name == b"content-length":
            value = value.strip(b" \t")
            if not value.isdigit() or (length is not None and value != length):
                raise InvalidResponse("lengths that differ or are not numbers")
            length = value
        elif name == b"connection":
            named += value.split(b",")
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"set-cookie" and (token_name is None or _set_by(value) != token_name):
            kept.append((name, value))
    if length is not None and not bodiless and not chunked:
        kept.append((b"content-length", length))
    return _without(kept, named) if named else kept


def _set_by(value: bytes) -> bytes:
    """The name under which a cookie would come back.

    >>> _set_by(b" sid =x; Path=/"), _set_by(b"=sid=x")     # browsers send a nameless one as it is
    (b'sid', b'sid')
    """
    return value.partition(b";")[0].lstrip(b" \t=").partition(b"=")[0].strip(b" \t")


def _without(pairs: list[tuple[bytes, bytes]], tokens: list[bytes]) -> list[tuple[bytes, bytes]]:
    """``pairs`` without those that ``Connection`` names, but for what a client cannot miss."""
    named = {token.strip(b" \t").lower() for token in tokens} - _NEEDED
    return [pair for pair in pairs if pair[0] not in named]
