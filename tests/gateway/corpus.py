"""Requests that nobody should send, by class: (class, bytes, whether they must be refused).

``True``: no byte of it may reach a host as a request; ``False``: it is legal and must arrive as
one; ``None``: either, as long as it is one request or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Case(NamedTuple):
    kind: str
    request: bytes
    refused: bool | None


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"


def _post(*lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = (b"POST /hostile HTTP/" + version, b"Host: test", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _get(*lines: bytes, first: bytes = b"GET /hostile HTTP/1.1", host: bytes = b"test") -> bytes:
    return b"\r\n".join((first, b"Host: " + host, *lines)) + b"\r\n\r\n"


def _versions() -> Iterator[Case]:
    yield Case("version", b"GET /hostile\r\n\r\n", True)
    yield Case("version", b"GET /hostile\r\nHost: test\r\n\r\n", True)
    for version in (b"0.9", b"1.2", b"1.9", b"2.0", b"3.0", b"1.10", b"11", b"1", b"", b"1.1x"):
        yield Case("version", _get(first=b"GET /hostile HTTP/" + version), True)
    yield Case("version", _get(first=b"GET /hostile RTSP/1.0"), None)  # read as HTTP/1.0
    for first in (
        b"GET /hostile http/1.1",
        b"GET /hostile HTTPS/1.1",
        b"GET /hostile ICE/1.1",
        b"GET  /hostile  HTTP/1.1 x",
    ):
        yield Case("version", _get(first=first), True)


def _hosts() -> Iterator[Case]:
    yield Case("host", b"GET /hostile HTTP/1.1\r\n\r\n", True)
    yield Case("host", _get(b"Host: other"), True)
    yield Case("host", _get(b"Host: test"), True)
    yield Case("host", _get(b"HOST: other"), True)
    yield Case("host", b"GET /hostile HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", True)
    for host in (
        b"",
        b"a b",
        b"a,b",
        b"a/b",
        b"a@b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"[::1",
        b"a:99999999",
        b"a:b",
        b"a" * 400,
        b"a:80:80",
        b"\xc3\xa4",
        b"a\x01b",
        b"a\tb",
        b"http://a",
        b"<a>",
    ):
        yield Case("host", _get(host=host), True)
    for host in (b"a", b"a:", b"a.b:80", b"[::1]:80", b"a_b", b"127.0.0.1"):
        yield Case("host", _get(host=host), False)


def _codings() -> Iterator[Case]:
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    for coding in (
        b"gzip, chunked",
        b"chunked, gzip",
        b"gzip",
        b"identity",
        b"xchunked",
        b"chunked,",
        b",chunked",
        b"chunked, chunked",
        b"\x0bchunked",
        b'"chunked"',
        b"chunked;q=1",
        b"chunked\x00",
        b"chunke\xc4\x91",
        b"",
    ):
        yield Case("coding", _post(b"Transfer-Encoding: " + coding, body=chunks), True)
        yield Case(
            "coding and length",
            _post(b"Transfer-Encoding: " + coding, b"Content-Length: 5", body=chunks + SMUGGLED),
            True,
        )
    for lines in (
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding : chunked",),
        (b" Transfer-Encoding: chunked",),
        (b"X: a", b" Transfer-Encoding: chunked"),
        (b"Transfer-Encoding:\n chunked",),
        (b"X: a\nTransfer-Encoding: chunked",),
        (b"X: a\rTransfer-Encoding: chunked",),
    ):
        yield Case("coding twice", _post(*lines, body=chunks + SMUGGLED), True)
    yield Case(
        "coding on 1.0", _post(b"Transfer-Encoding: chunked", body=chunks, version=b"1.0"), True
    )
    yield Case("coding", _post(b"Transfer-Encoding: CHUNKED", body=chunks), False)
    yield Case("coding", _post(b"Transfer_Encoding: chunked", b"Content-Length: 0"), False)


def _lengths() -> Iterator[Case]:
    for length in (
        b"-1",
        b"+5",
        b"0x5",
        b"5 5",
        b"5,5",
        b"5, 5",
        b"",
        b"5.0",
        b"5e0",
        b"five",
        b"\xd9\xa5",
        b"99999999999999999999",
        b"18446744073709551621",
        b"5;",
        b"5\x00",
    ):
        yield Case("length", _post(b"Content-Length: " + length, body=b"hello" + SMUGGLED), True)
    for pair in ((b"5", b"6"), (b"5", b"5"), (b"0", b"5"), (b"5", b"0"), (b"5", b"x")):
        lines = [b"Content-Length: " + one for one in pair]
        yield Case("length twice", _post(*lines, body=b"hello" + SMUGGLED), True)
    yield Case("length", _post(b"Content-Length : 5", body=b"hello"), True)
    yield Case("length too long", _post(b"Content-Length: 50", body=b"hello"), True)
    yield Case("length", _post(b"Content-Length: 5", body=b"hello"), False)
    yield Case("length", _post(b"Content-Length: 005", body=b"hello"), False)
    yield Case("length on GET", _get(b"Content-Length: 5") + b"hello", False)


def _chunks() -> Iterator[Case]:
    for body in (
        b"-1\r\nx\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"g\r\nx\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n00x\r\n\r\n",
    ):
        yield Case("chunks", _post(b"Transfer-Encoding: chunked", body=body + SMUGGLED), True)
    yield Case("chunks cut", _post(b"Transfer-Encoding: chunked", body=b"5\r\nhel"), True)
    endless = b"5;" + b"a" * 200_000
    yield Case("chunks", _post(b"Transfer-Encoding: chunked", body=endless), True)
    for body in (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n"):
        yield Case("chunks", _post(b"Transfer-Encoding: chunked", body=body), None)
    for trailer in (
        b"Host: evil",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"X-Forwarded-For: 1.1.1.1",
        b"Cookie: a=b",
        b"Authorization: x",
    ):
        body = b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n"
        yield Case("trailers", _post(b"Transfer-Encoding: chunked", body=body), None)
    body = b"5\r\nhello\r\n0\r\nX: " + b"a" * 200_000
    yield Case("trailers", _post(b"Transfer-Encoding: chunked", body=body), True)


def _targets() -> Iterator[Case]:
    for target in (
        b"http://a@evil/x",
        b"http:///x",
        b"ftp://evil/x",
        b"http://evil/x#y",
        b"//evil@x http://y",
        b"*",
        b"evil",
        b"/a#b",
        b"/\xc3",
        b"/a\x00b",
        b"/a\x7fb",
        b"/a\tb",
        b"?a=b",
        b"evil:443",
        b"/a b",
        b"#",
        b"/\x80",
    ):
        yield Case("target", _get(first=b"GET " + target + b" HTTP/1.1"), True)
    yield Case("target", _get(first=b"CONNECT evil:443 HTTP/1.1"), True)
    yield Case("target", _get(first=b"CONNECT /evil HTTP/1.1"), True)
    yield Case("target", _get(first=b"OPTIONS * HTTP/1.1"), False)
    for target in (b"http://evil/x", b"HTTPS://evil:443?x", b"/\xc3\xa4"):
        yield Case("target", _get(first=b"GET " + target + b" HTTP/1.1"), False)
    for target in (
        b"//evil/x",
        b"/a/../b//c",
        b"/%2e%2e/x",
        b"/a?",
        b"/?a=b&c",
        b"/%zz",
        b"/a;b",
        b"/%00",
        b"/a\\b",
        b"/a|b",
        b"/{x}",
        b'/"',
    ):
        yield Case("target", _get(first=b"GET " + target + b" HTTP/1.1"), False)


def _fields() -> Iterator[Case]:
    for line in (
        b"X : a",
        b": a",
        b"X\x00: a",
        b"X: a\x00b",
        b"X\xff: a",
        b"X(y): a",
        b"X",
        b"X y: a",
        b"X: a\x0bb",
        b"X: a\x7f",
        b"X: a\r b",
        b'"X": a',
        b"X\t: a",
        b"X: a\r\n folded",
        b"X: a\r\n\tfolded",
        b"\tX: a",
        b"X: a\nY: b",
        b"X: a\x01",
    ):
        yield Case("field", _get(line), True)
    yield Case("many fields", _get(*[b"X: a"] * 2_000), True)
    yield Case("many fields", _get(*[b"X: a"] * 101), True)
    yield Case("long field", _get(b"X: " + b"a" * 100_000), True)
    yield Case("long field", _get(b"X" * 100_000 + b": a"), True)
    yield Case("long target", _get(first=b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), True)
    yield Case(
        "endless field", b"GET /hostile HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 300_000, True
    )
    for line in (
        b"Connection: x, cookie, host, authorization",
        b"X_Forwarded_For: 1.1.1.1",
        b"X-Forwarded-For: 1.1.1.1",
        b"Forwarded: for=1.1.1.1",
        b"X-Real-IP: 1.1.1.1",
        b"Proxy-Connection: keep-alive",
        b"Keep-Alive: 1",
        b"TE: trailers",
        b"Expect: 100-continue",
        b"Expect: x",
        b"X: ",
        b"Connection: close",
        b"Trailer: Host",
        b"Upgrade: foo",
        b"Content_Length: 5",
        b"X: \xc3\xa4",
        b"X: \xff\xfe",
    ):
        yield Case("odd field", _get(line), False)


def _upgrades() -> Iterator[Case]:
    upgrade = b"Connection: Upgrade"
    yield Case(
        "upgrade with a body",
        _post(upgrade, b"Upgrade: foo", b"Content-Length: 148"),
        True,
    )
    for protocol in (b"foo", b"TLS/1.0", b"websocket2", b"", b"foo, websocket"):
        yield Case("upgrade", _get(upgrade, b"Upgrade: " + protocol) + SMUGGLED, True)
    for protocol in (b"TLS/1.0", b"HTTP/2.0", b"h2", b"", b"foo, websocket"):
        yield Case(
            "upgrade", _get(b"Connection: keep-alive, upgrade", b"Upgrade: " + protocol), True
        )
    # one name is offered to the host, HTTP/2 to none: a host that takes no offer gets one request
    for protocol in (b"foo", b"websocket2", b"h2c", b"H2C, foo"):
        yield Case("upgrade not taken", _get(upgrade, b"Upgrade: " + protocol), False)
    settings = b"Connection: Upgrade, HTTP2-Settings"
    for framing, body in (
        (b"Content-Length: 5", b"hello"),
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ):
        offer = (settings, b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
        yield Case("upgrade not taken", _post(*offer, framing, body=body), False)
    for lines in (
        (upgrade, b"Upgrade: websocket", b"Content-Length: 5"),
        (upgrade, b"Upgrade: websocket", b"Transfer-Encoding: chunked"),
        (upgrade, b"Upgrade: websocket", b"Upgrade: foo"),
        (upgrade, b"Upgrade: foo", b"Upgrade: websocket"),
    ):
        yield Case("upgrade", _get(*lines) + b"hello", True)
    for first in (b"POST /hostile HTTP/1.1", b"GET /hostile HTTP/1.0"):
        yield Case("upgrade", _get(upgrade, b"Upgrade: websocket", first=first), True)
    yield Case("upgrade", _get(upgrade, b"Upgrade: websocket"), True)  # no key
    yield Case("upgrade", _get(upgrade), None)


def _lines() -> Iterator[Case]:
    for first in (
        b" GET /hostile HTTP/1.1",
        b"GET\t/hostile\tHTTP/1.1",
        b"get /hostile HTTP/1.1",
        b"EVIL /hostile HTTP/1.1",
        b"G\x00T /hostile HTTP/1.1",
        b"GET /hostile HTTP/1.1 ",
        b"GET /hostile",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02",
        b"{}",
    ):
        yield Case("first line", _get(first=first), True)
    yield Case("line ends", b"GET /hostile HTTP/1.1\nHost: test\n\n", True)
    yield Case("line ends", b"GET /hostile HTTP/1.1\rHost: test\r\r", True)
    yield Case("line ends", b"\r\n\r\n" + _get(), None)
    yield Case("line ends", b"\n" + _get(), None)


def corpus() -> list[Case]:
    """All cases."""
    makers = (_versions, _hosts, _codings, _lengths, _chunks, _targets, _fields, _upgrades, _lines)
    return [case for maker in makers for case in maker()]
