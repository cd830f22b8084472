"""What is wrong with a configuration?  All of it at once, each with its place, key and hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hashring.errors import ConfigError

__all__ = ["Mistake", "MistakesError", "plural"]

_SHOWN = 3  # mistakes in the one line that a log has for a refused reload


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that cannot work: ``where`` it stands (``file:line``), at which ``key``, and why.

    ``line`` sorts; it is 0 for what stands in no file.

    >>> print(Mistake("h.toml:3", "gateway.lisen", "there is no such key", 3))
    h.toml:3: gateway.lisen: there is no such key
    """

    where: str
    key: str
    what: str
    line: int = 0

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.what) if part)


class MistakesError(ConfigError):
    """A configuration that cannot be used; ``mistakes`` are all that were found.

    They are sorted by line; those that stand in no line come last.

    >>> raise MistakesError([Mistake("h.toml:3", "a", "no"), Mistake("h.toml:9", "b", "nor this")])
    Traceback (most recent call last):
    hashring.config.mistakes.MistakesError: h.toml:3: a: no; h.toml:9: b: nor this
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        found = set(mistakes)  # what is wrong in two ways at one place is told once
        self.mistakes = tuple(sorted(found, key=lambda m: (not m.line, m.line, m.where, m.key)))
        shown = "; ".join(map(str, self.mistakes[:_SHOWN]))
        more = len(self.mistakes) - _SHOWN
        super().__init__(shown + (f"; and {plural(more, 'mistake')} more" if more > 0 else ""))


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "host"), plural(2, "host")
    ('1 host', '2 hosts')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
