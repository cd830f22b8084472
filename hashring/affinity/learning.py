"""Sessions that a host names in a response: where the ID stands, and where it comes back.

``LearnRule`` describes one kind of session, ``preset`` returns those of known protocols.
``ResponseScan`` reads the ID from the body of a response while it passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hashring.affinity.identity._source import MOST_BYTES
from hashring.errors import ConfigError
from hashring.text import bounded_repr, suggestion

BODY_LIMIT = 64 * 1024
"""Bytes of a response in which an ID is looked for: an API's answer to a first request is short,
and an event stream has its ID in one of the first events."""

_FROM = ("response-header", "response-cookie", "response-json", "response-sse")
_FIND = ("header", "cookie", "query", "json", "path")
_WRAPPED_FROM = ("response-header", "response-cookie")
_WRAPPED_FIND = ("header", "cookie", "query")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class LearnRule:
    """One kind of session that hosts name.

    ``sources`` are places in a response, ``places`` places in a request. ``mode`` is ``table``
    (the router remembers the host of an ID) or ``envelope`` (the ID carries its host). A request
    whose method is in ``forget_on``, or whose response has such a status, ends its session. Raises
    ``ConfigError``.

    >>> LearnRule(("response-header:x-room",), ("header:x-room", "query:room"))
    LearnRule(sources=('response-header:x-room',), places=('header:x-room', 'query:room'), \
mode='table', forget_on=())
    """

    sources: tuple[str, ...]
    places: tuple[str, ...]
    mode: str = "table"
    forget_on: tuple[str | int, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in ("table", "envelope"):
            raise ConfigError(
                f"mode is 'table' or 'envelope', got {bounded_repr(self.mode)}", option="mode"
            )
        wrapped = self.mode == "envelope"
        _check(self.sources, _WRAPPED_FROM if wrapped else _FROM, "from", wrapped)
        _check(self.places, _WRAPPED_FIND if wrapped else _FIND, "find", wrapped)
        for each in self.forget_on:
            is_status = type(each) is int and 400 <= each <= 599
            if not is_status and each not in _METHODS:
                raise ConfigError(
                    f"forget_on has methods and statuses from 400, such as 'DELETE' and 404, got "
                    f"{bounded_repr(each)}",
                    option="forget_on",
                )


def _check(texts: tuple[str, ...], known: tuple[str, ...], option: str, wrapped: bool) -> None:
    if not texts:
        raise ConfigError(f"{option} names no place: write {known[0]}:NAME", option=option)
    for text in texts:
        word, _, name = text.partition(":")
        if word not in known or not name:
            only = "an envelope has only " if wrapped else "the places are "
            only += ", ".join(f"{kind}:NAME" for kind in known)
            raise ConfigError(f"{text!r} is not a place of {option}: {only}", option=option)


_PRESETS: Mapping[str, LearnRule] = {
    # Model Context Protocol 2025-03-26 to 2025-11-25, "Session Management"
    "mcp": LearnRule(
        ("response-header:mcp-session-id",),
        ("header:mcp-session-id",),
        forget_on=("DELETE", 404),
    ),
    # Engine.IO 4: the first polling response is an open packet, 0{"sid":"..."}
    "socketio": LearnRule(("response-json:sid",), ("query:sid",)),
    "jsessionid": LearnRule(("response-cookie:JSESSIONID",), ("cookie:JSESSIONID",)),
    "phpsessid": LearnRule(("response-cookie:PHPSESSID",), ("cookie:PHPSESSID",)),
    # the ID of a response names it in the next request; a stream has it in its first event
    "openai-responses": LearnRule(
        (
            "response-json:id",
            "response-sse:response.id",
            "response-json:conversation.id",
            "response-sse:response.conversation.id",
        ),
        ("json:previous_response_id", "json:conversation.id", "json:conversation"),
    ),
}


def preset(name: str, mode: str = "table") -> LearnRule:
    """The rule of a known protocol. Raises ``ConfigError``.

    >>> preset("mcp").places
    ('header:mcp-session-id',)
    """
    if name not in _PRESETS:
        raise ConfigError(
            f"there is no preset {bounded_repr(name)}: {suggestion(name, list(_PRESETS))}",
            option="preset",
        )
    rule = _PRESETS[name]
    return LearnRule(rule.sources, rule.places, mode, rule.forget_on)


def field_in(value: Any, path: str) -> str | None:
    """The text or int at a dotted path of parsed JSON; None for anything else, or too long.

    >>> field_in({"response": {"id": "r1"}}, "response.id"), field_in([], "id")
    ('r1', None)
    """
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not value:
        return None
    try:
        return value if len(value.encode()) <= MOST_BYTES else None
    except UnicodeEncodeError:
        return None


class ResponseScan:
    """Looks for session IDs in the body of one response, while it passes.

    ``json_paths`` are read at the end of the body, ``sse_paths`` in each event as it comes. At most
    ``BODY_LIMIT`` bytes are kept..

    >>> scan = ResponseScan([], ["response.id"])
    >>> scan.feed(b'event: response.created\\ndata: {"response": '), scan.feed(b'{"id": "r1"}}\\n')
    ([], ['r1'])
    >>> polling = ResponseScan(["sid"], [])
    >>> polling.feed(b'0{"sid":"abc","upgrades":[]}'), polling.end()
    ([], ['abc'])
    """

    def __init__(self, json_paths: Iterable[str], sse_paths: Iterable[str]) -> None:
        self._json, self._sse = list(json_paths), list(sse_paths)
        self._buffer = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Some of the body has come; the IDs that it completes."""
        if self._size > BODY_LIMIT:
            return []
        self._size += len(chunk)
        if self._size > BODY_LIMIT and self._json:
            self._buffer.clear()  # a longer document is not looked into
            return []
        self._buffer += chunk
        if not self._sse:
            return []
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                found += self._ids(line[5:], self._sse)
        if found:
            self._sse = []  # the others repeat it
        return found

    def end(self) -> list[str]:
        """The body is complete; the IDs in it."""
        if not self._json or self._size > BODY_LIMIT:
            return []
        return self._ids(bytes(self._buffer), self._json)

    @staticmethod
    def _ids(text: bytes, paths: list[str]) -> list[str]:
        # a packet of Engine.IO has its type before the JSON
        at = text.find(b"{")
        if at < 0 or at > 16:
            return []
        try:
            value, _ = json.JSONDecoder().raw_decode(text[at:].decode())
        except (ValueError, RecursionError):
            return []
        found = [field_in(value, path) for path in paths]
        return [each for each in found if each is not None]
