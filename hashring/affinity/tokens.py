"""Signed tokens: a client carries its host in a cookie.

A token is 84 characters: base64url of 30 bytes, a dot, base64url of their HMAC-SHA-256. The bytes
are the client (16), the host's tag (8), and the second of issue with one bit that is set if the
client is a given ID's hash (6). Thirty bytes fill their letters; the signature's last letter has
two bits to spare, which is why a token is accepted in its one canonical spelling only.
"""

from __future__ import annotations

import hmac
import os
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from hashring.affinity._counters import Counters
from hashring.errors import ConfigError, TokenError, requires_extra
from hashring.keys import Key, key_bytes, text_bytes
from hashring.validators import SECONDS, WHOLE

if TYPE_CHECKING:
    from itsdangerous import Signer

_CLIENT = 16
"""128 random bits: among 10^12 clients two are equal with a chance of one in 10^15."""

_TAG = 8
"""64 bits: among 10,000 hosts two tags are equal with a chance of one in 10^11."""

_STAMP = 6
_PAYLOAD = _CLIENT + _TAG + _STAMP
TOKEN_LENGTH = 40 + 1 + 43  # base64 letters of 30 bytes, the dot, those of 32 bytes without padding

_SHORTEST_SECRET = 16  # 128 random bits cannot be guessed
_MOST_SECRETS = 2  # the one that signs, and the one before it while its tokens are about

_MONTH = 30 * 24 * 3600

_SHORT = 256
"""Letters of an ID whose hashes are remembered: what a request may name, so a bound on memory."""


@dataclass(frozen=True, slots=True)
class Token:
    """The content of a verified token.

    ``client`` is who, ``given`` whether that is the keyed hash of an ID that the application gave,
    ``tag`` the host's tag, ``issued`` seconds since 1970, ``outdated`` whether the older of two
    secrets signed it.
    """

    client: bytes
    given: bool
    tag: bytes
    issued: int
    outdated: bool

    @property
    def client_id(self) -> str:
        """The client as a key for ``pick``: 32 hex digits."""
        return self.client.hex()


