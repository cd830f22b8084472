"""Who owns this key, when the keys' positions are secret?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

from hashring.errors import ConfigError
from hashring.keys import Key, KeyedHash, key_bytes
from hashring.ring.index import Index
from hashring.ring.table import RingTable

__all__ = ["KeyedTable", "check_same_secret"]


class KeyedTable(RingTable):
    """A ring whose vnodes are public and whose keys stand where a secret says.

    >>> from hashring.ring import HashRing
    >>> table = HashRing(["a", "b", "c"], key_secret=b"sixteen or more random bytes").table
    >>> table.lookup("x") == next(table.walk("x")), table.public_index
    (True, None)
    """

    def __init__(
        self,
        index: Index[str],
        counts: Mapping[str, int],
        *,
        vnodes: int,
        seed: int,
        keyed: KeyedHash,
    ) -> None:
        super().__init__(index, counts, vnodes=vnodes, seed=seed)
        self.public_index = None  # whoever hashes by murmur3 must not look here
        self._keyed = keyed
        self.key_check = keyed.check

    def position(self, key: Key) -> int:
        """Where ``key`` stands: an int from 0 to 2^32-1."""
        return self._keyed(key_bytes(key))

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The owner of ``key``, as ``RingTable.lookup``. Cost: about 0.8 us."""
        if unavailable:
            return super().lookup(key, unavailable)
        index = self.index
        try:
            return index.labels[index.find(self._keyed(key_bytes(key)))]
        except IndexError:  # no hosts
            return None

    def like(self, index: Index[str], counts: Mapping[str, int]) -> KeyedTable:
        """Another state of the same ring, under the same secret."""
        return KeyedTable(index, counts, vnodes=self.vnodes, seed=self.seed, keyed=self._keyed)

    def __reduce__(self) -> NoReturn:
        self._keyed.__reduce__()


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
