"""YAML with comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from textwrap import wrap
from typing import Any, NamedTuple

_WIDTH = 100  # columns of a comment with its indent


class Noted(NamedTuple):
    """A value with the comment above it."""

    value: Any
    words: str


def dump_yaml(value: Any) -> str:
    """``value`` as YAML, block style; texts are quoted as in JSON, which YAML reads.

    >>> print(dump_yaml({"a": Noted(1, "why"), "b": [{"c": "x", "d": True}, "y"], "e": {}}), end="")
    # why
    a: 1
    b:
      - c: "x"
        d: true
      - "y"
    e: {}
    """
    return "".join(f"{line}\n" for whole in _lines(value) for line in _wrap(whole))


def _wrap(line: str) -> list[str]:
    indent, sign, words = line.partition("# ")
    if not sign or indent.strip():
        return [line]
    head = f"{indent}# "
    return wrap(words, _WIDTH, initial_indent=head, subsequent_indent=head, break_on_hyphens=False)


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(f"{_key(key)}:", inner)
    else:
        for inner in value:
            yield from _item(inner)


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key)


def _entry(head: str, inner: Any) -> Iterator[str]:
    inner, comments = _plain(inner)
    yield from comments
    if isinstance(inner, (dict, list)) and inner:
        yield head
        yield from (f"  {line}" for line in _lines(inner))
    else:
        yield f"{head} {_scalar(inner)}"


def _item(inner: Any) -> Iterator[str]:
    inner, comments = _plain(inner)
    yield from comments
    if not isinstance(inner, dict):
        yield f"- {_scalar(inner)}"
        return
    for number, line in enumerate(_lines(inner)):
        yield f"  {line}" if number else f"- {line}"


def _plain(value: Any) -> tuple[Any, list[str]]:
    if not isinstance(value, Noted):
        return value, []
    return value.value, [f"# {value.words}"]


def _scalar(value: Any) -> str:
    # not ASCII only: YAML does not accept JSON's pairs of surrogates
    return json.dumps(value, ensure_ascii=False)
