"""Session IDs that carry their host: no table, any number of routers.

The router writes ``ID.TAG`` in the place of the ID that a host has minted, and takes the tag off
on the way in. A tag is the host's, signed together with the ID, so that a client can neither choose
a host nor find out its name. It survives restarts, and all routers with one secret agree.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

from hashring.balancer import LoadBalancer
from hashring.errors import ConfigError

_HOST, _SIGNATURE = 8, 16  # bytes: as in tokens, and 128 bits of HMAC-SHA-256
_LETTERS = (_HOST + _SIGNATURE) // 3 * 4
_SHORTEST_SECRET = 16


class Envelope:
    """Wraps session IDs and unwraps them again.

    ``secrets`` are one secret of 16 or more bytes, or two while they rotate: the first signs, both
    are accepted. Cost: about 5 us for each. Raises ``ConfigError`` for a secret that is too short.

    >>> lb = LoadBalancer(["web1", "web2"])
    >>> envelope = Envelope(lb, [b"sixteen or more random bytes"])
    >>> text = envelope.wrap("session-42", "web2")
    >>> envelope.unwrap(text), envelope.unwrap("session-42"), envelope.unwrap(text[:-1] + "!")
    (('session-42', 'web2'), None, None)
    """

    def __init__(self, lb: LoadBalancer, secrets: Iterable[bytes]) -> None:
        self._lb = lb
        given = list(secrets)
        if not given or any(len(secret) < _SHORTEST_SECRET for secret in given):
            raise ConfigError(
                f"an envelope is signed: give a secret of {_SHORTEST_SECRET} or more bytes "
                "(tokens.secret_file)",
                option="secrets",
            )
        self._keys = [
            tuple(hmac.digest(secret, b"hashring envelope 1 " + use, "sha256") for use in _USES)
            for secret in given
        ]
        self._names: tuple[int, dict[bytes, str]] = (-1, {})

    def wrap(self, session: str, host: str) -> str:
        """``session`` with the signed tag of ``host``."""
        sign, name = self._keys[0]
        tag = hmac.digest(name, host.encode("utf-8", "surrogatepass"), "sha256")[:_HOST]
        return f"{session}.{_seal(sign, session, tag)}"

    def unwrap(self, text: str) -> tuple[str, str | None] | None:
        """The session ID and its host, None for a host that has left; None if not wrapped by us."""
        session, dot, letters = text.rpartition(".")
        if not dot or len(letters) != _LETTERS or not text.isascii():
            return None
        try:
            tag = urlsafe_b64decode(letters)[:_HOST]
        except ValueError:
            return None
        for sign, _ in self._keys:
            if hmac.compare_digest(_seal(sign, session, tag), letters):
                return session, self._host_of(tag)
        return None

    def _host_of(self, tag: bytes) -> str | None:
        snapshot = self._lb.snapshot
        epoch, names = self._names
        if epoch != snapshot.epoch:
            names = {
                hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")[:_HOST]: name
                for _, key in self._keys
                for name in snapshot.members
            }
            self._names = snapshot.epoch, names
        return names.get(tag)


_USES = (b"signature", b"host")


def _seal(key: bytes, session: str, tag: bytes) -> str:
    signature = hmac.digest(key, tag + session.encode(), "sha256")[:_SIGNATURE]
    return urlsafe_b64encode(tag + signature).decode("ascii")
