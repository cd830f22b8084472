"""What does a whole ``hashring.toml`` look like?  Every key, its words and its default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from textwrap import wrap
from typing import Any

from hashring import placement as placements
from hashring import strategies
from hashring.config import kinds, names
from hashring.config.settings import TABLES, keys

__all__ = ["as_toml", "example"]

_WIDTH = 96

_PLAIN = frozenset(
    kind.shape
    for kind in (
        kinds.COUNT,
        kinds.FLAG,
        kinds.LIST,
        kinds.SECONDS,
        kinds.TEXT,
        kinds.WHOLE,
        kinds.optional(kinds.PATH, ""),
        kinds.optional(kinds.TEXT, ""),
        names.PLACEMENT,
        names.SOURCES,
        kinds.optional(names.SOURCE_URL, ""),
        names.STRATEGY,
    )
)
"""Kinds that the words and the default show well enough."""

_CHOICES: Mapping[str, Callable[[], list[str]]] = {
    "placement.name": lambda: [*placements.names(), names.NO_PLACEMENT],
    "fallback.strategy": strategies.names,
}

_HEAD = """\
# The settings of `hashring serve FILE`; `hashring check FILE` says what is wrong with them.
#
# A line that begins with "#:" is a key at its default: take the "#:" away to change it. Each plain
# key may come from the environment too (HASHRING_GATEWAY_LISTEN), and some from the command line,
# which wins. Times are in seconds, sizes in bytes; paths are seen from where it is started. The
# file is read again when it changes; one with mistakes changes nothing.
"""

_HOSTS = """\
# The hosts: ADDRESS:PORT, or a table. A name is an identity: under the same name another address
# may serve, and no client moves. A host of weight 2 gets twice as many clients.
hosts = [
    "127.0.0.1:9001",
    { name = "web2", address = "127.0.0.1:9002" },
    { name = "web3", address = "127.0.0.1:9003", weight = 2 },
]
# Further fields of a host: id (a number) and guid (a text), as HAProxy has them; meta (a table).
"""

_NOTES = {
    "discovery": "# A URL with a password belongs into HASHRING_DISCOVERY_URL, not into a file; "
    "docs/discovery.md\n# has all sources and their options. The source owns the list: what it "
    "says replaces pool.hosts.\n",
    "tokens": "# Without a secret one is made for the run, and its tokens end with it.\n"
    "# `openssl rand -hex 32 > hashring.secret` makes one; all gateways of a pool share it.\n",
    "placement": "# With a secret, nobody outside can tell which client IDs meet on one host.\n",
}


def as_toml(value: Any) -> str:
    """A value as TOML spells it.

    >>> as_toml(True), as_toml(2.0), as_toml("a"), as_toml(("a", "b"))
    ('true', '2', '"a"', '["a", "b"]')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a TOML basic string is a JSON string
    return str(value).lower() if isinstance(value, bool) else str(value)


def example() -> str:
    """A commented file that ``check`` accepts, with every key there is.

    >>> "[gateway]" in example()
    True
    """
    return "\n".join([_HEAD, *map(_table, TABLES)])


def _table(name: str) -> str:
    words = (TABLES[name].__doc__ or "").splitlines()[0]
    text = f"# {words}\n[{name}]\n" + (_HOSTS if name == "pool" else "") + _NOTES.get(name, "")
    for key, (kind, default, help_) in keys(TABLES[name]).items():
        shape = "" if kind.shape in _PLAIN else kind.shape
        choices = _CHOICES.get(f"{name}.{key}", list)()
        said = f"{help_} One of {', '.join(choices)}." if choices else help_
        text += "\n" + _comment(said, shape) + f"#: {key} = {as_toml(default)}\n"
    if name == "placement":
        text += "".join(_options())
    return text


def _options() -> Iterator[str]:
    yield "\n" + _comment("The options of the ring; another placement has others.", "")
    for option, default in placements.options("ring").items():
        yield f"#: {option} = {as_toml(default)}\n"


def _comment(words: str, shape: str) -> str:
    said = f"{words} ({shape})" if shape else words
    return "".join(f"# {line}\n" for line in wrap(said, _WIDTH - 2, break_on_hyphens=False))
