"""Problems of a configuration: all of them together, each with its place, key and hint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hashring.errors import ConfigError
from hashring.text import plural

_IN_ONE_LINE = 3  # problems in the line that the log has for a refused reload


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: ``where`` (``file:line``), at which ``key``, and ``what`` is wrong.

    Problems are sorted by ``line``, which is 0 for a value from no file.

    >>> print(Problem("h.toml:3", "gateway.lisen", "there is no such key", 3))
    h.toml:3: gateway.lisen: there is no such key
    """

    where: str
    key: str
    what: str
    line: int = 0

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.what) if part)


class ProblemsError(ConfigError):
    """A configuration that cannot be used; ``problems`` has every problem, sorted by line.

    >>> raise ProblemsError([Problem("h.toml:3", "a", "no"), Problem("h.toml:9", "b", "nor this")])
    Traceback (most recent call last):
    hashring.config.problems.ProblemsError: h.toml:3: a: no; h.toml:9: b: nor this
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = set(problems)  # one place may be wrong for two validators in the same way
        self.problems = tuple(sorted(unique, key=lambda p: (not p.line, p.line, p.where, p.key)))
        line = "; ".join(map(str, self.problems[:_IN_ONE_LINE]))
        more = len(self.problems) - _IN_ONE_LINE
        super().__init__(line + (f"; and {plural(more, 'more problem')}" if more > 0 else ""))
