"""A running gateway: its admin listener, and its pool as ``/state`` describes it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
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


TOKEN_VARIABLE = "HASHRING_ADMIN_TOKEN"


class AdminClient:
    """The admin listener of a running gateway. Raises ``ConfigError`` for an invalid URL.

    ``token`` is its bearer token, by default that in the variable ``HASHRING_ADMIN_TOKEN``.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = None
        self.url = url
        self._token = token or os.environ.get(TOKEN_VARIABLE)
        self._path = url.removeprefix("unix:") if url.startswith("unix:/") else None
        if self._path is not None:
            self._address = "localhost", 80  # what its Host header has
            return
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            name, port = parts.hostname, parts.port
        except ValueError:
            name = port = None
        if parts is None or parts.scheme != "http" or not name or port is None:
            raise ConfigError(
                "an admin listener has a URL such as http://127.0.0.1:9090 or "
                f"unix:/run/hashring/admin.sock, got {url!r}",
                option="url",
            )
        self._address = name, port

    def get(self, path: str, patience: float = _PATIENCE) -> Any:
        """The JSON at ``path``. Raises ``HashringError``, with the message of the gateway."""
        return self._request("GET", path, None, patience)

    def post(self, path: str, values: Mapping[str, Any]) -> Any:
        """The JSON result of an action. Raises as ``get``."""
        return self._request("POST", path, json.dumps(values).encode(), _PATIENCE)

    def _request(self, method: str, path: str, body: bytes | None, patience: float) -> Any:
        connection = HTTPConnection(*self._address, timeout=patience)
        try:
            if self._path is not None:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(patience)
                connection.sock.connect(self._path)
            headers = {} if body is None else {"content-type": "application/json"}
            if self._token:
                headers["authorization"] = f"Bearer {self._token}"
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read(_MOST_BYTES)
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise HashringError(f"{self.url} does not answer: {why}") from None
        finally:
            connection.close()
        found: Any = None
        with suppress(ValueError, RecursionError):
            found = json.loads(content)
        if response.status == 200 and found is not None:
            return found
        if isinstance(found, dict) and isinstance(found.get("error"), str):
            raise HashringError(found["error"])
        raise HashringError(
            f"{self.url} returned no JSON for {path} (status {response.status}): is it the admin "
            "listener of a gateway?"
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
