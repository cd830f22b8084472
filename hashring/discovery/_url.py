"""What does a source's URL say?  Scheme, user, endpoints, path, and options of known types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from hashring.errors import ConfigError
from hashring.net import join_address, parse_address

_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def with_port(endpoint: str, usual: int) -> str:
    """``endpoint`` with its port, or with the ``usual`` one. Raises ``ConfigError``.

    >>> with_port("etcd1", 2379), with_port("[::1]:80", 2379)
    ('etcd1:2379', '[::1]:80')
    """
    return join_address(
        *parse_address(endpoint, default_port=usual, what="an endpoint", option="source")
    )


@dataclass(frozen=True)
class SourceUrl:
    """``scheme://user:password@host:port,host:port/path?option=value``, taken apart.

    ``endpoints`` are ``host:port`` as written; ``path`` is as written too, without its leading
    slash, percent-decoded.

    >>> url = SourceUrl.of("etcd://ann:pw@e1:2379,e2:2379/services/web?heartbeat=2")
    >>> url.endpoints, url.path, url.user, url.shown
    (('e1:2379', 'e2:2379'), 'services/web', 'ann', 'etcd://e1:2379,e2:2379/services/web')
    >>> url.options({"heartbeat": float}, {})
    {'heartbeat': 2.0}
    """

    scheme: str
    user: str | None
    password: str | None
    endpoints: tuple[str, ...]
    path: str
    query: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, url: str) -> SourceUrl:
        """Take ``url`` apart. Raises ``ConfigError``, which does not repeat a password."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ConfigError(f"a source's URL cannot be read: {error}", option="source") from None
        login, at, places = parts.netloc.rpartition("@")
        user, colon, password = login.partition(":")
        return cls(
            scheme=parts.scheme,
            user=unquote(user) if at else None,
            password=unquote(password) if colon else None,
            endpoints=tuple(place for place in places.split(",") if place),
            path=unquote(parts.path.removeprefix("/") if parts.netloc or at else parts.path),
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        )

    @property
    def shown(self) -> str:
        """The URL without its user, its password and its options, which may be secret."""
        slashes = f"//{','.join(self.endpoints)}/" if self.endpoints else ""
        return f"{self.scheme}:{slashes}{self.path}"

    def options(self, types: Mapping[str, type], given: Mapping[str, Any]) -> dict[str, Any]:
        """The query's options as their types, overruled by ``given``.

        Raises ``ConfigError`` for an option that is not in ``types`` or has no such value.
        """
        found: dict[str, Any] = {}
        for name, text in self.query:
            self._check(name, types)
            found[name] = self._value(name, text, types[name])
        for name, value in given.items():
            self._check(name, types)
            # text: as a command line or a file of settings gives it
            typed = self._value(name, value, types[name]) if isinstance(value, str) else value
            found[name] = typed
        return found

    def _check(self, name: str, types: Mapping[str, type]) -> None:
        if name not in types:
            known = ", ".join(sorted(types)) or "none"
            raise ConfigError(
                f"the source {self.shown} has no option {name!r}; its options are {known}",
                option=name,
            )

    def _value(self, name: str, text: str, kind: type) -> Any:
        try:
            return _WORDS[text.lower()] if kind is bool else kind(text)
        except (KeyError, ValueError):
            raise ConfigError(
                f"the source {self.shown}: {name} must be of type {kind.__name__}, got {text!r}",
                option=name,
            ) from None
