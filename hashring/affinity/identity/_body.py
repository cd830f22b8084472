"""Which client does a JSON body name: a field, or the beginning of a conversation?"""

from __future__ import annotations

import json
import logging
from hashlib import blake2b
from typing import Any

from hashring.affinity.identity._request import Fields
from hashring.affinity.identity._source import IdentitySource, Unusable
from hashring.affinity.json_scan import JsonScan
from hashring.errors import ConfigError
from hashring.validators import BYTES, COUNT, is_int

IDENTITY_BODY = 8 * 1024 * 1024
"""8 MiB: a conversation of a million tokens with some images, and 10 ms to look through."""

_PARSED = 64 * 1024
"""64 KiB: an API call, parsed in well under a millisecond. A longer body is scanned."""

_VALUE = 64 * 1024
"""Bytes of the member that holds a field, in a body that is scanned."""

_PROMPT_LIMIT = 1024 * 1024
"""1 MiB: a conversation of 200,000 tokens at about four bytes each; images as data are larger."""

_PROMPT_CHARACTERS = 256
"""About 64 tokens, four blocks of 16, which is what engines cache by: enough to tell conversations
apart, and short enough that the first prompt of one has as many."""

_CHARACTERS_A_TOKEN = 4

_log = logging.getLogger("hashring")


class JsonSource(IdentitySource):
    """A source that reads a JSON body of at most ``limit`` bytes.

    A longer body is counted as ``too_long``, with one warning in the log.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.body_limit = BYTES(limit, "limit")
        self._has_warned = False

    def _too_long(self) -> Unusable:
        if not self._has_warned:
            self._has_warned = True
            _log.warning(
                "%r: a body of more than %d bytes is not looked into: raise limits.identity_body, "
                "or name a header",
                self,
                self.body_limit,
            )
        return Unusable("too_long")

    def _parse(self, body: bytes) -> Any:
        if len(body) > self.body_limit:
            raise self._too_long()
        try:
            return json.loads(body) if body else None
        # no JSON, no text, an int of too many digits; nested too deep
        except (ValueError, RecursionError):
            raise Unusable("undecodable") from None


class _JsonField(JsonSource):
    def __init__(self, path: str, limit: int) -> None:
        super().__init__(limit)
        self._names = path.split(".") if isinstance(path, str) else []
        if not all(self._names) or not self._names:
            raise ConfigError(f"a field's path is as 'user.id', got {path!r}", option="path")

    def find(self, fields: Fields, body: bytes) -> str | None:
        value = self._parse(body) if len(body) <= _PARSED else self._scan(body)
        for name in self._names:
            value = _inside(value, name)
        if value is None or isinstance(value, str):
            return value
        if is_int(value):
            return str(value)
        raise Unusable("undecodable")  # a truth value, a float or an object has no stable text

    def _scan(self, body: bytes) -> Any:
        """An object with the member of a longer body that holds the field."""
        if len(body) > self.body_limit:
            raise self._too_long()
        name = self._names[0]
        scan = JsonScan({name: _VALUE})
        scan.feed(body)
        if scan.failed is not None or not scan.is_complete:
            raise Unusable(scan.failed or "undecodable")
        raw = scan.values.get(name)
        if raw is None:
            return None
        if len(raw) == _VALUE:
            raise Unusable("too_long")
        try:
            return {name: json.loads(raw)}
        except (ValueError, RecursionError):
            raise Unusable("undecodable") from None

    @property
    def places(self) -> tuple[str, ...]:
        return (f"json:{'.'.join(self._names)}",)

    def __repr__(self) -> str:
        return f"json_field({'.'.join(self._names)!r})"


def _inside(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isascii() and name.isdigit() and len(name) < 10:
        return value[int(name)] if int(name) < len(value) else None
    return None


class _PromptPrefix(JsonSource):
    def __init__(self, limit: int, characters: int) -> None:
        super().__init__(limit)
        self._characters = COUNT(characters, "characters")

    def find(self, fields: Fields, body: bytes) -> str | None:
        call = self._parse(body)
        if not isinstance(call, dict):
            return None
        start = self._beginning(call)
        if start is None:
            return None
        # one spelling for equal values; ascii, so that lone surrogates are text too
        try:
            text = json.dumps([call.get("model"), call.get("system"), start], sort_keys=True)
        except RecursionError:
            raise Unusable("undecodable") from None
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def _beginning(self, call: dict[str, Any]) -> Any:
        """What each later call of this conversation begins with too; None if there is nothing."""
        messages = call.get("messages")
        if isinstance(messages, list):
            return _opening(messages)
        prompt = call.get("prompt")
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
            prompt = prompt[0]  # a batch goes where its first prompt goes
        if isinstance(prompt, list):  # token numbers
            prompt = prompt[: -(-self._characters // _CHARACTERS_A_TOKEN)]
        elif isinstance(prompt, str):
            prompt = prompt[: self._characters]
        else:
            return None
        return prompt or None

    @property
    def places(self) -> tuple[str, ...]:
        return ("prompt",)

    def __repr__(self) -> str:
        return "prompt_prefix()"


def _opening(messages: list[Any]) -> list[list[Any]] | None:
    """Roles and contents up to the user's first message; without one, up to the first answer."""
    opening: list[list[Any]] = []
    for message in messages:
        if not isinstance(message, dict):
            raise Unusable("undecodable")
        role = message.get("role")
        if role not in ("system", "developer", "user"):
            break
        opening.append([role, message.get("content")])
        if role == "user":
            break
    return opening or None


def json_field(path: str, *, limit: int = IDENTITY_BODY) -> IdentitySource:
    """A str or int in a JSON body of at most ``limit`` bytes; ``path`` as ``"user.id"``.

    A number in the path is a place in a list, from 0. Other values are anonymous: they have no
    stable text. Cost: that of ``json.loads``; a body of more than 64 KiB is scanned, some 1 ms a
    MiB, and the member of the body that holds the field has at most 64 KiB.

    >>> json_field("user.id")({}, b'{"user": {"id": 42}}')
    '42'
    """
    return _JsonField(path, limit)


def prompt_prefix(
    *, limit: int = _PROMPT_LIMIT, characters: int = _PROMPT_CHARACTERS
) -> IdentitySource:
    """A digest of what a conversation with a language model begins with, so that it stays put.

    Of a body with ``messages`` (chat completions) that is the model, the system's messages and the
    first of the user; of one with a ``prompt`` the model and its first ``characters`` (a quarter
    as many token numbers). Every later call of the conversation begins so too, so it goes to the
    host that has its keys and values cached. Cost: that of ``json.loads`` and a digest.

    >>> who = prompt_prefix()
    >>> hello = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}%s]}'
    >>> who({}, hello % b"") == who({}, hello % b', {"role": "assistant", "content": "hi"}')
    True
    """
    return _PromptPrefix(limit, characters)
