"""The host with the highest score for a key: what placements share that ask every host."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from hashring.hosts import as_names
from hashring.keys import Key, key_bytes
from hashring.placement._circle import RememberingTable


class ScoreTable(RememberingTable):
    """A key belongs to the host with the highest score above 0, of equal ones to the first.

    A score depends on the key and its own host only, so nothing else moves when a host comes,
    leaves or changes.
    """

    __slots__ = ()

    @abstractmethod
    def _scores(self, data: bytes) -> Iterable[float]:
        """The score of each host for a key's bytes, in the order of ``hosts``."""

    def lookup(self, key: Key, unavailable: Iterable[str] = ()) -> str | None:
        """The host with the highest score. Cost: one score a host."""
        gone = as_names(unavailable, "unavailable") if unavailable else frozenset()
        owner, highest = None, 0.0
        for name, score in zip(self.hosts, self._scores(key_bytes(key)), strict=True):
            if score > highest and name not in gone:
                owner, highest = name, score
        return owner

    def _owner(self, key: Key) -> str | None:
        return self.lookup(key)

    def walk(self, key: Key) -> Iterator[str]:
        """All hosts, the highest score first. Cost: O(n log n), when it is called."""
        scores = self._scores(key_bytes(key))
        ranked = sorted(zip(scores, self.hosts, strict=True), key=lambda pair: -pair[0])
        return (name for _, name in ranked)
