"""A complete ``hashring.toml``: every key with its help and its default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from textwrap import wrap
from typing import Any

from hashring import placement as placements
from hashring import strategies
from hashring.config import named
from hashring.config.settings import TABLES
from hashring.validators import options_of

_WIDTH = 96

_CHOICES: Mapping[str, Callable[[], list[str]]] = {
    "placement.name": lambda: [*placements.names(), named.NO_PLACEMENT],
    "fallback.strategy": strategies.names,
}

_HEAD = """\
# The settings of `hashring serve FILE`. `hashring check FILE` lists their problems.
#
# A line that begins with "#:" is a key at its default: remove the "#:" to change it. A key can also
# be set by an environment variable (HASHRING_GATEWAY_LISTEN), and some keys by an option of the
# command line, which wins. Times are in seconds, sizes in bytes; paths are relative to the working
# directory. A change of this file is applied while the gateway runs, unless it has problems.
"""

_HOSTS = """\
# The hosts: ADDRESS:PORT, https://ADDRESS:PORT, unix:/PATH of a socket, or a table. The name is the
# identity of a host: with the same name and another address, no client moves. A host of weight 2
# gets twice as many clients.
hosts = [
    "127.0.0.1:9001",
    { name = "web2", address = "127.0.0.1:9002" },
    { name = "web3", address = "127.0.0.1:9003", weight = 2 },
]
# Further fields of a host: drain = true (or weight = 0) keeps its clients and takes no new ones; id
# (a number) and guid (a text), as in HAProxy; meta (a table).
"""

_NOTES = {
    "discovery": "# Put a URL with a password into HASHRING_DISCOVERY_URL, not into a file. "
    "docs/discovery.md\n# lists the sources and their options. The list of the source replaces "
    "pool.hosts.\n",
    "tokens": "# Without a secret, one is made for the run, and all tokens end with the run.\n"
    "# `openssl rand -hex 32 > hashring.secret` makes one for all gateways of a pool.\n",
    "placement": "# With a secret, outsiders cannot compute which client IDs share a host.\n",
}


def as_toml(value: Any) -> str:
    """A value in the spelling of TOML.

    >>> as_toml(True), as_toml(2.0), as_toml("a"), as_toml(("a", "b"))
    ('true', '2', '"a"', '["a", "b"]')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {as_toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a TOML basic string is a JSON string
    return str(value).lower() if isinstance(value, bool) else str(value)


def example() -> str:
    """A file with comments that ``hashring check`` accepts, with every key.

    >>> "[gateway]" in example()
    True
    """
    return "\n".join([_HEAD, *map(_table, TABLES)])


def _table(name: str) -> str:
    summary = (TABLES[name].__doc__ or "").splitlines()[0]
    text = f"# {summary}\n[{name}]\n" + (_HOSTS if name == "pool" else "") + _NOTES.get(name, "")
    for each in options_of(TABLES[name]):
        choices = _CHOICES.get(f"{name}.{each.name}", list)()
        words = f"{each.help} One of {', '.join(choices)}." if choices else each.help
        if each.check.shape.startswith(('"', "true or false or")):
            words += f" One of {each.check.shape.replace(' or ', ', ')}."
        default = each.check.off if each.default is None else each.default
        text += "\n" + _comment(words) + f"#: {each.name} = {as_toml(default)}\n"
    if name == "placement":
        text += "".join(_ring_options())
    return text


def _ring_options() -> Iterator[str]:
    yield "\n" + _comment("The options of the ring. Other placements have other options.")
    for name, default in placements.options("ring").items():
        yield f"#: {name} = {as_toml(default)}\n"


def _comment(words: str) -> str:
    return "".join(f"# {line}\n" for line in wrap(words, _WIDTH - 2, break_on_hyphens=False))