class Tokens:
    """Issues and reads tokens; routers with the same secrets accept each other's.

    ``secrets`` is one secret of 16 or more random bytes, or during a rotation two: the first
    signs, both are accepted. Each purpose (signature, client, tag) has its own key, derived by
    HMAC-SHA-256. A token is good for ``max_age`` seconds to either side of its second of issue,
    so that a clock that jumps by less costs no client its host. ``cache`` verified tokens and
    hashes of given IDs are remembered. ``clock`` reads seconds since 1970, ``random_bytes(n)``
    makes new clients.

    ``stats`` counts ``issued``, ``verified`` (signatures that were checked and good), ``cached``
    (verified before), ``malformed``, ``forged`` and ``expired``. Raises ``ConfigError``, also when
    itsdangerous is missing.

    >>> tokens = Tokens(b"sixteen or more random bytes")
    >>> text = tokens.issue(tokens.new_client(), "web1")
    >>> tokens.read(text).tag in tokens.tags("web1"), len(text)
    (True, 84)
    >>> tokens.read(text[:-1] + "!")
    Traceback (most recent call last):
    hashring.errors.TokenError: the token is forged: no secret of this router signed it
    """

    def __init__(
        self,
        secrets: bytes | Iterable[bytes],
        *,
        max_age: float = _MONTH,
        cache: int = 10_000,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        checked = _checked_secrets(secrets)
        self.max_age: Final = SECONDS(max_age, "max_age")
        self._bad_signature: type[Exception] = _library().BadSignature
        self._signers = [_signer(_derive(secret, "signature")) for secret in checked]
        self._client_keys = [_derive(secret, "client") for secret in checked]
        self._tag_keys = [_derive(secret, "host") for secret in checked]
        self._recent = _Recent(cache)
        self._hashes = lru_cache(cache)(self._hash_of)
        self._clock = self.now = clock
        self._random_bytes = random_bytes
        self._counters = Counters("issued", "verified", "cached", "malformed", "forged", "expired")

    @property
    def stats(self) -> Mapping[str, int]:
        """How many tokens were issued, verified, found in the cache, or refused and why."""
        return self._counters.stats

    def new_client(self) -> bytes:
        """A client for which the application has no ID: 128 random bits."""
        return self._random_bytes(_CLIENT)

    def clients(self, client_id: Key) -> tuple[bytes, ...]:
        """The keyed hashes of a given ID, by the first secret and then by the older one.

        >>> tokens = Tokens([b"sixteen or more random bytes", b"the secret before that"])
        >>> len(tokens.clients("session-42"))
        2
        """
        # only str: 1 and True are one key of a dict, and True is not an ID
        if client_id.__class__ is str and len(client_id) <= _SHORT:
            return self._hashes(client_id)
        return self._hash_of(client_id)

    def _hash_of(self, client_id: Key) -> tuple[bytes, ...]:
        data = key_bytes(client_id)
        return tuple([hmac.digest(key, data, "sha256")[:_CLIENT] for key in self._client_keys])

    def tags(self, host: str) -> tuple[bytes, ...]:
        """The tags of a host, by the first secret and then by the older one; opaque to others."""
        data = text_bytes(host)
        return tuple(hmac.digest(key, data, "sha256")[:_TAG] for key in self._tag_keys)

    def issue(self, client: bytes, host: str, *, given: bool = False) -> str:
        """A token for ``client`` on ``host``, issued now. Cost: about 6 us."""
        stamp = int(self._clock()) << 1 | given
        payload = client + self.tags(host)[0] + stamp.to_bytes(_STAMP, "big")
        self._counters.add("issued")
        return self._signers[0].sign(_encode(payload)).decode("ascii")

    def read(self, text: str) -> Token:
        """The token in ``text``. Cost: about 8 us, less than 1 us when it was verified before.

        Raises ``TokenError`` whose ``reason`` is ``malformed`` (no token's form), ``forged`` (no
        secret of ours signed it, or another spelling of one that did) or ``expired``.
        """
        token = self._recent.get(text)
        if token is None:
            token = self._verify(text)
            self._recent.put(text, token)
            self._counters.add("verified")
        else:
            self._counters.add("cached")
        if abs(self._clock() - token.issued) > self.max_age:
            raise self._refusal("expired", f"the token is over {self.max_age:g} seconds old")
        return token

    def due(self, token: Token) -> bool:
        """Whether to replace a valid token: half its time is over, or its secret is the older."""
        return token.outdated or abs(self._clock() - token.issued) > self.max_age / 2

    def _verify(self, text: str) -> Token:
        if len(text) != TOKEN_LENGTH or not text.isascii():
            raise self._refusal(
                "malformed", f"a token has {TOKEN_LENGTH} letters, this one differs"
            )
        data = text.encode("ascii")
        for place, signer in enumerate(self._signers):
            try:
                letters = signer.unsign(data)
            except self._bad_signature:
                continue
            return self._open(data, letters, outdated=place > 0)
        raise self._refusal("forged", "the token is forged: no secret of this router signed it")

    def _open(self, data: bytes, letters: bytes, *, outdated: bool) -> Token:
        payload, signature = _decode(letters), _decode(data[len(letters) + 1 :])
        canonical = _encode(payload) + b"." + _encode(signature)
        if len(payload) != _PAYLOAD or not hmac.compare_digest(canonical, data):
            raise self._refusal(
                "forged", "the token is forged: a signed one was spelled in another way"
            )
        stamp = int.from_bytes(payload[-_STAMP:], "big")
        client, tag = payload[:_CLIENT], payload[_CLIENT:-_STAMP]
        return Token(client, bool(stamp & 1), tag, stamp >> 1, outdated)

    def _refusal(self, reason: str, message: str) -> TokenError:
        self._counters.add(reason)
        return TokenError(message, reason=reason)

    def __repr__(self) -> str:
        return f"<Tokens of {len(self._signers)} secrets, good for {self.max_age:g} s>"


class _Recent:
    """The tokens verified last: at most ``size``, in two halves of which the older is forgotten.

    It takes no lock: a race can lose what is in it, and then a token is verified once more.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        self._half = WHOLE(size, "cache") // 2
        self._young: dict[str, Token] = {}
        self._old: dict[str, Token] = {}

    def get(self, text: str) -> Token | None:
        found = self._young.get(text)
        if found is None:
            found = self._old.get(text)
            if found is not None:
                self.put(text, found)
        return found

    def put(self, text: str, token: Token) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        if self._half:
            self._young[text] = token


def _library() -> ModuleType:
    with requires_extra("tokens", "signed tokens", option="secrets"):
        import itsdangerous
    return itsdangerous


def _signer(key: bytes) -> Signer:
    # the key is derived already, once and not at each check; SHA-1 is what it would take by itself
    made: Signer = _library().Signer(key, sep=b".", key_derivation="none", digest_method=sha256)
    return made


def _derive(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, b"hashring token 1 " + purpose.encode(), "sha256")


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode(letters: bytes) -> bytes:
    try:
        return urlsafe_b64decode(letters + b"=" * (-len(letters) % 4))
    except ValueError:
        return b""  # which no token is spelled like


def _checked_secrets(secrets: Any) -> list[bytes]:
    """One or two secrets; an error names only their types and lengths."""
    given: list[Any] = [secrets] if isinstance(secrets, (str, bytes, bytearray)) else list(secrets)
    if not 1 <= len(given) <= _MOST_SECRETS:
        raise ConfigError(
            f"secrets are one, or two while they rotate, got {len(given)}: drop the older ones",
            option="secrets",
        )
    for secret in given:
        if type(secret) is not bytes or len(secret) < _SHORTEST_SECRET:
            size = f" of {len(secret)}" if isinstance(secret, (str, bytes, bytearray)) else ""
            raise ConfigError(
                f"a secret must be bytes, {_SHORTEST_SECRET} or more, got "
                f"{type(secret).__name__}{size}: secrets.token_bytes(32) makes one",
                option="secrets",
            )
    return given
