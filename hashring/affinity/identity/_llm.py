"""Which session does a call of a language model belong to?"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any

from hashring.affinity.identity._body import IDENTITY_BODY, JsonSource
from hashring.affinity.identity._request import Fields
from hashring.affinity.identity._source import MOST_BYTES, IdentitySource, Unusable
from hashring.affinity.json_scan import JsonScan
from hashring.affinity.prompts import PromptSessions

HEADERS = (
    "x-session-id",  # vLLM's router, Ray Serve
    "x-session-affinity",
    "session-id",
    "x-claude-code-session-id",
    "x-litellm-session-id",
    "x-smg-routing-key",
    "x-conversation-id",
)
_IDS = ("session_id", "conversation", "metadata", "previous_response_id", "prompt_cache_key")
_ONE_SHOT = re.compile(
    rb"/(?:embeddings?|moderations|rerank|score|classify|tokenize|detokenize|audio|images)(?:/|$)"
)
_WHITESPACE = re.compile(rb"[ \t\r\n]+")

_ID_BYTES = 4096  # of a member that holds an ID: metadata is an object
_OPENING_BYTES = 256 * 1024
"""Of messages, tools and system prompts: an opening with an image beyond it is hashed as far as
it goes, which every later call of the conversation repeats."""


class LlmSession(JsonSource):
    """The session of a call in the APIs of OpenAI and Anthropic, and of their clients.

    In order: the headers that clients and agents send (``HEADERS``), the members ``session_id``,
    ``conversation``, ``metadata.session_id``, ``previous_response_id`` and ``prompt_cache_key``,
    then the opening of a conversation: its system prompt, tools and first user message. A prompt
    without messages belongs to the session whose last prompt it continues (``PromptSessions``).
    ``user`` is a person with many sessions and is not read. Embeddings and other calls that stand
    alone are anonymous. ``limit`` is how many bytes of a body are looked through.

    >>> who = LlmSession()
    >>> who({"headers": {"X-Session-Id": "s1"}}), who({}, b'{"metadata": {"session_id": "s2"}}')
    ('s1', 's2')
    >>> turn = b'{"messages": [{"role": "user", "content": "hello"}%s]}'
    >>> who({}, turn % b"") == who({}, turn % b', {"role": "assistant", "content": "hi"}')
    True
    """

    def __init__(
        self, *, limit: int = IDENTITY_BODY, prompts: PromptSessions | None = None
    ) -> None:
        super().__init__(limit)
        self.prompts = PromptSessions() if prompts is None else prompts
        sizes = dict.fromkeys(_IDS, _ID_BYTES)
        openings = ("model", "system", "instructions", "tools", "messages", "input")
        self._wanted = {**sizes, **dict.fromkeys(openings, _OPENING_BYTES), "prompt": limit}

    def find(self, fields: Fields, body: bytes) -> bytes | str | None:
        for name in HEADERS:
            for value in fields.header(name):
                if 0 < len(value.strip(b" \t")) <= MOST_BYTES:
                    return value.strip(b" \t")
        if not body or _ONE_SHOT.search(fields.path()[0]):
            return None
        if len(body) > self.body_limit:
            raise self._too_long()
        scan = JsonScan(self._wanted)
        scan.feed(body)
        if scan.failed is not None or not scan.is_complete:
            raise Unusable(scan.failed or "undecodable")
        return _given_id(scan.values) or self._opening(scan.values)

    def _opening(self, values: dict[str, bytes]) -> str | None:
        listed = values.get("messages") or values.get("input")
        if listed is not None:
            opening = _first_messages(listed)
            if not opening:
                return None
            shared = [_plain(values.get(name)) for name in ("model", "system", "instructions")]
            tools = values.get("tools", b"")
            text = json.dumps([shared, opening], sort_keys=True).encode() + tools
            return blake2b(text, digest_size=16).hexdigest()
        prompt = values.get("prompt", b"null")
        if len(prompt) < 3 or prompt[:1] not in b'"[':
            return None
        if prompt[:1] == b"[":  # of a batch, the first; of token numbers, all
            prompt = b"[" + prompt[1:].lstrip(b" \t\r\n")
            if prompt[1:2] == b'"':
                prompt = prompt[1 : _end_of_first(prompt)] + b'"'
            else:
                prompt = _WHITESPACE.sub(b"", prompt)
                end = prompt.find(b"]")
                prompt = prompt[: end if end > 0 else len(prompt)] + b",,"
        return self.prompts.identify(values.get("model", b"") + b"\0" + prompt[:-1])

    @property
    def places(self) -> tuple[str, ...]:
        """``llm``."""
        return ("llm",)

    def __repr__(self) -> str:
        return "llm_session()"


def _given_id(values: dict[str, bytes]) -> str | None:
    """The first ID that the client gives in the body."""
    for name in _IDS:
        value = _parse(values.get(name))
        if isinstance(value, dict):
            value = value.get("session_id" if name == "metadata" else "id")
        elif name == "metadata":
            continue
        if isinstance(value, str) and 0 < len(value) <= MOST_BYTES:
            return value
    return None


def _parse(raw: bytes | None) -> Any:
    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return None  # longer than what was kept, or not JSON


def _plain(raw: bytes | None) -> Any:
    """A system prompt as text, whichever way it is written; raw where it is too long."""
    value = _parse(raw)
    if value is None:
        return None if raw is None else raw.decode("latin-1")
    return _text_of(value)


def _text_of(content: Any) -> Any:
    """The text of a message's content; marks for caches, which move, are left out.

    >>> _text_of([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}])
    'hi'
    """
    if not isinstance(content, list):
        return content
    parts = [
        part["text"]
        if isinstance(part, dict) and isinstance(part.get("text"), str)
        else {key: value for key, value in part.items() if key != "cache_control"}
        if isinstance(part, dict)
        else part
        for part in content
    ]
    return parts[0] if len(parts) == 1 else parts


def _first_messages(raw: bytes) -> Any:
    """Roles and texts up to the user's first message; empty where there is none.

    Messages are parsed one by one, so that the rest of a long conversation costs nothing.
    """
    text = raw.decode("utf-8", "replace")
    if not text.startswith("["):
        value = _parse(raw)
        return value if isinstance(value, str) else None
    decoder, at, opening = json.JSONDecoder(), 1, list[Any]()
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at >= len(text) or text[at] == "]":
            return opening
        try:
            message, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return [*opening, text[at:]]  # longer than what was kept
        if isinstance(message, str):  # a list of texts is a batch
            return [message]
        if not isinstance(message, dict):
            return None
        role = message.get("role")
        if role in ("assistant", "tool", "function"):
            return opening
        opening.append([role, _text_of(message.get("content"))])
        if role == "user":
            return opening


def _end_of_first(prompt: bytes) -> int:
    """Where the first prompt of a batch ends."""
    found = re.compile(rb'(?:[^"\\]+|\\.)*+', re.DOTALL).match(prompt, 2)
    return len(prompt) if found is None else found.end()


def llm_session(*, limit: int = IDENTITY_BODY) -> IdentitySource:
    """The session of a call of a language model: see ``LlmSession``."""
    return LlmSession(limit=limit)
