"""Are the calls of one conversation one client, and those of two conversations two?"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashring.affinity import json_field, llm_session
from hashring.affinity.json_scan import MARKS, JsonScan
from hashring.affinity.prompts import PromptSessions

texts = st.text(min_size=1, max_size=300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def chat(*contents: str, system: str = "You help.") -> bytes:
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(contents)]
    return body(model="m", messages=[{"role": "system", "content": system}, *messages])


@given(st.dictionaries(st.text(max_size=60), values, max_size=6), st.integers(1, 9), st.booleans())
def test_a_scan_finds_what_a_parser_finds(
    document: Mapping[str, Any], size: int, escaped: bool
) -> None:
    text = json.dumps(document, ensure_ascii=escaped, indent=size % 3 or None)
    raw = text.encode("utf-8", "surrogatepass")
    plain = [name for name in document if json.dumps(name, ensure_ascii=escaped)[1:-1] == name]
    scan = JsonScan(dict.fromkeys(plain, 1 << 20))
    for at in range(0, len(raw), size):
        scan.feed(raw[at : at + size])
    assert scan.failed is None
    assert scan.is_complete
    found = {name: json.loads(value) for name, value in scan.values.items()}
    assert found == {name: document[name] for name in plain}


@given(st.binary(max_size=200))
def test_no_bytes_break_a_scan(raw: bytes) -> None:
    scan = JsonScan({"a": 10})
    scan.feed(b'{"a": ' + raw)
    assert len(scan.values.get("a", b"")) <= 10


def test_a_scan_stops_at_a_bound_of_brackets() -> None:
    scan = JsonScan({"a": 10})
    scan.feed(b'{"b": ' + b"[" * (2 * MARKS))
    assert scan.failed == "too_long"


@given(texts, st.lists(texts, min_size=1, max_size=4), texts)
def test_a_conversation_keeps_its_identity_and_no_other(
    system: str, turns: list[str], other: str
) -> None:
    who = llm_session()
    first = who({}, chat(turns[0], system=system))
    assert first is not None
    assert who({}, chat(*turns, system=system)) == first
    if other != turns[0]:
        assert who({}, chat(other, system=system)) != first


@given(texts, st.lists(texts, min_size=1, max_size=5), texts)
def test_a_growing_prompt_keeps_its_identity(system: str, turns: list[str], other: str) -> None:
    who = llm_session()
    first = who({}, body(model="m", prompt=system + turns[0]))
    stranger = system + other
    own = (system + turns[0]) in stranger or stranger in (system + turns[0])
    if not own:
        assert who({}, body(model="m", prompt=stranger)) != first
    for end in range(1, len(turns) + 1):
        assert who({}, body(model="m", prompt=system + "".join(turns[:end]))) == first


def test_memory_for_prompts_is_bounded() -> None:
    sessions = PromptSessions(entries=100)
    for number in range(1000):
        sessions.identify(b"%d" % number * 50)
    assert len(sessions) == len(sessions._tails) == 100


def test_a_rewritten_end_is_continued_once_sharing_is_known() -> None:
    sessions, system = PromptSessions(), b"You are a helpful assistant. " * 100
    question = b"A question of some length about a text that follows. " * 60
    strangers = [sessions.identify(system + b"%d" % n * 3000) for n in range(3)]
    assert len(set(strangers)) == 3
    first = sessions.identify(system + question + b"<think>")
    assert first not in strangers
    assert sessions.identify(system + question + b"An answer. More?") == first
    assert sessions.identify(system + b"Another question. " * 300) != first


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"session_id": "a", "prompt_cache_key": "b"}, "a"),
        ({"conversation": "c"}, "c"),
        ({"conversation": {"id": "c2"}, "input": "x"}, "c2"),
        ({"metadata": {"session_id": "d", "user_id": "u"}}, "d"),
        ({"previous_response_id": "r", "prompt_cache_key": "b", "input": "x"}, "r"),
        ({"prompt_cache_key": "b", "input": "x"}, "b"),
        ({"user": "ann"}, None),
    ],
)
def test_ids_in_a_body_come_in_their_order(fields: Mapping[str, Any], found: str | None) -> None:
    assert llm_session()({}, body(**fields)) == found


def test_a_header_comes_before_the_body() -> None:
    request = {"headers": {"X-Claude-Code-Session-Id": "h"}}
    assert llm_session()(request, body(session_id="a")) == "h"


def test_calls_that_stand_alone_are_anonymous() -> None:
    who = llm_session()
    assert who({"path": "/v1/embeddings"}, body(model="m", input="text")) is None
    assert who({"path": "/v1/responses"}, body(model="m", input="text")) is not None


def test_marks_of_caches_do_not_change_an_identity() -> None:
    who = llm_session()
    marked = [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]
    one = body(system=marked, messages=[{"role": "user", "content": marked}])
    two = body(system="hello", messages=[{"role": "user", "content": "hello"}])
    assert who({}, one) == who({}, two) is not None


def test_token_numbers_are_a_prompt_too() -> None:
    who = llm_session()
    first = who({}, body(prompt=[1, 2, 3]))
    assert who({}, body(prompt=[1, 2, 3, 4])) == first
    assert who({}, body(prompt=[1, 2, 34])) != first
    assert who({}, body(prompt=["a b", "c"])) == who({}, body(prompt="a b c"))


def test_a_field_is_found_in_a_body_of_megabytes(caplog: pytest.LogCaptureFixture) -> None:
    who = json_field("user.id")
    assert who({}, body(text="x" * (4 << 20), user={"id": 42})) == "42"
    small = json_field("user.id", limit=1 << 20)
    with caplog.at_level(logging.WARNING, "hashring"):
        for _ in range(3):
            assert small({}, body(text="x" * (4 << 20), user={"id": 42})) is None
    assert (small.stats["too_long"], len(caplog.records)) == (3, 1)
