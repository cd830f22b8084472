"""Which requests does our own server refuse?  Those that may be read in two ways, or never end.

A subclass of uvicorn's httptools protocol. It leans on private names of one minor version of
uvicorn, which the extra ``gateway`` pins and ``tests/gateway`` holds.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hashring.config.settings import Limits, Timeouts
from hashring.gateway.proxy import CUT
from hashring.gateway.target import TARGET

_TARGET = re.compile(rb"/[!\"$-~]*")  # printable ASCII without the fragment's sign
_HOST = re.compile(rb"(?:[0-9A-Za-z._~\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"upgrade"})

_AMBIGUOUS = (400, "the framing of the request is ambiguous")


class _ParserStop(Exception):  # noqa: N818  # it only ends the parser's work
    """What was read last is refused."""


class StrictProtocol(HttpToolsProtocol):
    """Refuses what may be read in two ways, before the application sees it, and hangs up.

    400: no or two hosts, two lengths or one that is not a number, a length beside chunks, a target
    that is not a path, an upgrade with a body, or before the response to an earlier request. 408:
    no whole head in 10 s. 431: a head over 64 KiB or 100 fields. 501: an encoding other than
    ``chunked``, an upgrade other than WebSocket. 505: another version than 1.0 and 1.1. Trailers
    are dropped.
    """

    most_head = Limits.head
    most_fields = Limits.headers
    head_seconds = Timeouts.head

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._reading = False  # between a head's end and its message's
        self._fruitless = 0  # bytes since anything came of them
        self._framing: list[tuple[bytes, bytes]] = []
        self._refusal: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None

    # -- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client has come: its first head is due."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what goes on without end."""
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._fruitless += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "this is not valid HTTP/1.1")))
            return
        if self._fruitless > self.most_head:
            self._refuse(*self._endless())
        elif not self._reading and self._deadline is None and self._awaits_head():
            self._expect_head()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: no head will follow."""
        self._forget_deadline()
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """After the last answer, say what was refused after it."""
        super().on_response_complete()
        if self._refusal is not None and not self.pipeline and self.cycle.response_complete:
            self._say(*self._refusal)

    # -- what the parser finds --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        self._framing = []
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field, of a head or (dropped) of a trailer."""
        if not self._in_head:
            return  # a trailer: merged into the headers it could become any of them
        name = name.lower()
        if name in _FRAMING:
            self._framing.append((name, value))
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        headers = self.headers
        headers.append((name, value))
        if len(headers) > self.most_fields:
            self._stop(*self._endless())

    def on_headers_complete(self) -> None:
        """The head is whole: check it, then let uvicorn begin the request."""
        self._in_head = False
        self._reading = True
        self._fruitless = 0
        self._forget_deadline()
        self._check()
        scope: Any = self.scope  # the two keys are ours, by their names
        scope[TARGET] = self.url
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            scope[CUT] = partial(_cut, self.cycle)
            if (
                scope["http_version"] == "1.0"
            ):  # it knows no chunks: the connection's end is the end
                self.cycle.chunked_encoding = False
                self.cycle.expected_content_length = _UntilClose()

    def on_body(self, body: bytes) -> None:
        """Some of a body."""
        self._fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._fruitless = 0
        self._reading = False
        super().on_message_complete()

    def _check(self) -> None:
        version = self.parser.get_http_version()
        if version == "1.0":
            self.expect_100_continue = False  # it would take that for the answer (RFC 9110, 10.1.1)
        elif version != "1.1":
            self._stop(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        if not _TARGET.fullmatch(self.url):
            self._stop(400, "the target must be a path of printable ASCII")
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > self.most_head:
            self._stop(*self._endless())
        framing, upgrade = self._framing, self.parser.should_upgrade()
        if (
            not upgrade
            and len(framing) == 1
            and framing[0][0] == b"host"
            and _HOST.fullmatch(framing[0][1])
        ):
            return  # as most requests are
        self._check_framing(version)

    def _check_framing(self, version: str) -> None:
        found: dict[bytes, list[bytes]] = {name: [] for name in _FRAMING}
        for name, value in self._framing:
            found[name].append(value)
        hosts, codings = found[b"host"], found[b"transfer-encoding"]
        bodies = found[b"content-length"] + codings
        if not all(map(_HOST.fullmatch, hosts)) or len(hosts) > 1:
            self._stop(400, "the Host must be one name or address")
        if not hosts and version == "1.1":
            self._stop(400, "HTTP/1.1 needs a Host")
        if any(value.lower() != b"chunked" for value in codings):
            self._stop(501, "the only transfer coding is chunked")
        if not all(value.isdigit() and len(value) <= 18 for value in found[b"content-length"]):
            self._stop(*_AMBIGUOUS)
        if len(bodies) > 1 or (codings and version == "1.0"):
            self._stop(*_AMBIGUOUS)
        if self.parser.should_upgrade() or b"" in found[b"upgrade"]:
            self._check_upgrade(len(bodies), len(found[b"upgrade"]), version)

    def _check_upgrade(self, bodies: int, upgrades: int, version: str) -> None:
        """An upgrade that is not taken would leave its body to be read as the next request."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if bodies or answering:  # whose answer would come between the frames
            self._stop(*_AMBIGUOUS)
        plain = upgrades == 1 and version == "1.1" and self.parser.get_method() == b"GET"
        if not plain or not self._should_upgrade():
            self._stop(501, "the only upgrade is to a WebSocket")

    # -- refusing ---------------------------------------------------------------------------------

    def _stop(self, status: int, why: str) -> None:
        self._refusal = status, why
        raise _ParserStop

    def _endless(self) -> tuple[int, str]:
        return 431, f"the head is over {self.most_head} bytes or {self.most_fields} fields"

    def _refuse(self, status: int, why: str) -> None:
        """Read no more; say why after the answers to what came before, if that is possible."""
        self._refusal = status, why
        self._forget_deadline()
        cycle = self.cycle
        if self._reading and cycle is not None and not cycle.response_complete and self._begun():
            # the body of a request in progress: the application is notified of a disconnect
            begun = cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True
            cycle.message_event.set()
            self.flow.resume_writing()
            if begun:
                self.transport.abort()
                return
        elif cycle is not None and not cycle.response_complete:
            self.flow.pause_reading()
            return  # on_response_complete sends it
        self._say(status, why)

    def _begun(self) -> bool:
        """Whether the message that is read is the one of the present cycle."""
        return bool(self.cycle.scope is self.scope)

    def _say(self, status: int, why: str) -> None:
        if self.transport.is_closing():
            return
        body = f"{status} {why}\n".encode()
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
            + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()

    # -- the deadline of a head -------------------------------------------------------------------

    def _awaits_head(self) -> bool:
        """Whether more than a whole message has come, or its answer was over before it was.

        Else uvicorn waits for the next request, from the end of the answer.
        """
        cycle = self.cycle
        return self._in_head or self._fruitless > 0 or cycle is None or cycle.response_complete

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_head()  # a part of the next head, while an answer is on its way
        elif not self.transport.is_closing():
            self._refuse(408, f"no whole head came in {self.head_seconds:g} s")


class _UntilClose(int):
    """The length of a body that ends with the connection, from which uvicorn takes each part."""

    def __lt__(self, other: int) -> bool:
        return False

    def __sub__(self, other: int) -> _UntilClose:
        return self


def _cut(cycle: Any, at_once: bool) -> None:
    """End a connection before its answer ends; ``at_once`` forgets what is not yet sent."""
    cycle.disconnected = True
    if at_once:
        cycle.transport.abort()
    else:
        cycle.transport.close()


def strict_protocol(limits: Limits, timeouts: Timeouts) -> type[StrictProtocol]:
    """The protocol with these limits; uvicorn makes its instances, so they stand in a class.

    >>> strict_protocol(Limits(headers=50), Timeouts()).most_fields
    50
    """
    own = {
        "most_head": limits.head,
        "most_fields": limits.headers,
        "head_seconds": timeouts.head,
    }
    return type("StrictProtocol", (StrictProtocol,), own)
