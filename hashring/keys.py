"""Client ID -> bytes -> position: the one definition of a key."""

from __future__ import annotations

import sys
from hashlib import blake2b
from reprlib import Repr
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from mmh3 import mmh3_32_uintdigest

from hashring.errors import ConfigError, InvalidKeyError
from hashring.validators import SEED

if TYPE_CHECKING:
    from uuid import UUID

Key: TypeAlias = "str | bytes | int | UUID"
"""What can identify a client: str, bytes, int from -2^63 to 2^64-1, or UUID."""

_LOWEST_INT = -(1 << 63)  # what a signed 64-bit database key can be ...
_HIGHEST_INT = (1 << 64) - 1  # ... and an unsigned one
_SHOWN = Repr()  # short, and safe with what has no repr
_SHOWN.maxother = _SHOWN.maxstring = 60
_SHORTEST_SECRET = 16  # 128 random bits cannot be guessed
_HINTS = {
    "bool": "a truth value is not an ID",
    "NoneType": "without a client ID, call pick() with no argument",
    "float": "its text is not stable: choose one, such as str(x)",
    "bytearray": "use bytes(x)",
    "memoryview": "use bytes(x)",
}


def text_bytes(text: str) -> bytes:
    """The UTF-8 bytes of ``text``; a lone surrogate passes as its three bytes.

    mmh3 5.x ends the process on a str with a lone surrogate, and ``json.loads`` makes such strs,
    so nothing but bytes encoded here is ever hashed.

    >>> text_bytes("a"), text_bytes(chr(0xD83D))
    (b'a', b'\\xed\\xa0\\xbd')
    """
    return str.encode(text, "utf-8", "surrogatepass")


def key_bytes(key: Key) -> bytes:
    """The bytes that identify ``key``; equal bytes are one client. Cost: O(length).

    A str is its UTF-8, an int its decimal text, a UUID its text; bytes are themselves, so
    ``b"a"`` and ``"a"`` are one key. Raises ``InvalidKeyError`` for everything else, bool included.

    >>> key_bytes("é"), key_bytes(-7), key_bytes(b"x")
    (b'\\xc3\\xa9', b'-7', b'x')
    >>> key_bytes(True)
    Traceback (most recent call last):
    hashring.errors.InvalidKeyError: a key cannot be bool (True): a truth value is not an ID
    """
    if isinstance(key, str):
        return text_bytes(key)
    if isinstance(key, bytes):
        return bytes(key)
    if key.__class__ is int:
        if _LOWEST_INT <= key <= _HIGHEST_INT:
            return b"%d" % key
        raise InvalidKeyError(
            f"an int key must lie in -2^63 .. 2^64-1, this one has {key.bit_length()} bits: use "
            "its str",
            key_type="int",
        )
    uuid = sys.modules.get("uuid")  # not imported here, because it is slow to load and rarely used
    if uuid is not None and isinstance(key, uuid.UUID):
        text: str = uuid.UUID.__str__(key)
        return text.encode()
    kind = type(key).__name__
    shown = _SHOWN.repr(key)
    hint = _HINTS.get(kind, "use a str, bytes, int or uuid.UUID")
    raise InvalidKeyError(f"a key cannot be {kind} ({shown}): {hint}", key_type=kind)


def position(key: Key, seed: int = 0) -> int:
    """Where ``key`` stands on the circle: ``murmur3_x86_32(bytes, seed)``, 0 .. 2^32-1.

    >>> position("session-42")
    4065042165
    """
    return mmh3_32_uintdigest(key_bytes(key), seed)


def check_seed(seed: object) -> int:
    """``seed`` if murmur3 can take it: an int from 0 to 2^32-1, else ``ConfigError``.

    >>> check_seed(7)
    7
    """
    return SEED(seed, "seed")


class KeyedHash:
    """Bytes -> position under a secret, for client IDs that untrusted clients choose.

    With the hash of a ring known, thousands of IDs of one host are found in a second. Here a key
    stands at the first 32 bits, big-endian, of blake2b with the secret as its key, the seed as
    its salt (16 bytes, little-endian) and ``hashring key 1`` as its person. ``check`` distinguishes
    secrets without revealing them: it is keyed too, under another person. The secret itself
    is not kept, and no repr, pickle or error shows it.

    ``secret`` is 16 to 64 random bytes: below 16 it can be guessed, and blake2b takes at most 64.
    Raises ``ConfigError`` for another. Cost of a call: about 0.5 us.

    >>> keyed = KeyedHash(b"sixteen or more random bytes", seed=0)
    >>> keyed(b"session-42"), keyed.check
    (2998891432, '97fa41186de232b9')
    """

    __slots__ = ("_start", "check")

    def __init__(self, secret: bytes, seed: int) -> None:
        settled = _check_secret(secret)
        salt = seed.to_bytes(blake2b.SALT_SIZE, "little")
        self._start = blake2b(digest_size=4, key=settled, salt=salt, person=b"hashring key 1")
        self.check = blake2b(digest_size=8, key=settled, person=b"hashring check 1").hexdigest()

    def __call__(self, data: bytes) -> int:
        """Where ``data`` stands: an int from 0 to 2^32-1."""
        state = self._start.copy()  # a third faster than to set up the key again
        state.update(data)
        return int.from_bytes(state.digest(), "big")

    def __repr__(self) -> str:
        return f"<KeyedHash {self.check}>"

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            "what holds a key_secret is not pickled or deep-copied, so that the secret stays where "
            "it is: send to_dict(), and use HashRing.from_dict(data, key_secret=...) over there",
            option="key_secret",
        )


def check_same_secret(known: object, secret: bytes | None) -> None:
    """Refuse a secret that a ring was not made with: nearly every client would move.

    >>> check_same_secret("8b9a1b7b7b1b7b1b", None)
    Traceback (most recent call last):
    hashring.errors.ConfigError: this ring was made with a secret: give it as key_secret
    """
    given = None if secret is None else KeyedHash(secret, seed=0).check
    if known == given:
        return
    if known is None:
        why = "was made without a secret: leave key_secret out"
    elif given is None:
        why = "was made with a secret: give it as key_secret"
    else:
        why = "was made with another secret than this key_secret"
    raise ConfigError(f"this ring {why}", option="key_secret")


def _check_secret(secret: Any) -> bytes:
    """``secret`` if it can be one; an error shows no more of it than its type and length."""
    if type(secret) is not bytes:
        raise ConfigError(
            f"key_secret must be bytes, got {type(secret).__name__}: secrets.token_bytes(32) "
            "makes one",
            option="key_secret",
        )
    if not _SHORTEST_SECRET <= len(secret) <= blake2b.MAX_KEY_SIZE:
        raise ConfigError(
            f"key_secret must have {_SHORTEST_SECRET} to {blake2b.MAX_KEY_SIZE} bytes, got "
            f"{len(secret)}: secrets.token_bytes(32) makes one",
            option="key_secret",
        )
    return secret
