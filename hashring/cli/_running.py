"""The pool of a running gateway, read from its ``/state``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from hashring.errors import ConfigError, HashringError
from hashring.hosts import Host

_PATIENCE = 5.0
"""Seconds for an answer from this machine that takes a millisecond."""

_MOST_BYTES = 64 << 20
"""100,000 hosts of some 400 bytes each; a gateway has no larger state."""

_SHOWN_ONLY = frozenset({"layout"})  # a fact of the ring's code, not an option


@dataclass(frozen=True)
class Running:
    """The part of ``/state`` that decides where a key goes.

    ``options`` are those of the placement; ``keyed`` is whether it has a secret, which is never
    shown. ``away`` are the hosts that are down or draining.
    """

    fingerprint: str
    placement: str
    options: Mapping[str, Any]
    keyed: bool
    hosts: tuple[Host, ...]
    away: Mapping[str, str]


def asked(url: str) -> Any:
    """The state from the admin listener at ``url``, as JSON.

    Raises ``ConfigError`` for an invalid URL, ``HashringError`` without a valid response.
    """
    address, parts = url if "://" in url else f"http://{url}", None
    try:
        parts = urlsplit(address)
        name, port = parts.hostname, parts.port
    except ValueError:
        name = port = None
    if parts is None or parts.scheme != "http" or not name or port is None:
        raise ConfigError(
            f"a gateway's state is at a URL such as http://127.0.0.1:9090, got {url!r}",
            option="against",
        )
    connection = HTTPConnection(name, port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/state")
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except (OSError, HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise HashringError(f"{url} does not answer: {why}") from None
    finally:
        connection.close()
    try:
        if answer.status == 200:
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise HashringError(
        f"{url} returned no state (status {answer.status}): is it the admin listener of a gateway?"
    )


def running_of(state: Any) -> Running:
    """The parsed ``/state``. Raises ``HashringError`` for what is not the state of a gateway.

    >>> state = {"fingerprint": "12.up", "placement": {"kind": "modulo", "options": {}},
    ...          "hosts": [{"name": "a", "address": "h:1", "weight": 1, "state": "down"}]}
    >>> running_of(state).hosts, dict(running_of(state).away)
    ((Host('a', address='h:1'),), {'a': 'down'})
    """
    try:
        placed = state["placement"] or {"kind": "none", "options": {}}
        options = dict(placed["options"])
        return Running(
            fingerprint=str(state["fingerprint"]),
            placement=str(placed["kind"]),
            options={name: options[name] for name in sorted(options.keys() - _SHOWN_ONLY)},
            keyed=bool(placed.get("keyed")),
            hosts=tuple(map(_host, state["hosts"])),
            away={h["name"]: str(h["state"]) for h in state["hosts"] if h["state"] != "up"},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HashringError(
            f"this is not the state of a gateway: {type(error).__name__}: {error}"
        ) from None


def _host(given: Mapping[str, Any]) -> Host:
    fields = {name: given.get(name) for name in ("address", "id", "guid")}
    return Host(
        given["name"], given["weight"], **{k: v for k, v in fields.items() if v is not None}
    )
