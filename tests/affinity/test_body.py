"""Which client does a JSON body name, and what of a conversation stays the same?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hashring.affinity import json_field, prompt_prefix


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("path", "value", "found", "why"),
    [
        ("id", {"id": "ann"}, "ann", None),
        ("id", {"id": 42}, "42", None),
        ("id", {"id": -(10**30)}, str(-(10**30)), None),
        ("user.id", {"user": {"id": "é"}}, "é", None),
        ("users.1.id", {"users": [{}, {"id": 7}]}, "7", None),
        ("0", ["ann"], "ann", None),
        ("0", {"0": "ann"}, "ann", None),
        ("id", {}, None, None),
        ("id", {"id": None}, None, None),
        ("id", [], None, None),
        ("id", "id", None, None),
        ("1", ["ann"], None, None),
        ("-1", ["ann"], None, None),
        ("9999999999", ["ann"], None, None),
        ("a.b.c", {"a": {"b": 1}}, None, None),
        ("id", {"id": ""}, None, "empty"),
        ("id", {"id": "x" * 257}, None, "too_long"),
        ("id", {"id": True}, None, "undecodable"),
        ("id", {"id": 4.2}, None, "undecodable"),
        ("id", {"id": ["ann"]}, None, "undecodable"),
        ("id", {"id": {"a": 1}}, None, "undecodable"),
        ("id", {"id": "\ud83d"}, None, "undecodable"),
    ],
)
def test_json_field(path: str, value: Any, found: str | None, why: str | None) -> None:
    source = json_field(path)
    assert source({}, body(value)) == found
    assert {name for name, count in source.stats.items() if count} == ({why} if why else set())


@pytest.mark.parametrize(
    "sent",
    [
        b"{",
        b"id=ann",
        b"\xff\xfe",
        b'{"id": "ann"',
        b'{"id": ' + b"9" * 10_000 + b"}",
        b"[" * 60_000,
        b'{"id":' * 9_000,
    ],
)
def test_bodies_that_cannot_be_read(sent: bytes) -> None:
    for source in (json_field("id"), prompt_prefix()):
        assert source({}, sent) is None
        assert source.stats["undecodable"] == 1


def test_a_body_over_the_limit_is_not_looked_into() -> None:
    source = json_field("id", limit=16)
    assert source.body_limit == 16
    assert source({}, b'{"id": "ann"}   ') == "ann"
    assert source({}, b'{"id": "ann"}    ') is None
    assert source.stats["too_long"] == 1
    assert json_field("id").body_limit == 8 << 20


# -- conversations ---------------------------------------------------------------------------------


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def prefix(value: Any, **options: Any) -> str | None:
    return prompt_prefix(**options)({}, body(value))


SYSTEM, HELLO = said("system", "You are kind."), said("user", "hello")


def test_a_conversation_keeps_its_id_as_it_grows() -> None:
    messages = [SYSTEM, HELLO]
    first = prefix({"model": "m", "messages": messages})
    for turn in range(5):
        messages += [said("assistant", f"answer {turn}"), said("user", f"question {turn}")]
        call = {"model": "m", "messages": messages, "temperature": turn, "stream": bool(turn % 2)}
        assert prefix(call) == first
    assert first is not None
    assert len(first) == 32


def test_what_makes_conversations_different() -> None:
    calls: list[Any] = [
        {"model": "m", "messages": [SYSTEM, HELLO]},
        {"model": "n", "messages": [SYSTEM, HELLO]},
        {"model": "m", "messages": [said("system", "You are terse."), HELLO]},
        {"model": "m", "messages": [SYSTEM, said("user", "good morning")]},
        {"model": "m", "messages": [HELLO]},
        {"model": "m", "messages": [said("developer", "You are kind."), HELLO]},
        {"model": "m", "system": "You are kind.", "messages": [HELLO]},
        {"model": "m", "messages": [SYSTEM, said("user", [{"type": "text", "text": "hello"}])]},
        {"model": "m", "messages": [SYSTEM]},
        {"model": "m", "prompt": "hello"},
        {"model": "m", "prompt": ["good", "morning"]},
        {"model": "m", "prompt": [1, 2, 3]},
    ]
    assert len({prefix(call) for call in calls} - {None}) == len(calls)


def test_the_order_of_names_and_spaces_do_not_matter() -> None:
    one = b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\\u00e9"}]}]}'
    parts = '[{"text": "é", "type": "text"}]'
    two = f'{{ "messages": [{{"content": {parts}, "role": "user"}}], "model": "m"}}'
    assert prompt_prefix()({}, one) == prompt_prefix()({}, two.encode()) is not None


def test_a_prompt_counts_by_its_beginning() -> None:
    start = "x" * 256
    assert prefix({"prompt": start}) == prefix({"prompt": start + "more"})
    assert prefix({"prompt": start[:-1]}) != prefix({"prompt": start})
    assert prefix({"prompt": "abcd"}, characters=3) == prefix({"prompt": "abce"}, characters=3)
    numbers = list(range(64))
    assert prefix({"prompt": numbers}) == prefix({"prompt": [*numbers, 64]})
    assert prefix({"prompt": numbers[:-1]}) != prefix({"prompt": numbers})
    assert prefix({"prompt": ["a", "b"]}) == prefix({"prompt": "a"})
    assert prefix({"prompt": [numbers, [1]]}) == prefix({"prompt": numbers})


@pytest.mark.parametrize(
    "call",
    [
        {},
        [],
        None,
        "hello",
        {"messages": []},
        {"messages": [said("assistant", "hi")]},
        {"messages": "hello"},
        {"prompt": ""},
        {"prompt": []},
        {"prompt": [""]},
        {"prompt": 7},
        {"input": "hello"},
    ],
)
def test_calls_without_a_beginning_are_anonymous(call: Any) -> None:
    source = prompt_prefix()
    assert source({}, body(call)) is None
    assert not any(source.stats.values())


def test_messages_that_are_missing() -> None:
    source = prompt_prefix()
    assert source({}, body({"messages": ["hello"]})) is None
    assert source.stats["undecodable"] == 1


def test_a_lone_surrogate_in_a_prompt_is_text_too() -> None:
    assert prefix({"prompt": "\ud83d"}) not in (None, prefix({"prompt": "\ud83e"}))
